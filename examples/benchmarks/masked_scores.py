"""Time of masked-LM scores: by words in passes of many, by tokens, and one token a pass as published.

    python examples/benchmarks/masked_scores.py MODEL --text BIBLES --ids split_dev.tsv --json masked_scores.json

MODEL is a masked LM, or an encoder, which gets a head at random: the time is the same. BIBLES is a folder of files of lines
`id<TAB>text` named by their language (deu_Latn.tsv.gz). The schemes take turns, `--repeat` times; shown are the tokens that
are predicted in a second of the processor, at best, and their ratio to the scheme "token".
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForMaskedLM, AutoTokenizer

from ofa_transformers.evaluation import read_held_out, score_masked_lm


SCHEMES = {"word": ("word", 7), "token": ("token", 7), "word, a token a pass": ("word", 1 << 20)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="a folder or a Hub id")
    parser.add_argument("--text", type=Path, required=True, help="folder of verse-parallel text")
    parser.add_argument("--ids", type=Path, required=True, help="file of ids to use, one a line")
    parser.add_argument("--languages", nargs="+", metavar="CODE", help="as the files are named (default: all)")
    parser.add_argument("--lines", type=int, default=50, help="of each language (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    files = [args.text / f"{name}.tsv.gz" for name in args.languages] if args.languages else [args.text]
    texts, _ = read_held_out(files, ids=args.ids, max_texts=args.lines)
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(args.model), AutoTokenizer.from_pretrained(args.model)
    results = {}
    for language, lines in texts.items():
        seconds: dict[str, list[float]] = {name: [] for name in SCHEMES}
        for _ in range(args.repeat):
            for name, (scheme, stride) in SCHEMES.items():
                start = time.process_time()
                scores = score_masked_lm(model, tokenizer, lines, scheme=scheme, stride=stride)
                seconds[name].append(time.process_time() - start)
        tokens = sum(score.tokens for score in scores)
        results[language] = {
            "tokens": tokens,
            "tokens per word": tokens / sum(len(line.split()) for line in lines),
            **{f"{name}: tokens/s": tokens / min(times) for name, times in seconds.items()},
        }
    total = sum(row["tokens"] for row in results.values())
    results["all"] = {"tokens": total, "tokens per word": ""} | {
        key: total / sum(row["tokens"] / row[key] for row in results.values())
        for key in (f"{name}: tokens/s" for name in SCHEMES)
    }
    table = Table("language", "tokens", "a word", *(f"{name}, tokens/s" for name in SCHEMES), "word / token")
    for language, row in results.items():
        rates = [row[f"{name}: tokens/s"] for name in SCHEMES]
        row["ratio"] = rates[0] / rates[1]
        fertility = f"{row['tokens per word']:.2f}" if row["tokens per word"] else ""
        table.add_row(
            language, f"{row['tokens']:,}", fertility, *(f"{rate:,.0f}" for rate in rates), f"{row['ratio']:.2f}"
        )
    Console(width=120).print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
