"""Tables and pictures of the cells that are there."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from initializations import INITIALIZATIONS

from ofa_transformers.files import new_file


SOURCES = {
    "minilm": "English source: all-MiniLM-L6-v2",
    "multilingual": "source of four languages (English, German, Russian, Arabic)",
}
# Okabe and Ito's colours, which all kinds of colour vision tell apart.
COLOURS = {
    "random": "#999999",
    "random-u": "#000000",
    "fvt-u": "#D55E00",
    "focus-u": "#CC79A7",
    "wechsel-u": "#F0E442",
    "ofa": "#56B4E9",
    "rules-u": "#0072B2",
    "offset0.4": "#009E73",
    "offset0.4-200": "#E69F00",
    "mixture0.4": "#7B3294",
}


def write_summary(output: Path) -> None:
    """results.json with all cells, results.md with the tables, and a picture for each source (extra `plot`)."""
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((output / "cells").glob("*.json"))]
    if not cells:
        raise FileNotFoundError(f"{output / 'cells'} has no results yet.")
    for cell in cells:  # JSON has no numbers for keys
        for field in ("loss", "retrieval", "bits_per_character", "curve"):
            cell[field] = {int(step): value for step, value in cell[field].items()}
    with new_file(output / "results.json") as temporary:
        temporary.write_text(json.dumps(cells, separators=(",", ":")) + "\n", encoding="utf-8")
    parts = [table(cells, source) for source in SOURCES if any(c["cell"]["source"] == source for c in cells)]
    with new_file(output / "results.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print("\n\n".join(parts))
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("No pictures: pip install 'ofa-transformers[plot]'")
        return
    for source in SOURCES:
        chosen = [cell for cell in cells if cell["cell"]["source"] == source]
        if chosen:
            draw(chosen, SOURCES[source], output / f"curves-{source}.png")
    print(f"Tables and pictures are in {output}")


def mean(by_language: dict[str, float]) -> float:
    return sum(by_language.values()) / len(by_language)


def retrieved(cell: dict, task: str, step: int, direction: int) -> float:
    return mean({language: both[direction] for language, both in cell["retrieval"][step][task].items()})


def spread_of(values: list[float], digits: int) -> str:
    """The mean, and after ± half the 95 % interval by Student's t over seeds."""
    text = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return text
    # t of 97.5 % for 1, 2, ... degrees of freedom
    quantile = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}.get(len(values) - 1, 2.0)
    return f"{text} ± {quantile * np.std(values, ddof=1) / math.sqrt(len(values)):.{digits}f}"


def table(cells: list[dict], source: str) -> str:
    """The table of a source: one row for each initialisation."""
    of_source = [cell for cell in cells if cell["cell"]["source"] == source]
    steps = of_source[0]["cell"]["steps"]
    by_name: dict[str, list[dict]] = {}
    for name in INITIALIZATIONS:
        if found := [cell for cell in of_source if cell["cell"]["initialization"] == name]:
            by_name[name] = found
    references = {
        name: {cell["cell"]["seed"]: mean(cell["loss"][steps]) for cell in by_name.get(name, ())}
        for name in ("random", "random-u")
    }
    columns: list[tuple[str, Callable[[dict], float], int]] = [
        ("loss before", lambda c: mean(c["loss"][0]), 2),
        (f"loss, step {round(steps / 5)}", lambda c: mean(c["loss"][round(steps / 5)]), 2),
        (f"loss, step {steps}", lambda c: mean(c["loss"][steps]), 2),
        ("bits/char. after", lambda c: mean(c["bits_per_character"][steps]), 2),
        ("Bible → X before", lambda c: retrieved(c, "Bible", 0, 0), 1),
        ("after", lambda c: retrieved(c, "Bible", steps, 0), 1),
        ("Bible → eng after", lambda c: retrieved(c, "Bible", steps, 1), 1),
        ("Tatoeba → X before", lambda c: retrieved(c, "Tatoeba", 0, 0), 1),
        ("after", lambda c: retrieved(c, "Tatoeba", steps, 0), 1),
    ]
    head = ["initialisation", "seeds", "parameters, M", *(name for name, _, _ in columns)]
    head += ["share of steps to random's last loss", "to that of random with unigram bias", "tokens per CPU s"]
    lines = [f"**{SOURCES[source]}, {steps} steps**", "", "| " + " | ".join(head) + " |"]
    lines.append("| --- |" + " ---: |" * (len(head) - 1))
    for name, found in by_name.items():
        row = [INITIALIZATIONS[name].title, str(len(found)), f"{found[0]['parameters'] / 1e6:.1f}"]
        row += [spread_of([measure(cell) for cell in found], digits) for _, measure, digits in columns]
        for reference in references.values():
            row.append(_reached(found, reference))
        row.append(f"{np.mean([c['tokens'] / c['curve'][steps]['cpu_seconds'] for c in found]):.0f}")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def _reached(cells: list[dict], reference: dict[int, float]) -> str:
    """The share of the steps after which the loss is as low as the last one of the reference with the same seed."""
    shares = [
        steps_to(cell, reference[seed]) / cell["cell"]["steps"]
        for cell in cells
        if (seed := cell["cell"]["seed"]) in reference
    ]
    if not shares:
        return ""
    return "never" if math.inf in shares else f"{max(shares):.2f}"


