"""What `adapt_and_train` would do and what it costs, from sizes of text and model alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from ..models.checkpoints import load_config, reading_weights
from ..training.run import CHECKPOINT_BYTES, WRITING
from ..utils.memory import available_memory
from ..utils.progress import stage
from ..utils.reading import read_json
from ..utils.targets import check_space
from .costs import RouteCosts, measure_route
from .route import Route
from .route_settings import default_steps


# Seconds for a character of text: of six Bibles, 8.7 M characters, vectors took 23 s on two cores, and four sizes of a
# tokenizer, the choice between them included, 70.
_VECTORS, _TOKENIZER = 2.6e-6, 0.8e-5
# Bytes of a character of text while it is read, and of a parameter while it is trained.
_TEXT_BYTES, _TRAINING_BYTES = 30, 20
_USUAL_SIZE, _USUAL_EXTENSION = 12_000, 4_000
_EVALUATIONS = 5


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


def plan_route(route: Route, output: Path, *, timed: bool = True) -> RoutePlan:
    """Sizes and, if `timed`, times of a route; stages that ended in `output` are `done`, whatever their settings.

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
    costs = RouteCosts()
    if timed:
        with stage("Measuring a step"):
            costs = measure_route(route, config, new, steps)
    text = _TEXT_BYTES * characters
    languages = len(route.lines)
    making = "made of the translations" if route.word_vectors is None else f"of {Path(route.word_vectors).name}"
    kind = "trained or extended, as the source's serves"
    if route.tokenizer is not None:
        kind = f"{route.tokenizer}ed" if route.tokenizer in ("train", "extend") else Path(route.tokenizer).name
    # Of a sentence encoder's vectors after adaptation and training; of a masked language model's at the end.
    removal, encoder = costs.removal, None
    if route.contrasts:
        removal = 0.0
        what = "the trained model's lower layers as a sentence encoder"
        encoder = ("encoder", what, costs.removal, 8 * parameters, 4 * parameters)
    precision = "bfloat16" if route.in_bfloat16 else "float32"
    rows = [
        ("vectors", f"word vectors of {languages} languages, {making}", _VECTORS * characters, text, 40e6),
        ("tokenizer", kind, _TOKENIZER * characters, text, 2e6),
        (
            "adapted",
            f"{old:,} -> about {new:,} tokens",
            12 + 4e-9 * made * old + removal,
            8 * (parameters + source),
            4 * parameters,
        ),
        ("before", "source and adapted on held-out lines", 2 * costs.measurement, 4 * source, 1e5),
        (
            "trained",
            f"{steps:,} steps of about {costs.tokens:,} tokens, {precision}, {_EVALUATIONS} evaluations",
            costs.teacher
            + removal
            + steps * costs.step
            + _EVALUATIONS * (costs.evaluation + CHECKPOINT_BYTES * parameters / WRITING),
            _TRAINING_BYTES * parameters,
            (2 * CHECKPOINT_BYTES + 4) * parameters,
        ),
        *([] if encoder is None else [encoder]),
        ("after", "the trained model; card and report", costs.measurement, 4 * parameters, 1e5),
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
