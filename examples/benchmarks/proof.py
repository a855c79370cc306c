"""What the proof of a result costs: a source of XLM-R-base's shape and size, adapted with and without it.

    python examples/benchmarks/proof.py [--target-tokens 100000] [--embedding-size 100]

Source, tokenizers and word vectors are random. Each run is a process of its own; times are wall and CPU seconds, memory
is the growth of the peak resident set beyond libraries and source, in MiB. The least of `--repeats` runs counts.
"""

import argparse
import json
import subprocess
import sys
import time

import numpy as np
import psutil
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

import ofa_transformers as ofa
from ofa_transformers.initialization import assembly
from ofa_transformers.initialization.proof import Reference


SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def make_tokenizer(first: int, size: int) -> PreTrainedTokenizerFast:
    """Words that are numbers, from `first` on."""
    tokens = [*SPECIAL, *(f"w{number}" for number in range(first, first + size - len(SPECIAL)))]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **dict(zip(names, SPECIAL)))


def peak_mebibytes() -> float:
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Of one adaptation in this process."""
    torch.manual_seed(0)
    source_tokens = 250_002
    tokenizer = make_tokenizer(0, source_tokens)
    goal = make_tokenizer(source_tokens - args.target_tokens // 2, args.target_tokens)  # half of them are the source's
    config = XLMRobertaConfig(
        vocab_size=source_tokens, max_position_embeddings=514, type_vocab_size=1, bos_token_id=0, pad_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    source = XLMRobertaForMaskedLM(config).eval()
    words = [f"w{number}" for number in range(0, source_tokens + args.target_tokens, 100)]
    vectors = np.random.default_rng(0).normal(size=(len(words), 100)).astype(np.float32)
    word_vectors = ofa.WordVectors(words=words, languages=["eng"] * len(words), vectors=vectors)
    if args.measure == "without":
        assembly.take_reference = lambda *_, **__: Reference(reason="left out")
    before, wall, cpu = psutil.Process().memory_info().rss / 2**20, time.perf_counter(), time.process_time()
    result = ofa.OfaInitializer.from_pretrained(
        source, source_tokenizer=tokenizer, target_tokenizer=goal, word_vectors=word_vectors,
        embedding_size=args.embedding_size,
    )  # fmt: skip
    if ("difference" in result.report.proof) != (args.measure == "with"):
        sys.exit(f"the proof was to be made {args.measure}, but is {result.report.proof}")
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "mebibytes": peak_mebibytes() - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target-tokens", type=int, default=100_000)
    parser.add_argument("--embedding-size", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", choices=("with", "without"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args)))
        return
    for which in ("without", "with"):
        runs = []
        for _ in range(args.repeats):
            command = [sys.executable, __file__, *sys.argv[1:], "--measure", which]
            runs.append(
                json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
            )
        least = {key: min(run[key] for run in runs) for key in runs[0]}
        print(f"{which:8} {least['wall']:7.2f} s {least['cpu']:7.2f} CPU s {least['mebibytes']:7.0f} MiB")


if __name__ == "__main__":
    main()
