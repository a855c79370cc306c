"""Results in the card of a checkpoint, where the Hub finds them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, ModelCard

from ..utils.files import new_file
from ..utils.hub import CARD_FILE
from .results import Measurement, model_index


_NEW_CARD = "---\nlibrary_name: transformers\n---\n"


def check_card(folder: str | os.PathLike) -> ModelCard:
    """The card of a checkpoint, a new one where it has none.

    Raises:
        FileNotFoundError: the folder holds no model.
        ValueError: metadata that can't be read.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{folder} is not a folder with a model, so that it has no card to write results into."
        )
    path = folder / CARD_FILE
    try:
        return ModelCard(path.read_text(encoding="utf-8") if path.is_file() else _NEW_CARD)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"The metadata of {path} can't be read ({error}); correct it first.") from error


def write_card_results(folder: str | os.PathLike, measurements: Sequence[Measurement]) -> Path:
    """Adds results to the metadata (`model-index`) of the README.md in a checkpoint's folder, all else kept.

    Results that are there already, of the same task, data and metric, are replaced. A folder without README.md gets
    one.

    Args:
        folder: of the checkpoint.
        measurements: of that one model.

    Returns:
        The card's path.

    Raises:
        FileNotFoundError, ValueError: see `check_card`; measurements of several models.
    """
    card = check_card(folder)
    results = {_key(result): result for result in (*(card.data.eval_results or ()), *model_index(measurements))}
    card.data.eval_results = list(results.values())
    card.data.model_name = card.data.model_name or Path(folder).resolve().name
    path = Path(folder) / CARD_FILE
    with new_file(path) as temporary:
        temporary.write_text(str(card), encoding="utf-8")
    return path


def _key(result: EvalResult) -> tuple[str | None, ...]:
    return (result.task_type, result.task_name, result.dataset_name, result.dataset_config, result.metric_name)
