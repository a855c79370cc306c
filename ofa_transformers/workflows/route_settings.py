"""What a route decides where it isn't told: steps, learning rate; and which options may be given to its stages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from ..initialization.initializer import OfaInitializer
from ..models.checkpoints import load_config, reading_weights
from ..scoring.batching import positions_of
from ..tokenization import extend_tokenizer, train_tokenizer
from ..training import DataArguments, PretrainingArguments
from ..vectors import WordVectors


# Stage -> the name of its options.
OVERRIDES = {
    "vectors": "vectors",
    "tokenizer": "tokenizer",
    "adapted": "adapt",
    "before": "evaluate",
    "trained": "train",
    "encoder": "evaluate",
    "after": "evaluate",
}
# Samples of a step and their tokens.
SAMPLES, TOKENS = 8, 128
# Lines of a step, of all languages together; passes over them; and bounds of the steps.
_LINES_OF_A_STEP, _PASSES = 32, 1.0
_FEWEST_STEPS, _MOST_STEPS = 40, 20_000
# Of a masked language model that is trained on pairs, which take the offset out of sentences' vectors again: it ends with
# fewer bits than with the default one, and retrieves about as well (examples/replication).
OFFSET_WITH_PAIRS = 0.4
# Share of tokens that is masked in pairs: at the usual 0.15 bits fall more slowly (docs/continued-pretraining.md).
MASKED_IN_PAIRS = 0.2
# Of a decoder (docs/decoders.md).
METHOD_OF_DECODERS = "fvt"
# Peak rates of a model of 384 dimensions, for distillation and for masked language modelling with pairs.
_DISTILLATION_RATE, _RATE, _WIDTH = 5e-4, 2e-4, 384


@dataclass(frozen=True)
class Stage:
    """A stage: what makes its folder, and what decides the result beside the stages before it."""

    name: str
    make: Callable[[Path], object]
    settings: Mapping[str, Any]


def default_steps(lines: Mapping[str, Sequence[str]]) -> int:
    """As many as read all lines once, 32 a step; at least 40, at most 20,000; a multiple of four."""
    steps = round(_PASSES * sum(map(len, lines.values())) / _LINES_OF_A_STEP)
    return max(_FEWEST_STEPS, min(_MOST_STEPS, steps - steps % 4))


def sample_tokens(source: str) -> int:
    """Tokens of a sample: as many as the model takes, but no more than a short step wants."""
    with torch.device("meta"), reading_weights("source", source):
        model = AutoModel.from_config(load_config(source, {}))
    return min(TOKENS, positions_of(model) or TOKENS)


def default_learning_rate(source: str, distills: bool) -> float:
    """Less for wider models, in proportion: 5e-4 at 384 dimensions for distillation, 2e-4 for masked LMs with pairs."""
    width = load_config(source, {}).get_text_config().hidden_size
    return (_DISTILLATION_RATE if distills else _RATE) * min(1.0, _WIDTH / width)


def known_options() -> dict[str, set[str]]:
    """Stage -> the options that it takes."""

    def names(*functions: Callable) -> set[str]:
        kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return {p.name for f in functions for p in inspect.signature(f).parameters.values() if p.kind in kinds}

    return {
        "vectors": names(WordVectors.from_parallel) - {"texts", "exclude"},
        "tokenizer": names(train_tokenizer, extend_tokenizer) - {"texts", "tokenizer", "vocab_size", "num_new_tokens"},
        "adapt": names(OfaInitializer.from_pretrained) - {"source", "target_tokenizer", "word_vectors"},
        "train": {*DataArguments.__dataclass_fields__, *PretrainingArguments.__dataclass_fields__} - {"output_dir"},
    }


def check_overrides(overrides: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ValueError for a stage or an option that there isn't, and for checkpoints that wouldn't be measured."""
    known = known_options()
    for stage, options in overrides.items():
        if stage not in known:
            raise ValueError(f"There is no stage {stage!r} to set options of; there are {', '.join(known)}.")
        for name in options:
            if name not in known[stage]:
                raise ValueError(
                    f"The stage {stage} has no option {name!r}; it takes {', '.join(sorted(known[stage])[:40])}."
                )
    training = overrides.get("train", {})
    saved, measured = training.get("save_steps"), training.get("eval_steps")
    if saved and measured and saved % measured:
        raise ValueError(
            f"train.save_steps is {saved}, no multiple of train.eval_steps, {measured}, so that checkpoints would not be "
            "measured; make it one, or leave one of the two out."
        )
