"""Results in the card of a checkpoint, where the Hub finds them."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, eval_result_entries_to_yaml

from ..utils.files import new_file
from ..utils.hub import CARD_FILE
from .results import Measurement, model_index


RESULTS_FILE = ".eval_results/ofa.yaml"
# A data set of the Hub as measurements name it: `user/name`, then configuration and split; files are named otherwise.
_DATASET = re.compile(r"([\w.-]+/[\w.-]+)(?:[: ][\w.-]+)?, split .*", flags=re.ASCII)
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

    What was measured on data sets of the Hub goes into `.eval_results/ofa.yaml`, too, where the Hub reads it.

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
    _write_entries(Path(folder) / RESULTS_FILE, measurements)
    return path


def _write_entries(path: Path, measurements: Sequence[Measurement]) -> None:
    """Results on data sets of the Hub as it reads them beside the card; those of other runs are kept.

    Results on files of one's own have no data set that they could name, and stand in the card alone.
    """
    found = eval_result_entries_to_yaml(hub_entries(measurements))
    if not found:
        return
    before = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else []
    entries = {json.dumps(entry["dataset"], sort_keys=True): entry for entry in [*before, *found]}
    path.parent.mkdir(exist_ok=True)
    with new_file(path) as temporary:
        temporary.write_text(yaml.safe_dump(list(entries.values()), sort_keys=False), encoding="utf-8")


def hub_entries(measurements: Sequence[Measurement]) -> list[EvalResultEntry]:
    """One for each language and metric that was measured on a data set of the Hub; seeds are averaged."""
    cells: dict[tuple[str, str, str], list[Measurement]] = {}
    for item in measurements:
        if math.isfinite(item.value) and (name := _DATASET.fullmatch(item.data)) and not os.path.exists(name[1]):
            task = f"{item.task}, {item.language}, {item.metric}"
            cells.setdefault((name[1], task, item.data), []).append(item)
    return [
        EvalResultEntry(
            dataset_id=dataset,
            task_id=task,
            value=round(sum(item.value for item in items) / len(items), 6),
            notes=data,
        )
        for (dataset, task, data), items in cells.items()
    ]


def _key(result: EvalResult) -> tuple[str | None, ...]:
    return (result.task_type, result.task_name, result.dataset_name, result.dataset_config, result.metric_name)
