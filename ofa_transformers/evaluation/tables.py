"""Measurements side by side, as tables for people."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..utils.markdown import plain
from .results import GROUPS, Measurement


# What a metric is called where each language's mean vector was subtracted first.
CENTRED = ", centred"
_TOP = re.compile(r"top-(\d+) ")
# Of several models, in tables without details, for each kind of task; of others all.
_MAIN = {
    "perplexity": ("bits per character", "unknown characters"),
    "classification": ("macro-F1",),
    "tagging": ("F1",),
}


@dataclass(frozen=True)
class Table:
    """Results of one task: a row for each language and group, a column for each model or, of one model, each metric.

    Attributes:
        title: the task, and the metric or the model that all columns share.
        columns: models, by names as short as tells them apart; or metrics.
        rows: (language, a cell for each column). A cell says the value, and after ± the standard deviation over seeds
            where there are several, or else half the width of the interval.
        note: what the cells say.
        models: names that `columns` begin with; of a table of one model none.
    """

    title: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]
    note: str
    models: tuple[str, ...] = ()


def tables(measurements: Sequence[Measurement], *, details: bool = True) -> list[Table]:
    """For each task one table of one model, or one for each metric with the models side by side.

    What was measured with vectors as they are and centred stands side by side.

    Args:
        measurements: of any models and tasks.
        details: all metrics; else those that one looks at first, as the smallest k of top-k accuracies.
    """
    found = []
    for task in dict.fromkeys(item.task for item in measurements):
        items = [item for item in measurements if item.task == task]
        models = list(dict.fromkeys(item.model for item in items))
        names = dict(zip(models, short_names(models)))
        metrics = list(dict.fromkeys(item.metric for item in items))
        if not details:
            metrics = _main_metrics(task, metrics, items, len(models) > 1)
        if len(models) == 1:
            found.append(_table(f"{task}: {names[models[0]]}", items, {(models[0], name): name for name in metrics}))
            continue
        for base in dict.fromkeys(metric.removesuffix(CENTRED) for metric in metrics):
            kinds = [metric for metric in metrics if metric.removesuffix(CENTRED) == base]
            columns = {
                (model, metric): names[model] + metric.removeprefix(base) for model in models for metric in kinds
            }
            found.append(replace(_table(f"{task}: {base}", items, columns), models=tuple(names.values())))
    return found


def _main_metrics(task: str, metrics: list[str], items: Sequence[Measurement], several: bool) -> list[str]:
    ranks = [int(match[1]) for metric in metrics if (match := _TOP.match(metric))]
    if ranks:
        return [metric for metric in metrics if metric.startswith(f"top-{min(ranks)} ")]
    kept = _MAIN.get(task.partition(" ")[0], metrics)
    if not several or not set(kept) & set(metrics):
        return metrics
    known = {item.metric for item in items if item.metric != "unknown characters" or item.value > 0}
    return [metric for metric in metrics if metric in kept and metric in known]


def _table(title: str, items: Sequence[Measurement], columns: Mapping[tuple[str, str], str]) -> Table:
    items = [item for item in items if (item.model, item.metric) in columns]
    cells: dict[tuple[str, str, str], list[Measurement]] = {}
    for item in items:
        cells.setdefault((item.language, item.model, item.metric), []).append(item)
    languages = {item.language for item in items}
    ordered = [*sorted(languages - set(GROUPS)), *(group for group in GROUPS if group in languages)]
    rows = [(language, [_cell(cells.get((language, *column), ())) for column in columns]) for language in ordered]
    return Table(title, list(columns.values()), rows, "; ".join(_notes(items)))


def _notes(items: Sequence[Measurement]) -> list[str]:
    seeds = sorted({item.seed for item in items if item.seed is not None})
    spread = (
        f"standard deviation over the seeds {', '.join(map(str, seeds))}"
        if len(seeds) > 1
        else "half the 95 % bootstrap interval"
    )
    unit = "percent, " if any(is_share(item.metric) for item in items) else ""
    notes = [f"{unit}± {spread}"]
    if layers := sorted({item.layer for item in items if item.layer is not None}):
        notes.append(f"layer {' or '.join(map(str, layers))}")
    single = [item for item in items if item.language not in GROUPS]
    if chances := [100 * item.chance for item in single if item.chance is not None]:
        low, high = f"{min(chances):.1f}", f"{max(chances):.1f}"
        notes.append(f"chance {low if low == high else f'{low} to {high}'}")
    if any(item.language == "tail" for item in items):
        notes.append("head: languages named as the source's own, tail: the others")
    return notes


def is_share(metric: str) -> bool:
    """Whether a metric is a share, shown in percent: accuracies and F1 are, bits and perplexities are not."""
    return "bits" not in metric and "perplexity" not in metric


def _cell(items: Sequence[Measurement]) -> str:
    if not items:
        return ""
    factor, digits = (100, 1) if is_share(items[0].metric) else (1, 3)
    values = [item.value * factor for item in items]
    mean, spread = sum(values) / len(values), None
    if len(values) > 1:
        spread = float(np.std(values, ddof=1))
    elif items[0].low is not None and items[0].high is not None:
        spread = (items[0].high - items[0].low) * factor / 2
    return with_spread(mean, spread, digits)


def with_spread(value: float, spread: float | None, digits: int) -> str:
    """`value ± spread` with no digit that the spread makes meaningless: two of the spread's, at most `digits` decimals."""
    if spread is None or not math.isfinite(spread):
        return f"{value:,.{digits}f}"
    if spread > 0:
        digits = min(digits, 1 - int(f"{spread:.1e}".partition("e")[2]))
    shown = max(digits, 0)
    return f"{round(value, digits):,.{shown}f} ± {round(spread, digits):,.{shown}f}"


def to_markdown(measurements: Sequence[Measurement], *, details: bool = True) -> str:
    """The tables of `tables`, and the data of each language, as Markdown."""
    parts = []
    for table in tables(measurements, details=details):
        columns = " | ".join(map(plain, table.columns))
        lines = [f"**{plain(table.title)}** ({plain(table.note)})", "", f"| language | {columns} |"]
        lines.append("| --- |" + " ---: |" * len(table.columns))
        lines += [f"| {plain(language)} | " + " | ".join(cells) + " |" for language, cells in table.rows]
        parts.append("\n".join([*lines, ""]))
    data = {
        (item.task.partition(",")[0].rstrip(")") + ")", item.language, item.data)
        for item in measurements
        if item.language not in GROUPS and item.data
    }
    if data:
        parts.append(
            "\n".join(
                [
                    "Data:",
                    "",
                    *(f"- {plain(task)}, {plain(name)}: {plain(origin)}" for task, name, origin in sorted(data)),
                    "",
                ]
            )
        )
    return "\n".join(parts)


def short_names(models: Sequence[str]) -> list[str]:
    """The last parts of paths and Hub ids, with as many parts as tell them apart."""
    parts = [Path(model).parts or (model,) for model in models]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(models)