def steps_to(cell: dict, loss: float) -> float:
    """Steps until the held-out loss is as low, interpolated between those at which it was measured; inf if never."""
    steps = sorted(cell["loss"])
    losses = [mean(cell["loss"][step]) for step in steps]
    for (step, above), (following, below) in zip(zip(steps, losses), zip(steps[1:], losses[1:])):
        if above <= loss:
            return step
        if below <= loss:
            return step + (following - step) * (above - loss) / (above - below)
    return math.inf if losses[-1] > loss else steps[-1]


def draw(cells: list[dict], title: str, path: Path) -> None:
    """Loss against steps and CPU seconds, and retrieval before, during and after; the means over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8.4), layout="constrained")
    axes = figure.subplots(2, 2)
    names = [name for name in COLOURS if any(c["cell"]["initialization"] == name for c in cells)]
    for name in names:
        found = [cell for cell in cells if cell["cell"]["initialization"] == name]
        style = {"color": COLOURS[name], "label": INITIALIZATIONS[name].title, "linewidth": 1.8}
        steps = sorted(found[0]["loss"])
        losses = np.array([[mean(cell["loss"][step]) for step in steps] for cell in found])
        seconds = np.mean([[cell["curve"][step]["cpu_seconds"] for step in steps] for cell in found], axis=0)
        for axis, x in ((axes[0, 0], steps), (axes[0, 1], seconds)):
            axis.plot(x, losses.mean(axis=0), **style)
            if len(found) > 1:
                axis.fill_between(x, losses.min(axis=0), losses.max(axis=0), color=COLOURS[name], alpha=0.15, lw=0)
        for axis, task in ((axes[1, 0], "Bible"), (axes[1, 1], "Tatoeba")):
            at = sorted(found[0]["retrieval"])
            values = np.array([[retrieved(cell, task, step, 0) for step in at] for cell in found])
            axis.plot(at, values.mean(axis=0), marker="o", markersize=4, **style)
    low = min(mean(cell["loss"][max(cell["loss"])]) for cell in cells)
    for axis, label in ((axes[0, 0], "steps"), (axes[0, 1], "CPU seconds of training")):
        # The first steps, from losses far above, would press all else together.
        axis.set(xlabel=label, ylabel="held-out masked-LM loss, nats a token", ylim=(low - 0.2, low + 3.2))
    for axis, task in ((axes[1, 0], "Bible"), (axes[1, 1], "Tatoeba")):
        axis.set(xlabel="steps", ylabel=f"{task}, English → X, top-1, percent", ylim=(0, None))
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"{title}: continued pretraining after each initialisation (bands: lowest and highest seed)")
    with new_file(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
