"""Peak memory and time of building a model from its configuration: factorized embeddings beside the stock class's.

    python examples/benchmarks/construction.py --vocab-size 401000 --arms dense 400 200 100

A masked language model of XLM-R base's shape, with random weights, on the CPU. Arms: `dense` is Transformers' own class; a
number k is `OfaForMaskedLM(OfaConfig(embedding_size=k))`. Each is built in a process of its own. Memory is the growth of
the peak resident set while the constructor runs, beside what the parameters take once it has returned, in MiB.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from blocked_loss import peak_rss, reset_peak_rss


def measure(arm: str, args: argparse.Namespace) -> dict[str, float]:
    """Of one construction in this process."""
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

    from ofa_transformers import OfaConfig, OfaForMaskedLM

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    config_class, model_class = (
        (XLMRobertaConfig, XLMRobertaForMaskedLM) if arm == "dense" else (OfaConfig, OfaForMaskedLM)
    )
    shape = {
        "hidden_size": args.hidden_size,
        "num_hidden_layers": args.layers,
        "num_attention_heads": args.hidden_size // 64,
        "intermediate_size": 4 * args.hidden_size,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        **({} if arm == "dense" else {"embedding_size": int(arm)}),
    }
    # What a first construction brings into memory for good, such as the code of kernels, is no part of the model.
    model_class(config_class(**{**shape, "num_hidden_layers": 1}, vocab_size=1000))
    reset_peak_rss()
    before, wall, cpu = peak_rss(), time.perf_counter(), time.process_time()
    model = model_class(config_class(**shape, vocab_size=args.vocab_size))
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak": (peak_rss() - before) / 2**20,
        "parameters": sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", default=["dense", "400", "200", "100"], help="(default: %(default)s)")
    parser.add_argument("--vocab-size", type=int, default=401_000, help="tokens (default: %(default)s)")
    parser.add_argument("--hidden-size", type=int, default=768, help="(default: %(default)s)")
    parser.add_argument("--layers", type=int, default=12, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.arm:
        print(json.dumps(measure(args.arm, args)))
        return
    print(f"{'arm':>6} {'parameters':>14} {'peak':>10} {'beyond them':>12} {'wall':>9} {'CPU':>9}")
    found = {}
    for arm in args.arms:
        command = [sys.executable, __file__, *sys.argv[1:], "--arm", arm]
        found[arm] = one = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        print(
            f"{arm:>6} {one['parameters']:10,.0f} MiB {one['peak']:6,.0f} MiB {one['peak'] - one['parameters']:8,.0f} MiB "
            f"{one['seconds']:7.2f} s {one['cpu_seconds']:7.2f} s"
        )
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
