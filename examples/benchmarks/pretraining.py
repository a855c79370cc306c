"""Tokens per second of continued pretraining: ours beside Transformers' Trainer as its run_mlm script uses it.

    python examples/benchmarks/pretraining.py --vocab-size 60000 --hidden-size 384 --layers 6 --steps 12

All train a RoBERTa of random weights (speed doesn't depend on them) with its tokenizer's ids spread over the
vocabulary, on the same text, cut to samples of the same length, with the same batches' sizes and optimizer:

- stock: `Trainer` with `DataCollatorForLanguageModeling`, which makes logits for all tokens;
- ours, dense: `ofa_transformers.training.pretrain` on the same stock model;
- ours, factorized: the same on an `OfaForMaskedLM` of --embedding-size.

Each runs in a process of its own, its batches made in the same process. Time and CPU time are those of the steps after
the first three; memory is the growth of the peak resident set over the steps.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from blocked_loss import peak_rss, reset_peak_rss
from datasets import Dataset
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    RobertaConfig,
    RobertaForMaskedLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.utils import logging

from ofa_transformers import OfaConfig, OfaForMaskedLM
from ofa_transformers.demo.data import load_parallel_text
from ofa_transformers.tokenization import train_tokenizer
from ofa_transformers.training import DataArguments, ModelArguments, PretrainingArguments, pretrain


WARM_UP = 3
VARIANTS = ("stock", "dense", "factorized")


class Clock(TrainerCallback):
    """Measures the steps after the first ones."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 0:
            reset_peak_rss()
            self.memory = peak_rss()
        if state.global_step == WARM_UP:
            self.start, self.cpu_start = time.perf_counter(), time.process_time()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds = time.perf_counter() - getattr(self, "start", 0)
        self.cpu_seconds = time.process_time() - getattr(self, "cpu_start", 0)
        self.peak = peak_rss()


def prepare_folder(folder: Path, args: argparse.Namespace) -> None:
    """A tokenizer, text, and both models."""
    text = load_parallel_text().train
    lines = {language: list(verses.values()) for language, verses in text.items()}
    tokenizer = train_tokenizer(lines, 5000)
    sizes = {
        "vocab_size": args.vocab_size,
        "hidden_size": args.hidden_size,
        "num_hidden_layers": args.layers,
        "num_attention_heads": args.hidden_size // 32,
        "intermediate_size": 4 * args.hidden_size,
        "max_position_embeddings": 514,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    torch.manual_seed(0)
    for name, model in (
        ("dense", RobertaForMaskedLM(RobertaConfig(**sizes))),
        ("factorized", OfaForMaskedLM(OfaConfig(**sizes, embedding_size=args.embedding_size))),
    ):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    (folder / "text").mkdir()
    for language, found in lines.items():
        (folder / "text" / f"{language}.txt").write_text("\n".join(found * 8) + "\n", encoding="utf-8")


def run(variant: str, folder: Path, args: argparse.Namespace) -> dict[str, float]:
    torch.set_num_threads(args.threads)
    clock = Clock()
    common = {
        "output_dir": str(folder / f"out-{variant}"),
        "max_steps": args.steps,
        "per_device_train_batch_size": args.batch_size,
        "learning_rate": 1e-4,
        "bf16": args.bf16,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
    }
    if variant == "stock":
        tokenizer = AutoTokenizer.from_pretrained(folder / "dense")
        ids = []
        for path in sorted((folder / "text").iterdir()):
            for encoded in tokenizer(path.read_text(encoding="utf-8").splitlines())["input_ids"]:
                ids += encoded
        samples = [ids[i : i + args.max_length] for i in range(0, len(ids) - args.max_length, args.max_length)]
        Trainer(
            AutoModelForMaskedLM.from_pretrained(folder / "dense"),
            TrainingArguments(**common),
            data_collator=DataCollatorForLanguageModeling(tokenizer),
            train_dataset=Dataset.from_dict({"input_ids": samples}),
            callbacks=[clock],
        ).train()
    else:
        data = DataArguments(train=[str(folder / "text")], max_seq_length=args.max_length)
        pretrain(ModelArguments(str(folder / variant)), data, PretrainingArguments(**common), callbacks=[clock])
    tokens = (args.steps - WARM_UP) * args.batch_size * args.max_length
    return {
        "tokens_per_second": tokens / clock.seconds,
        "tokens_per_cpu_second": tokens / clock.cpu_seconds,
        "mebibytes": (clock.peak - clock.memory) / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab-size", type=int, default=60_000, help="tokens (default: %(default)s)")
    parser.add_argument("--hidden-size", type=int, default=384, help="(default: %(default)s)")
    parser.add_argument("--layers", type=int, default=6, help="(default: %(default)s)")
    parser.add_argument("--embedding-size", type=int, default=50, help="of the factorized one (default: %(default)s)")
    parser.add_argument("--max-length", type=int, default=128, help="tokens of a sample (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="samples of a step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=12, help="of which three warm up (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if args.variant:
        print(json.dumps(run(args.variant, args.folder, args)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare_folder(folder, args)
        found = {}
        for variant in VARIANTS:
            command = [sys.executable, __file__, *sys.argv[1:], "--variant", variant, "--folder", temporary]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[variant] = json.loads(printed.splitlines()[-1])
        print("| | tokens/s | tokens per CPU s | to stock | peak, MiB | to stock |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for variant, figures in found.items():
            speed = figures["tokens_per_cpu_second"] / found["stock"]["tokens_per_cpu_second"]
            memory = figures["mebibytes"] / found["stock"]["mebibytes"]
            print(
                f"| {variant} | {figures['tokens_per_second']:,.0f} | {figures['tokens_per_cpu_second']:,.0f} | "
                f"{speed:.2f} | {figures['mebibytes']:,.0f} | {memory:.2f} |"
            )


if __name__ == "__main__":
    main()
