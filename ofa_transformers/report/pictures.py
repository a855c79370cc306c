"""The report's figures as files for papers, by matplotlib (extra `plot`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..models.factorization import truncation_errors
from ..utils.files import new_file
from .columns import NO_LANGUAGE, PageColumns
from .html import KIND_NAMES, named, parameter_counts
from .measures import KINDS_COMPARED
from .report import OfaReport


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
_COLOURS = {
    "copied": "#2f6db5", "composed": "#2a9d8f", "fallback": "#d9772b", "special": "#8a8f98", "source": "#3d4650"
}  # fmt: skip
_MAP_COLOURS = ("#2f6db5", "#c0392b", "#1e8449", "#8e44ad", "#b9770e", "#117a8b", "#d63384", "#5d4037")
_MOST_BARS = 30
_WIDTH = 5.5  # inches, the text width of most papers


def draw_figures(
    report: OfaReport, columns: PageColumns | None, folder: str | os.PathLike, format: str = "png"
) -> list[Path]:
    """Writes the figures of a report into a folder, at 300 dots per inch; those that there is nothing to draw for are left out.

    Args:
        report, columns: as `load_page` returns them.
        folder: made if it isn't there; figures in it are replaced.
        format: "png", "svg" or "pdf".

    Returns:
        The files: `scripts`, `languages`, `parameters`, `similarity`, `norms`, `reconstruction` and `map`.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: another format.
    """
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}, but must be one of {', '.join(FORMATS)}.")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Figures need matplotlib: pip install 'ofa-transformers[plot]'; report.html does not."
        ) from error
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, draw in _FIGURES.items():
        figure = Figure(figsize=(_WIDTH, 3.2), layout="constrained")  # without pyplot: no window, no state
        if not draw(figure, report, columns):
            continue
        path = folder / f"{name}.{format}"
        with new_file(path) as file:
            # No dates: the same report gives the same bytes.
            metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(format)
            figure.savefig(file, dpi=300, format=format, metadata=metadata)
        written.append(path)
    return written


def _axes(figure: Figure, x_label: str = "", y_label: str = "") -> Axes:
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    return axes


def _stacked(figure: Figure, counts: dict[str, dict[str, int]]) -> bool:
    counts = {name: kinds for name, kinds in list(counts.items())[:_MOST_BARS] if sum(kinds.values())}
    if not counts:
        return False
    figure.set_size_inches(_WIDTH, 1.1 + 0.2 * len(counts))
    axes = _axes(figure, "% of the tokens")
    totals = np.array([sum(kinds.values()) for kinds in counts.values()])
    left = np.zeros(len(counts))
    for kind in KIND_NAMES:
        share = 100 * np.array([kinds[kind] for kinds in counts.values()]) / totals
        if share.any():
            axes.barh(range(len(counts)), share, left=left, color=_COLOURS[kind], label=kind)
            left += share
    axes.set_yticks(range(len(counts)), [f"{name}  {total:,}" for name, total in zip(counts, totals)], fontsize=8)
    axes.invert_yaxis()
    axes.grid(False)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    return True


def _scripts(figure: Figure, report: OfaReport, columns: PageColumns | None) -> bool:
    return _stacked(figure, report.tokens_by_script)


def _languages(figure: Figure, report: OfaReport, columns: PageColumns | None) -> bool:
    return _stacked(figure, {named(code): counts for code, counts in report.tokens_by_language.items()})


def _parameters(figure: Figure, report: OfaReport, columns: PageColumns | None) -> bool:
    figure.set_size_inches(_WIDTH, 1.6)
    axes = _axes(figure, "parameters, millions")
    names, embeddings, totals = zip(*parameter_counts(report))
    embeddings, totals = np.array(embeddings) / 1e6, np.array(totals) / 1e6
    axes.barh(names, embeddings, color=_COLOURS["copied"], label="embeddings")
    axes.barh(names, totals - embeddings, left=embeddings, color=_COLOURS["special"], label="body")
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return True


def _similarity(figure: Figure, report: OfaReport, columns: PageColumns | None) -> bool:
    found = report.figures.get("similarity", {})
    if not sum(found.get("composed", ())):
        return False
    axes = _axes(figure, "cosine of the nearest source token", "composed tokens")
    axes.stairs(found["composed"], found["edges"], fill=True, color=_COLOURS["composed"])
    return True


def _norms(figure: Figure, report: OfaReport, columns: PageColumns | None) -> bool:
    found = report.figures.get("norms", {})
    names = [name for name in ("source", *(k.name.lower() for k in KINDS_COMPARED)) if sum(found.get(name, ()))]
    if not names:
        return False
    axes = _axes(figure, "norm of the row", "% of its kind")
    for name in names:
        share = 100 * np.array(found[name]) / sum(found[name])
        axes.stairs(share, found["edges"], color=_COLOURS[name], label=name, linewidth=1.5)
    axes.legend(frameon=False, fontsize=8)
    return True


def _reconstruction(figure: Figure, report: OfaReport, columns: PageColumns | None) -> bool:
    parts = report.figures.get("singular_values", {})
    if not parts:
        return False
    axes = _axes(figure, "embedding size", "relative error")
    chosen = report.target.get("embedding_size")
    for (part, values), style in zip(parts.items(), ("-", "--")):
        errors = truncation_errors(np.array(values))
        axes.plot(errors, style, color=_COLOURS["source"], label=f"{part} embeddings")
        if chosen is not None:
            axes.plot(chosen, errors[chosen], "o", color=_COLOURS["fallback"])
            axes.annotate(
                f"{chosen}: {errors[chosen]:.3f}", (chosen, errors[chosen]), (6, 6), textcoords="offset points"
            )
    axes.set(xlim=(0, None), ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
    return True


def _map(figure: Figure, report: OfaReport, columns: PageColumns | None) -> bool:
    if columns is None or "map" not in columns.facts:
        return False
    figure.set_size_inches(_WIDTH, 4.4)
    axes = _axes(figure)
    axes.set(xticks=[], yticks=[])
    points = columns.arrays["map_points"].reshape(-1, 2)
    first = columns.facts["map"]["sources"]
    language = columns.arrays["language"][columns.arrays["map_ids"][first:]]
    source, new = points[:first], points[first:]
    axes.plot(*source.T, ".", color="#9aa0a6", markersize=2, alpha=0.5, label="source tokens")
    codes, counts = np.unique(language[language != NO_LANGUAGE], return_counts=True)
    largest = codes[np.argsort(-counts, kind="stable")][: len(_MAP_COLOURS)]
    rest = new[~np.isin(language, largest)]
    axes.plot(*rest.T, ".", color="#c9ccd0", markersize=3, label="others, or none")
    for number, colour in zip(largest, _MAP_COLOURS):
        name = named(columns.facts["languages"][number])
        axes.plot(*new[language == number].T, ".", color=colour, markersize=4, label=name)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=7, markerscale=2)
    return True


_FIGURES = {
    "scripts": _scripts,
    "languages": _languages,
    "parameters": _parameters,
    "similarity": _similarity,
    "norms": _norms,
    "reconstruction": _reconstruction,
    "map": _map,
}
