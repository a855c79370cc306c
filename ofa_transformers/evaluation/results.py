"""What was measured, with intervals: side by side as a table, as CSV, as JSON, and as the Hub's model-index."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from huggingface_hub import EvalResult

from ..text.language_groups import head_languages, is_head


# Rows of a table that stand for several languages, in this order, after the languages.
GROUPS = ("head", "tail", "all")
_PIPELINES = {
    "retrieval": "sentence-similarity",
    "perplexity": "fill-mask",
    "classification": "text-classification",
    "tagging": "token-classification",
}
# Resampled indices held at once, in numbers.
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Measurement:
    """One number about one model.

    Attributes:
        model: the folder or Hub id.
        task: what it did, as "retrieval (Tatoeba)"; its first word is the kind of task.
        language: as the data names it, deu or deu_Latn; or a group, "head", "tail" or "all".
        metric: as "top-1 from English". Shares lie between 0 and 1.
        value: the number.
        low, high: bounds of its 95 % interval, by the bootstrap over items; None where there is none.
        size: the items it was measured on.
        seed: of the fine-tuning; None where nothing was trained.
        data: the exact data: file names with the beginnings of their SHA-256, or a data set of the Hub.
    """

    model: str
    task: str
    language: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    size: int = 0
    seed: int | None = None
    data: str = ""


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float], size: int, *, samples: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """The percentile interval of a statistic of `size` items (Efron and Tibshirani, 1993, section 13.3).

    Args:
        statistic: of a resample, given as (size,) indices of items.
        size: the number of items, at least 1.
        samples: resamples.
        seed: of the resamples.
        level: of the interval.
    """
    generator = np.random.default_rng(seed)
    values = [statistic(generator.integers(size, size=size)) for _ in range(samples)]
    return _percentiles(np.array(values, dtype=np.float64), level)


def ratio_interval(
    numerators: np.ndarray,
    denominators: np.ndarray | None = None,
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """The percentile interval of sum(numerators) / sum(denominators) of resampled items; of the mean by default.

    Args:
        numerators: (N,), one for each item, N at least 1.
        denominators: (N,), all 1 by default.
        samples, seed, level: as in `bootstrap_interval`.
    """
    size = len(numerators)
    columns = np.column_stack([numerators, np.ones(size) if denominators is None else denominators]).astype(np.float64)
    generator = np.random.default_rng(seed)
    sums = np.empty((samples, 2))
    block = max(1, _BLOCK // size)
    for start in range(0, samples, block):
        chosen = generator.integers(size, size=(min(block, samples - start), size))
        sums[start : start + block] = columns[chosen].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _percentiles(sums[:, 0] / sums[:, 1], level)


def _percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    tail = 100 * (1 - level) / 2
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return float(low), float(high)


def group_means(
    measurements: Sequence[Measurement], head: Iterable[str] | None = None, *, left_out: Iterable[str] = ()
) -> list[Measurement]:
    """The mean over languages of each model, task, metric and seed, all languages counting the same.

    Args:
        measurements: of single languages.
        head: codes of the languages that count as head (see `languages.head_languages`); the others are tail. None: no
            such groups.
        left_out: languages that belong to no group, like the one that was trained on.

    Returns:
        A measurement of "all", and of "head" and "tail" where these have a language. The interval is that of a sum of
        independent errors: the languages' half-widths, squared, added up.
    """
    codes = None if head is None else head_languages(head)
    excluded = set(left_out) | set(GROUPS)
    found: dict[tuple, list[Measurement]] = {}
    for item in measurements:
        if item.language not in excluded:
            groups = ["all"]
            if codes is not None:
                groups.append("head" if is_head(item.language, codes) else "tail")
            for group in groups:
                found.setdefault((item.model, item.task, group, item.metric, item.seed), []).append(item)
    return [_mean(group, items) for (_, _, group, _, _), items in found.items()]


def _mean(group: str, items: Sequence[Measurement]) -> Measurement:
    first = items[0]
    value = sum(item.value for item in items) / len(items)
    low = high = None
    if all(item.low is not None and item.high is not None for item in items):
        low = value - math.hypot(*(item.value - item.low for item in items)) / len(items)
        high = value + math.hypot(*(item.high - item.value for item in items)) / len(items)
    return Measurement(
        first.model,
        first.task,
        group,
        first.metric,
        value,
        low,
        high,
        sum(item.size for item in items),
        first.seed,
        f"mean of {len(items)} languages",
    )


def to_json(measurements: Sequence[Measurement]) -> str:
    """All fields of all measurements; `read_json` gives them back."""
    return json.dumps([asdict(item) for item in measurements], ensure_ascii=False, indent=1) + "\n"


def read_json(path: str | Path) -> list[Measurement]:
    """The measurements that `to_json` wrote.

    Raises:
        ValueError: a file that holds something else.
    """
    names = {field.name for field in fields(Measurement)}
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        return [Measurement(**{name: value for name, value in row.items() if name in names}) for row in rows]
    except (UnicodeDecodeError, json.JSONDecodeError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} holds no measurements; name a results.json that `ofa evaluate` wrote ({error})."
        ) from error


def to_csv(measurements: Sequence[Measurement]) -> str:
    """A line for each measurement, with a header."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in fields(Measurement)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(item) for item in measurements)
    return stream.getvalue()


