"""Time of sentence retrieval, beside the loop that one would write.

    python examples/benchmarks/evaluation.py MODEL --parallel BIBLES --ids split_test.tsv --json evaluation.json

BIBLES is a folder of files of lines `id<TAB>text` named by their language (deu_Latn.tsv.gz). Measured are `evaluate_retrieval`
from loading the model to the table, bootstrap intervals included; and a plain loop: each language beside English anew, in
the order of the text, in batches of 32, through all layers, the cosines in one matrix. Both give the same accuracies, but
for sentences whose cosines differ by rounding alone. Each runs in a process of its own: wall and processor seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from parallel_vectors import measured
from rich.console import Console
from rich.table import Table
from transformers import AutoConfig, AutoModel, AutoTokenizer

from ofa_transformers.evaluation import evaluate_retrieval, read_segments_by_id
from ofa_transformers.evaluation.sentence_retrieval import default_layer


def read(args: argparse.Namespace) -> list:
    texts = read_segments_by_id(args.parallel, ids=args.ids, max_sentences=args.sentences)
    return [text for text in texts if len(text) >= min(args.sentences, 10)][: args.languages]


def middle_layer(args: argparse.Namespace) -> int:
    """Two thirds up, as the paper has it; also of sentence encoders, which are measured at their own by default."""
    return default_layer(SimpleNamespace(config=AutoConfig.from_pretrained(args.model)))


def ours(args: argparse.Namespace) -> dict:
    torch.set_num_threads(args.threads)
    texts = read(args)
    start = time.perf_counter(), time.process_time()
    found = evaluate_retrieval([args.model], texts, layer=middle_layer(args), device="cpu")
    return {
        "evaluation_seconds": time.perf_counter() - start[0],
        "evaluation_processor_seconds": time.process_time() - start[1],
        "sentences": sum(map(len, texts)),
        "top1": {
            item.language: item.value
            for item in found
            if item.metric == "top-1 from English" and item.language != "all"
        },
    }


@torch.no_grad()
def plain_loop(args: argparse.Namespace) -> dict:
    torch.set_num_threads(args.threads)
    texts = read(args)
    start = time.perf_counter(), time.process_time()
    model, tokenizer = AutoModel.from_pretrained(args.model).eval(), AutoTokenizer.from_pretrained(args.model)
    layer = middle_layer(args)

    def embed(sentences: list[str]) -> torch.Tensor:
        rows = []
        for first in range(0, len(sentences), 32):
            batch = tokenizer(
                sentences[first : first + 32],
                padding=True,
                truncation=True,
                max_length=512,
                return_special_tokens_mask=True,
                return_tensors="pt",
            )
            content = (1 - batch.pop("special_tokens_mask")).unsqueeze(-1)
            hidden = model(**batch, output_hidden_states=True).hidden_states[layer]
            rows.append((hidden * content).sum(1) / content.sum(1).clamp(min=1))
        return torch.nn.functional.normalize(torch.cat(rows), dim=1)

    top1 = {}
    for text in texts:
        cosines = embed(text.translations) @ embed(text.texts).T
        top1[text.language] = (cosines.argmax(1) == torch.arange(len(text))).double().mean().item()
    return {
        "evaluation_seconds": time.perf_counter() - start[0],
        "evaluation_processor_seconds": time.process_time() - start[1],
        "top1": top1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="a folder or a Hub id")
    parser.add_argument("--parallel", type=Path, required=True, help="folder of verse-parallel text")
    parser.add_argument("--ids", type=Path, help="file of ids to use, one a line")
    parser.add_argument("--languages", type=int, default=30, help="(default: %(default)s)")
    parser.add_argument("--sentences", type=int, default=500, help="of each language (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    results = {"evaluate_retrieval": measured(ours, args), "plain loop": measured(plain_loop, args)}
    accuracies = [result.pop("top1") for result in results.values()]
    difference = max(abs(accuracies[0][language] - accuracies[1][language]) for language in accuracies[0])
    fast, slow = results.values()
    ratios = [slow[key] / fast[key] for key in ("evaluation_seconds", "evaluation_processor_seconds")]
    table = Table(
        "", "wall s", "CPU s", "peak MiB", title=f"{len(accuracies[0])} languages, {fast['sentences']:,} sentences"
    )
    for name, result in results.items():
        cells = [result["evaluation_seconds"], result["evaluation_processor_seconds"], result["peak_mebibytes"]]
        table.add_row(name, *(f"{cell:,.1f}" for cell in cells))
    table.add_row("ratio", *(f"{ratio:.2f}" for ratio in ratios), "")
    Console(width=120).print(table)
    Console(width=120).print(f"Largest difference of a top-1 accuracy: {difference:.4f}")
    if args.json:
        args.json.write_text(
            json.dumps(results | {"ratios": ratios, "difference": difference}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
