"""What `adapt_and_train` would do and what it costs, from sizes of text and model alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from ..models.checkpoints import load_config, reading_weights
from ..utils.memory import available_memory
from ..utils.reading import read_json
from ..utils.targets import check_space
from .route import Route
from .route_settings import SAMPLES, TOKENS, default_steps


# Seconds of one core for a character of text: of Bibles of four and of seven languages, vectors took 3.5 and 12 s of CPU,
# and four sizes of a tokenizer of four languages, the choice between them included, 31 s. And products a second of a
# core (docs/performance.md).
_VECTORS, _TOKENIZER, _OPERATIONS, _CORES = 2e-6, 1.45e-5, 58e9, 2
# Bytes of a character of text while it is read, and of a parameter while it is trained and in a checkpoint.
_TEXT_BYTES, _TRAINING_BYTES, _CHECKPOINT_BYTES = 30, 20, 12
_TOKENS_OF_A_LINE, _USUAL_SIZE, _USUAL_EXTENSION = 40, 12_000, 4_000


@dataclass(frozen=True)
class StagePlan:
    """A stage: what it does, and about how many seconds, bytes of memory and bytes on disk that takes."""

    name: str
    what: str
    seconds: float
    memory: float
    disk: float
    done: bool = False


@dataclass(frozen=True)
class RoutePlan:
    """All stages, in order; `available` bytes of memory are free."""

    stages: list[StagePlan]
    available: int

    @property
    def left(self) -> list[StagePlan]:
        return [each for each in self.stages if not each.done]

    @property
    def disk(self) -> float:
        """Bytes that what is left to do writes."""
        return sum(each.disk for each in self.left)


def plan_route(route: Route, output: Path) -> RoutePlan:
    """Sizes and times of a route; stages that ended in `output` are `done`, whatever their settings.

    Raises:
        ValueError: what lies there isn't what such a run writes.
        OSError: the disk has too little room.
    """
    config = load_config(route.source, {})
    with torch.device("meta"), reading_weights("source", route.source):
        model = AutoModel.from_config(config)
    table = model.get_input_embeddings()
    width, old = table.embedding_dim, table.num_embeddings
    body = model.num_parameters() - table.weight.numel()
    characters = sum(len(line) for lines in route.lines.values() for line in lines)
    grown = route.tokenizer == "extend" or (route.tokenizer is None and route.num_new_tokens is not None)
    new = old + (route.num_new_tokens or _USUAL_EXTENSION) if grown else route.vocab_size or _USUAL_SIZE
    parameters, source = body + new * width, body + old * width
    made = new - old if grown else new
    steps = route.steps or default_steps(route.lines)
    held = len(route.held_out_ids) * len(route.lines) * _TOKENS_OF_A_LINE
    measuring = 2 * held * body / _OPERATIONS / _CORES
    step = 6 * SAMPLES * TOKENS * body / _OPERATIONS / _CORES + 28 * parameters / 44e9
    text = _TEXT_BYTES * characters
    languages = len(route.lines)
    making = "made of the translations" if route.word_vectors is None else f"of {Path(route.word_vectors).name}"
    kind = "trained or extended, as the source's serves"
    if route.tokenizer is not None:
        kind = f"{route.tokenizer}ed" if route.tokenizer in ("train", "extend") else Path(route.tokenizer).name
    rows = [
        ("vectors", f"word vectors of {languages} languages, {making}", _VECTORS * characters, text, 40e6),
        ("tokenizer", kind, _TOKENIZER * characters, text, 2e6),
        (
            "adapted",
            f"{old:,} -> about {new:,} tokens",
            15 + 4e-9 * made * old,
            8 * (parameters + source),
            4 * parameters,
        ),
        ("before", "source and adapted on held-out lines", 2 * measuring, 4 * source, 1e5),
        (
            "trained",
            f"{steps:,} steps of up to {SAMPLES * TOKENS:,} tokens, 5 evaluations",
            steps * step + 5 * measuring,
            _TRAINING_BYTES * parameters,
            (2 * _CHECKPOINT_BYTES + 4) * parameters,
        ),
        ("after", "the trained model; card and report", measuring, 4 * parameters, 1e5),
    ]
    plan = RoutePlan([StagePlan(*row, done=_is_done(output, row[0])) for row in rows], available_memory())
    check_space(output, int(plan.disk))
    return plan


def _is_done(output: Path, stage: str) -> bool:
    found = read_record(output / f"{stage}.json")
    return found is not None and found["done"]


def read_record(file: Path) -> dict[str, Any] | None:
    """The `settings` of a stage and whether it is `done`, as a run noted them; None where it didn't.

    Raises:
        ValueError: a damaged file.
    """
    if not file.is_file():
        return None
    remedy = "remove it, and the same command repeats the stage"
    found = read_json(file, remedy)
    if not isinstance(found, dict) or not isinstance(found.get("done"), bool) or "settings" not in found:
        raise ValueError(f"{file} doesn't say what a stage of a run was made with; {remedy}.")
    return found