@dataclass(frozen=True)
class Table:
    """Results of one task: a row for each language and group, a column for each model or, of one model, each metric.

    Attributes:
        title: the task, and the metric or the model that all columns share.
        columns: models, by names as short as tells them apart; or metrics.
        rows: (language, a cell for each column). A cell says the value, and after ± the standard deviation over seeds
            where there are several, or else half the width of the interval.
        note: what the cells say.
    """

    title: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]
    note: str


def tables(measurements: Sequence[Measurement]) -> list[Table]:
    """For each task one table of one model, or one for each metric with the models side by side."""
    found = []
    for task in dict.fromkeys(item.task for item in measurements):
        items = [item for item in measurements if item.task == task]
        models = list(dict.fromkeys(item.model for item in items))
        names = dict(zip(models, short_names(models)))
        metrics = list(dict.fromkeys(item.metric for item in items))
        if len(models) == 1:
            found.append(_table(f"{task}: {names[models[0]]}", items, {(models[0], name): name for name in metrics}))
        else:
            for metric in metrics:
                of_metric = [item for item in items if item.metric == metric]
                columns = {(model, metric): names[model] for model in models}
                found.append(_table(f"{task}: {metric}", of_metric, columns))
    return found


def _table(title: str, items: Sequence[Measurement], columns: Mapping[tuple[str, str], str]) -> Table:
    cells: dict[tuple[str, str, str], list[Measurement]] = {}
    for item in items:
        cells.setdefault((item.language, item.model, item.metric), []).append(item)
    languages = {item.language for item in items}
    ordered = [*sorted(languages - set(GROUPS)), *(group for group in GROUPS if group in languages)]
    rows = [(language, [_cell(cells.get((language, *column), ())) for column in columns]) for language in ordered]
    seeds = sorted({item.seed for item in items if item.seed is not None})
    spread = (
        f"standard deviation over the seeds {', '.join(map(str, seeds))}"
        if len(seeds) > 1
        else "half the 95 % bootstrap interval"
    )
    unit = "percent, " if any(is_share(item.metric) for item in items) else ""
    return Table(title, list(columns.values()), rows, f"{unit}± {spread}")


def is_share(metric: str) -> bool:
    """Whether a metric is a share, shown in percent: accuracies and F1 are, bits and perplexities are not."""
    return "bits" not in metric and "perplexity" not in metric


def _cell(items: Sequence[Measurement]) -> str:
    if not items:
        return ""
    factor, digits = (100, 1) if is_share(items[0].metric) else (1, 3)
    values = [item.value * factor for item in items]
    text = f"{sum(values) / len(values):.{digits}f}"
    if len(values) > 1:
        return f"{text} ± {float(np.std(values, ddof=1)):.{digits}f}"
    only = items[0]
    if only.low is not None and only.high is not None:
        return f"{text} ± {(only.high - only.low) * factor / 2:.{digits}f}"
    return text


def to_markdown(measurements: Sequence[Measurement]) -> str:
    """The tables of `tables`, and the data of each language, as Markdown."""
    parts = []
    for table in tables(measurements):
        lines = [f"**{table.title}** ({table.note})", "", "| language | " + " | ".join(table.columns) + " |"]
        lines.append("| --- |" + " ---: |" * len(table.columns))
        lines += [f"| {language} | " + " | ".join(cells) + " |" for language, cells in table.rows]
        parts.append("\n".join([*lines, ""]))
    data = {
        (item.task.partition(",")[0].rstrip(")") + ")", item.language, item.data)
        for item in measurements
        if item.language not in GROUPS and item.data
    }
    if data:
        parts.append(
            "\n".join(["Data:", "", *(f"- {task}, {name}: {origin}" for task, name, origin in sorted(data)), ""])
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


def model_index(measurements: Sequence[Measurement], *, model: str | None = None) -> list[EvalResult]:
    """Results for the metadata of a model card (`model-index`): seeds averaged, the languages' own and the groups'.

    Args:
        measurements: of one model, unless `model` says which.
        model: the one whose results are taken.

    Raises:
        ValueError: measurements of several models, or of none.
    """
    chosen = [item for item in measurements if model is None or item.model == model]
    names = sorted({item.model for item in chosen})
    if len(names) != 1:
        raise ValueError(
            f"model is {model!r}, but the measurements are of {', '.join(sorted({m.model for m in measurements}))}."
        )
    cells: dict[tuple[str, str, str], list[Measurement]] = {}
    for item in chosen:
        cells.setdefault((item.task, item.language, item.metric), []).append(item)
    results = []
    for (task, language, metric), items in cells.items():
        kind = task.partition(" ")[0]
        several = language in GROUPS
        results.append(
            EvalResult(
                task_type=_PIPELINES.get(kind, kind),
                task_name=task,
                dataset_type=items[0].data or task,
                dataset_name=f"{task}, {'mean of languages' if language == 'all' else language}",
                dataset_config=None if several else language,
                metric_type=_metric_type(metric),
                metric_name=metric,
                metric_value=round(sum(item.value for item in items) / len(items), 6),
            )
        )
    return results


def _metric_type(metric: str) -> str:
    """As the Hub's `evaluate` calls it, where it does."""
    if metric.startswith("top-"):
        return "accuracy"
    known = next((name for name in ("f1", "perplexity") if metric.lower().endswith(name)), None)
    return known or metric.lower().replace(" ", "_")
