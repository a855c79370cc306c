"""What the log of a run tells: held-out measures by step, the best of the checkpoints, and whether they get worse."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import SaveStrategy
from transformers.utils import logging


logger = logging.get_logger(__name__)

# The measure that chooses among checkpoints, where no other is named; it compares across tokenizers. The other one is of
# translations, where there is no other held-out text.
BEST, RETRIEVAL = "bits_per_character", "retrieval"
PREFIX = "eval_"


def more_is_better(measure: str) -> bool:
    """Of the measures that there are, all but retrieval are losses."""
    return measure.endswith(RETRIEVAL)


def evaluations(history: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, float]]:
    """step -> measures (`eval_loss` ...), of the entries of a log that hold some, in their order."""
    found = {}
    for entry in history:
        measures = {name: value for name, value in entry.items() if name.startswith(PREFIX)}
        if measures:
            found[int(entry["step"])] = measures
    return found


def values(history: Sequence[Mapping[str, Any]], measure: str) -> dict[int, float]:
    """step -> one measure, where it was taken and is a number."""
    name = PREFIX + measure.removeprefix(PREFIX)
    found = {step: measures.get(name, math.nan) for step, measures in evaluations(history).items()}
    return {step: value for step, value in found.items() if math.isfinite(value)}


def best_step(
    history: Sequence[Mapping[str, Any]], steps: Collection[int] | None, measure: str = BEST, greater: bool = False
) -> int | None:
    """The step whose measure is the lowest (with `greater` the highest), the first of equals; None where there is none.

    Args:
        history: the log.
        steps: of the checkpoints to choose from; None: all steps that were measured.
        measure: with or without `eval_`.
        greater: whether more of it is better.
    """
    found = values(history, measure)
    chosen = [step for step in found if steps is None or step in steps]
    return min(chosen, key=lambda step: (-found[step] if greater else found[step], step), default=None)


def evaluations_since_best(history: Sequence[Mapping[str, Any]], measure: str = BEST, greater: bool = False) -> int:
    """How many times in a row a run, the model before its first step included, was no better than at its best."""
    best = best_step(history, None, measure, greater)
    return 0 if best is None else sum(step > best for step in values(history, measure))


class EarlyStop(TrainerCallback):
    """Ends a run whose held-out text was no better than at its best for `early_stopping_patience` evaluations."""

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if stops_early(args, state.log_history) and state.global_step < state.max_steps:
            logger.warning(f"Stopping at step {state.global_step:,}: {why_stopped(args, state.log_history)}")
            control.should_training_stop = True
            control.should_save = args.save_strategy != SaveStrategy.NO
        return control


def stops_early(args: TrainingArguments, history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a run with this log has no patience left."""
    if not args.early_stopping_patience:
        return False
    count = evaluations_since_best(history, args.metric_for_best_model, args.greater_is_better)
    return count >= args.early_stopping_patience


def why_stopped(args: TrainingArguments, history: Sequence[Mapping[str, Any]]) -> str:
    measure, greater = args.metric_for_best_model, args.greater_is_better
    best = best_step(history, None, measure, greater)
    return (
        f"{measure.removeprefix(PREFIX)} of held-out text has been no better than {values(history, measure)[best]:.4f}, "
        f"its value at step {best:,}, in {evaluations_since_best(history, measure, greater)} evaluations in a row; "
        "early_stopping_patience says how many there may be."
    )
