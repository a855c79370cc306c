"""`compare`: methods built, measured and trained a little on the same text, cell by cell."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..evaluation import evaluate_perplexity, evaluate_retrieval
from ..evaluation.results import GROUPS, Measurement
from ..initialization.initializer import OfaInitializer
from ..initialization.run import Run
from ..scoring.batching import longest_input
from ..utils.files import reserved
from ..utils.precision import multiplies_bfloat16
from ..utils.reading import read_json, reading
from ..utils.strict_json import write
from ..utils.targets import check_workspace, writing_to
from ..vectors import WordVectors
from .board import BITS, CENTRED, PLAIN, Board
from .comparison import BATCH, SETTINGS, TOKENS, Comparison
from .pretraining import continue_pretraining, training_batches


# AdamW's peak rate.
_RATE = 1e-4
_JSON: dict[str, Any] = {"indent": 1, "ensure_ascii": False}


def compare(comparison: Comparison, output: str | Path, *, show_progress: bool = False) -> Board:
    """Builds, measures and trains each candidate, and writes board.json, board.csv and board.html to a folder.

    A cell (candidate and seed) is a file in its folder `cells`; those that are there already aren't computed again, so
    that a run that broke off goes on.

    Args:
        comparison: what to compare.
        output: the folder.
        show_progress: a bar over cells.

    Raises:
        ValueError: the folder holds cells of another comparison; and what `OfaInitializer.from_pretrained` raises.
        OSError: the folder can't be written, or there is too little room for a model; before the work.
        Busy: another process writes there.
    """
    folder = check_workspace(output)
    with reserved(folder):
        return _compare(comparison, folder, show_progress)


def _compare(comparison: Comparison, folder: Path, show_progress: bool) -> Board:
    comparison.check_folder(folder)
    tokenizer = comparison.tokenizer
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    write(folder / SETTINGS, comparison.settings_in(folder), **_JSON)
    vectors = None if comparison.word_vectors is None else WordVectors.load(comparison.word_vectors)
    cells: dict[str, list[dict[str, Any]]] = {name: [] for name in comparison.candidates}
    todo = [(seed, name) for seed in comparison.seeds for name in comparison.candidates]
    factorized = {each["embedding_size"] for each in comparison.candidates.values()} - {None}
    run = Run(largest_size=max(factorized) if len(factorized) > 1 else None)
    made = None
    for seed, name in logging.tqdm(todo, desc="Cells", unit="cell", leave=False, disable=not show_progress):
        path = folder / "cells" / f"{name.replace(', ', '-')}-{seed}.json"
        if not path.is_file():
            now = seed, {**comparison.candidates[name], "embedding_size": None}
            run = run.again() if now == made else run.other_method()
            made = now
            write(path, _cell(comparison, name, seed, tokenizer, vectors, run), **_JSON)
        cells[name].append(read_json(path, "remove it, and the same command makes it anew"))
    with reading(f"{folder / 'cells'} holds cells that are none; remove them, and the same command makes them anew"):
        board = Board(comparison.inputs, comparison.candidates, cells)
        board.view()
        board.rows()
    board.save(folder)
    return board


def _cell(
    comparison: Comparison,
    name: str,
    seed: int,
    tokenizer: PreTrainedTokenizerBase,
    vectors: WordVectors | None,
    run: Run,
) -> dict[str, Any]:
    start = time.perf_counter()
    lines = comparison.training_lines
    chosen = comparison.candidates[name]
    options = {
        "target_text": [line for some in lines.values() for line in some],
        "parallel_text": comparison.training_pairs or None,
        "donor": comparison.donor,
    }
    adapted = OfaInitializer.from_pretrained(
        comparison.source,
        target_tokenizer=tokenizer,
        word_vectors=vectors,
        source_languages=comparison.source_languages,
        seed=seed,
        _run=run,
        **chosen,
        **options,
    )
    made = time.perf_counter() - start
    model, steps = adapted.model, sorted(comparison.steps)
    batches = []
    if steps[-1]:
        batches = training_batches(
            list(lines.values()),
            adapted.tokenizer,
            steps=steps[-1],
            batch_size=BATCH,
            sequence_length=min(TOKENS, longest_input(model, adapted.tokenizer)),
            seed=seed,
            causal=comparison.is_causal,
        )
    measured: dict[str, list[dict[str, Any]]] = {}
    untrained = {n: tensor.clone() for n, tensor in model.state_dict().items()} if len(steps) > 1 else {}
    for number in steps:
        if number:  # each number has a warmup and a decay of its own
            if untrained:
                model.load_state_dict(untrained)
            options = {"causal": comparison.is_causal, "bf16": multiplies_bfloat16(model.device.type == "cpu")}
            continue_pretraining(model, batches[:number], learning_rate=_RATE, seed=seed, **options)
        measured[str(number)] = [asdict(found) for found in _measure(comparison, name, seed, model, adapted.tokenizer)]
    return {
        "seed": seed,
        "measured": measured,
        "making_seconds": round(made, 1),
        "seconds": round(time.perf_counter() - start, 1),
    }


@torch.no_grad()
def _measure(
    comparison: Comparison, name: str, seed: int, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> list[Measurement]:
    """By language and over all: bits and loss of a language model, retrieval in both directions as one figure."""
    found: list[Measurement] = []
    with tempfile.TemporaryDirectory() as folder:
        with writing_to(folder):
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        if comparison.is_language_model:
            found += evaluate_perplexity([folder], comparison.held_lines)
            found += [
                replace(
                    item, metric="loss", value=math.log(item.value), low=math.log(item.low), high=math.log(item.high)
                )
                for item in found
                if item.metric.endswith("perplexity") and item.language not in GROUPS
            ]
        if comparison.held_pairs:
            retrieved = evaluate_retrieval([folder], comparison.held_pairs, top=[1])
            for centred, metric in ((False, PLAIN), (True, CENTRED)):
                for language in dict.fromkeys(item.language for item in retrieved):
                    both = [item for item in retrieved if item.centred == centred and item.language == language]
                    # The directions share their texts: their intervals are taken together, not as independent.
                    mean = {f: sum(getattr(i, f) for i in both) / len(both) for f in ("value", "low", "high")}
                    found.append(replace(both[0], metric=metric, **mean))
    return [replace(item, model=name, seed=seed) for item in found if item.metric in (BITS, "loss", PLAIN, CENTRED)]
