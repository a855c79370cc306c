"""`compare`: methods built, measured and trained a little on the same text, cell by cell."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from ..evaluation import evaluate_perplexity, evaluate_retrieval
from ..evaluation.results import GROUPS, Measurement
from ..initialization.initializer import OfaInitializer
from ..initialization.methods import find_method, methods
from ..initialization.methods.inputs import NEEDS
from ..initialization.planning import without_weights
from ..initialization.run import Run
from ..initialization.sizes import sizes_of
from ..models.checkpoints import language_model_loader, load_config, load_tokenizer, model_class
from ..models.embeddings import find_embeddings
from ..scoring.batching import longest_input
from ..scoring.masked_lm import DEFAULT_STRIDE
from ..text.parallel import ParallelText, evenly
from ..utils.files import reserved
from ..utils.reading import read_json, reading
from ..utils.strict_json import write
from ..utils.targets import check_space, check_workspace, writing_to
from ..vectors import WordVectors
from .board import BITS, CENTRED, PLAIN, Board
from .pretraining import continue_pretraining, training_batches


logger = logging.get_logger(__name__)

# Samples of a step, their tokens, and AdamW's peak rate.
_BATCH, _TOKENS, _RATE = 16, 64, 1e-4
_SETTINGS = "comparison.json"
_JSON: dict[str, Any] = {"indent": 1, "ensure_ascii": False}
# Float operations a second of one core of 2024 that it shares with nobody, characters that it reads, and seconds to
# make a candidate.
_SPEED, _READING, _MAKING = 3e10, 1e6, 8.0


@dataclass(frozen=True)
class Comparison:
    """What is compared, and with what; checked when it is made.

    Attributes:
        source: a folder or a Hub id.
        target_tokenizer: likewise.
        text: language -> lines, of which some are held out and the others given to methods and training.
        parallel: translations, of which some are held out and the others given to methods.
        word_vectors: a file, a folder or a Hub id; None leaves out the methods that need them.
        donor: another model, for the methods that need one.
        methods: names; by default all whose needs are met.
        sizes: embedding sizes; None is the full one.
        steps: after which training steps candidates are measured; 0 is before training. Masked language models and
            decoders train.
        seeds: of rows, samples and dropout.
        source_languages: as in `OfaInitializer.from_pretrained`.
        max_texts: lines held out of each language, evenly spaced.
        max_pairs: translations held out of each language, likewise.
        files: where text and parallel come from ("text", "parallel", "pivot"), for `OfaInitializer.from_comparison`.

    Raises:
        ValueError: nothing to measure with, an unknown method, one whose needs aren't met, steps for a model that is
            neither a masked language model nor a decoder.
    """

    source: str
    target_tokenizer: str
    text: Mapping[str, Sequence[str]]
    parallel: Sequence[ParallelText] = ()
    word_vectors: str | None = None
    donor: str | None = None
    methods: Sequence[str] | None = None
    sizes: Sequence[int | None] = (None,)
    steps: Sequence[int] = (0,)
    seeds: Sequence[int] = (0,)
    source_languages: Sequence[str] | None = None
    max_texts: int = 16
    max_pairs: int = 60
    files: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.text:
            raise ValueError("text is empty; give lines of at least one language.")
        for name in ("sizes", "steps", "seeds"):
            values = list(getattr(self, name))
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must name one or more, each once, but is {values}.")
        if min(self.steps) < 0 or self.max_texts < 1 or self.max_pairs < 2:
            raise ValueError("steps must be from 0 on, max_texts from 1 and max_pairs from 2.")
        if max(self.steps) and not self.is_trainable:
            raise ValueError(
                f"steps={list(self.steps)} trains a masked language model or a decoder, and {self.source} is neither."
            )
        if not self.is_language_model and not self.parallel:
            raise ValueError(
                f"{self.source} has no language-modelling head, so that parallel is needed to measure it."
            )
        for name in self.methods or ():
            find_method(name).check(self.given, {})

    @property
    def given(self) -> set[str]:
        """Which of `NEEDS` are there."""
        there = {
            "word_vectors": self.word_vectors,
            "target_text": self.text,
            "parallel_text": self.parallel,
            "donor": self.donor,
        }
        return {name for name in NEEDS if there[name]}

    @cached_property
    def _class(self) -> type[PreTrainedModel]:
        return model_class(self.source, load_config(self.source, {}))

    @property
    def is_language_model(self) -> bool:
        return language_model_loader(self._class.__name__) is not None

    @property
    def is_causal(self) -> bool:
        return language_model_loader(self._class.__name__) is AutoModelForCausalLM

    @property
    def is_trainable(self) -> bool:
        return self.is_causal or language_model_loader(self._class.__name__) is AutoModelForMaskedLM

    @cached_property
    def candidates(self) -> dict[str, dict[str, Any]]:
        """Name -> method and embedding size."""
        names = self.methods
        if names is None:
            names = []
            for name, method in methods().items():
                try:
                    method.check(self.given, {})
                except ValueError as error:
                    logger.info("Left out: %s", error)
                else:
                    names.append(name)
        return {
            name if size is None else f"{name}, {size}": {"method": name, "embedding_size": size}
            for name in names
            for size in self.sizes
        }

    @cached_property
    def held_pairs(self) -> list[ParallelText]:
        return [text.spread(self.max_pairs) for text in self.parallel]

    @cached_property
    def held_lines(self) -> dict[str, list[str]]:
        """Language -> lines that nothing is made of."""
        return {
            language: evenly([line for line in lines if line.strip()], self.max_texts)
            for language, lines in self.text.items()
        }

    @cached_property
    def _held(self) -> set[str]:
        lines = {line for some in self.held_lines.values() for line in some}
        return lines.union(*((*text.texts, *text.translations) for text in self.held_pairs))

    @cached_property
    def training_lines(self) -> dict[str, list[str]]:
        """Language -> the lines that aren't held out, as lines or in translations.

        Raises:
            ValueError: a language has no others.
        """
        found = {
            language: [line for line in lines if line.strip() and line not in self._held]
            for language, lines in self.text.items()
        }
        if empty := [language for language, lines in found.items() if not lines]:
            raise ValueError(f"All text of {empty[0]} is held out; give more of it, or hold out less (max_texts).")
        return found

    @cached_property
    def training_pairs(self) -> list[tuple[str, str]]:
        """(line of the pivot, translation), neither held out."""
        return [
            (theirs, ours)
            for text in self.parallel
            for ours, theirs in zip(text.texts, text.translations)
            if ours not in self._held and theirs not in self._held
        ]

    @property
    def inputs(self) -> dict[str, Any]:
        """What decides the results, in plain values; text by its checksum."""
        texts = [[language, *lines] for language, lines in self.text.items()]
        texts += [[text.language, *text.texts, *text.translations] for text in self.parallel]
        return {
            "source": str(self.source),
            "target_tokenizer": str(self.target_tokenizer),
            "word_vectors": self.word_vectors and str(self.word_vectors),
            "donor": self.donor and str(self.donor),
            "source_languages": list(self.source_languages) if self.source_languages else None,
            "max_texts": self.max_texts,
            "max_pairs": self.max_pairs,
            "steps": sorted(self.steps),
            "text": hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode()).hexdigest()[:16],
            "files": dict(self.files),
        }

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The target's."""
        return load_tokenizer(self.target_tokenizer, "target_tokenizer")

    def check_folder(self, folder: Path) -> None:
        """That this comparison can be written there, or go on, and that there is room for a model of the largest size
        among temporary files, from which each candidate is measured.

        Raises:
            ValueError: the folder holds cells of another comparison.
            OSError: too little room.
        """
        settings = folder / _SETTINGS
        if settings.is_file() and (found := read_json(settings, "name another folder")) != self.inputs:
            known = found if isinstance(found, dict) else {}
            other = [name for name, value in self.inputs.items() if known.get(name) != value]
            raise ValueError(f"{folder} holds a comparison with other {', '.join(other)}; name another folder.")
        model = without_weights(self.source, self._class, load_config(self.source, {}), {})
        largest = max(self.sizes, key=lambda size: math.inf if size is None else size)
        needed = sizes_of(model, find_embeddings(model), len(self.tokenizer), largest).disk
        check_space(Path(tempfile.gettempdir(), "ofa"), needed, "The temporary folder (TMPDIR)")

    def predicted_seconds(self) -> float:
        """CPU seconds of all cells: an estimate from the operations that measuring and training take."""
        tokenizer = self.tokenizer

        def tokens(lines: Iterable[str]) -> int:
            lines = list(lines)  # Transformers fails where there are none
            found = tokenizer(lines, add_special_tokens=False, verbose=False)["input_ids"] if lines else []
            return sum(map(len, found))

        config = load_config(self.source, {}).get_text_config()
        layer = 12 * config.hidden_size**2  # attention and a feed-forward block of the usual width
        passes, labels = (
            (1, 1.0) if self.is_causal else (DEFAULT_STRIDE, 0.3)
        )  # of a text; share of tokens with logits
        body = 2 * layer * config.num_hidden_layers
        retrieval = tokens({line for text in self.held_pairs for line in (*text.texts, *text.translations)}) * body
        held = tokens([line for lines in self.held_lines.values() for line in lines]) if self.is_language_model else 0
        bits = held * (passes * body + 2 * config.hidden_size * len(tokenizer))
        step = _BATCH * _TOKENS * 3 * (body + labels * config.hidden_size * len(tokenizer))
        operations = len(set(self.steps)) * (retrieval + bits) + sum(self.steps) * step
        characters = sum(len(line) for lines in self.text.values() for line in lines)
        own = sum(find_method(chosen["method"]).text_seconds for chosen in self.candidates.values()) * characters / 1e6
        cells = len(self.candidates) * (_MAKING + operations / _SPEED) + own
        return characters / _READING + len(self.seeds) * cells


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
    write(folder / _SETTINGS, comparison.inputs, **_JSON)
    vectors = None if comparison.word_vectors is None else WordVectors.load(comparison.word_vectors)
    cells: dict[str, list[dict[str, Any]]] = {name: [] for name in comparison.candidates}
    todo = [(seed, name) for seed in comparison.seeds for name in comparison.candidates]
    factorized = [size for size in comparison.sizes if size is not None]
    run = Run(largest_size=max(factorized) if len(factorized) > 1 else None)
    made = None
    for seed, name in logging.tqdm(todo, desc="Cells", unit="cell", leave=False, disable=not show_progress):
        path = folder / "cells" / f"{name.replace(', ', '-')}-{seed}.json"
        if not path.is_file():
            now = seed, comparison.candidates[name]["method"]
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
            batch_size=_BATCH,
            sequence_length=min(_TOKENS, longest_input(model, adapted.tokenizer)),
            seed=seed,
            causal=comparison.is_causal,
        )
    measured: dict[str, list[dict[str, Any]]] = {}
    untrained = {n: tensor.clone() for n, tensor in model.state_dict().items()} if len(steps) > 1 else {}
    for number in steps:
        if number:  # each number has a warmup and a decay of its own
            if untrained:
                model.load_state_dict(untrained)
            continue_pretraining(model, batches[:number], learning_rate=_RATE, seed=seed, causal=comparison.is_causal)
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
