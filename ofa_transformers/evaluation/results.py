"""What was measured, with intervals, and in files: as CSV, as JSON, and as the Hub's model-index."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from huggingface_hub import EvalResult

from ..text.language_groups import head_languages, is_head
from ..utils import strict_json
from ..utils.reading import read_json as read_json_file
from ..utils.reading import record_of


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
        size: the items it was measured on; of retrieval also the pool that is searched.
        seed: of the fine-tuning; None where nothing was trained.
        data: the exact data: file names with the beginnings of their SHA-256, or a data set of the Hub.
        layer: of the hidden states, for retrieval.
        centred: whether each language's mean vector was subtracted first, for retrieval.
        chance: the value of guessing, for retrieval.
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
    layer: int | None = None
    centred: bool | None = None
    chance: float | None = None


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
        first.layer,
        first.centred,
        None if first.chance is None else sum(item.chance for item in items) / len(items),
    )


def to_json(measurements: Sequence[Measurement]) -> str:
    """All fields of all measurements; `read_json` gives them back. A number that is NaN or infinite is null."""
    return strict_json.dumps([asdict(item) for item in measurements], ensure_ascii=False, indent=1) + "\n"


def read_json(path: str | Path) -> list[Measurement]:
    """The measurements that `to_json` wrote, in this version or another. A value that is null is NaN.

    Raises:
        FileNotFoundError: it isn't there.
        ValueError: a file that holds something else.
    """
    remedy = "name a results.json that `ofa evaluate` wrote"
    rows = read_json_file(Path(path), remedy)
    if not isinstance(rows, list):
        raise ValueError(f"{path} holds no list of measurements; {remedy}.")
    for row in rows:
        if isinstance(row, dict) and row.get("value", 0) is None:
            row["value"] = math.nan
    return [record_of(Measurement, row, f"{path}, entry {number}", remedy) for number, row in enumerate(rows, 1)]


def to_csv(measurements: Sequence[Measurement]) -> str:
    """A line for each measurement, with a header."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in fields(Measurement)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(item) for item in measurements)
    return stream.getvalue()


def model_index(measurements: Sequence[Measurement], *, model: str | None = None) -> list[EvalResult]:
    """Results for the metadata of a model card (`model-index`): seeds averaged, the languages' own and the groups'.

    Values that are NaN or infinite are left out.

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
        if math.isfinite(item.value):
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
