"""Tables and pictures of the cells that are there."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from initializations import INITIALIZATIONS, ROWS, TRAININGS

from ofa_transformers.utils.files import new_file


Measure = Callable[[dict], float | None]
Show = Callable[[list[dict]], str]  # of the cells of an initialisation, which differ in the seed
Column = tuple[str, Show]
# Where in a language's retrieval what is.
THERE, BACK, THERE_CENTRED, BACK_CENTRED = range(4)
SOURCES = {
    "minilm": "English source: all-MiniLM-L6-v2",
    "multilingual": "source of four languages (English, German, Russian, Arabic)",
    "base": "source of XLM-R base's shape, trained on four languages from nothing",
}
# Okabe and Ito's colours, which all kinds of colour vision tell apart.
COLOURS = {
    "random": "#999999",
    "random-c": "#000000",
    "fvt-c": "#D55E00",
    "focus-c": "#CC79A7",
    "wechsel-c": "#F0E442",
    "ofa": "#56B4E9",
    "rules-c": "#0072B2",
    "offset0.2-c": "#009E73",
    "offset0.2-c-200": "#E69F00",
    "offset0.4-c": "#7B3294",
}


def write_summary(output: Path) -> None:
    """results.json with all cells, results.md with the tables, and a picture for each source (extra `plot`)."""
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((output / "cells").glob("*.json"))]
    if not cells:
        raise FileNotFoundError(f"{output / 'cells'} has no results yet.")
    for cell in cells:  # JSON has no numbers for keys
        names = ("bits_per_character", "bits_per_character_by_word", "english_bits_per_character_by_word")
        for field in ("loss", "retrieval", "curve", *names):
            if field in cell:  # the bits by word are newer than some cells
                cell[field] = {int(step): value for step, value in cell[field].items()}
    with new_file(output / "results.json") as temporary:
        temporary.write_text(json.dumps(cells, separators=(",", ":")) + "\n", encoding="utf-8")
    parts = [tables(cells, source) for source in SOURCES if any(c["cell"]["source"] == source for c in cells)]
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


def retrieved(cell: dict, task: str, step: int, which: int) -> float | None:
    """The mean over languages; None where it wasn't measured."""
    return _accuracy(cell["retrieval"][step][task], which)


def _accuracy(by_language: dict[str, list[float]], which: int) -> float | None:
    if any(which >= len(values) for values in by_language.values()):
        return None
    return mean({language: values[which] for language, values in by_language.items()})


def _english_retrieved(cell: dict, step: int | None) -> float | None:
    """With another English translation, the mean of both directions; of the source where no step is given."""
    by_task = cell.get("source", {}).get("retrieval", {}) if step is None else cell["retrieval"][step]
    return sum(by_task["English"]["eng"][:2]) / 2 if "English" in by_task else None


def _by_word(cell: dict, step: int) -> float | None:
    by_step = cell.get("bits_per_character_by_word")
    return None if by_step is None else mean(by_step[step])


def bits_of_loss(cell: dict, step: int) -> float:
    """Bits per character, mean over languages, from the loss of the 15 % of tokens that are masked."""
    density = cell["tokens_per_character"]
    return mean({language: loss * density[language] / math.log(2) for language, loss in cell["loss"][step].items()})


def spread_of(values: list[float], digits: int) -> str:
    """The mean, and after ± half the 95 % interval by Student's t over seeds."""
    text = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return text
    # t of 97.5 % for 1, 2, ... degrees of freedom
    quantile = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}.get(len(values) - 1, 2.0)
    return f"{text} ± {quantile * np.std(values, ddof=1) / math.sqrt(len(values)):.{digits}f}"


def tables(cells: list[dict], source: str) -> str:
    """Tables of a source, with a row for each initialisation: losses and cost, retrieval, test and English."""
    of_source = [cell for cell in cells if cell["cell"]["source"] == source]
    lines = []
    for steps in sorted({cell["cell"]["steps"] for cell in of_source}):
        lines += [*_of_length([cell for cell in of_source if cell["cell"]["steps"] == steps], source, steps), ""]
    return "\n".join([*lines, *rows_by_training(of_source)]).rstrip()


def _of_length(of_source: list[dict], source: str, steps: int) -> list[str]:
    by_name: dict[str, list[dict]] = {}
    for name in INITIALIZATIONS:
        if found := [cell for cell in of_source if cell["cell"]["initialization"] == name]:
            by_name[name] = found
    random, calibrated = (
        {cell["cell"]["seed"]: mean(cell["loss"][steps]) for cell in by_name.get(name, ())}
        for name in ("random", "random-c")
    )
    losses: list[Column] = [
        ("parameters, M", lambda cells: f"{cells[0]['parameters'] / 1e6:.1f}"),
        ("loss before", _spread(lambda c: mean(c["loss"][0]), 2)),
        (f"loss, step {round(steps / 5)}", _spread(lambda c: _loss(c, round(steps / 5)), 2)),
        (f"loss, step {steps}", _spread(lambda c: mean(c["loss"][steps]), 2)),
        ("bits/char. after, words masked", _spread(lambda c: _by_word(c, steps), 2)),
        ("tokens masked", _spread(lambda c: mean(c["bits_per_character"][steps]), 2)),
        ("share of steps to random's last loss", lambda cells: _reached(cells, random)),
        ("to that with calibrated bias", lambda cells: _reached(cells, calibrated)),
        ("tokens per CPU s", _average(lambda c: c["tokens"] / c["curve"][steps]["cpu_seconds"], 0)),
        ("Wh", _average(lambda c: c.get("watt_hours"), 2)),
    ]
    retrieval: list[Column] = []
    for task in ("Bible", "Tatoeba"):
        retrieval += [
            (f"{task} → X before", _spread(lambda c, t=task: retrieved(c, t, 0, THERE), 1)),
            ("after", _spread(lambda c, t=task: retrieved(c, t, steps, THERE), 1)),
            ("→ English after", _spread(lambda c, t=task: retrieved(c, t, steps, BACK), 1)),
            ("centred → X before", _spread(lambda c, t=task: retrieved(c, t, 0, THERE_CENTRED), 1)),
            ("after", _spread(lambda c, t=task: retrieved(c, t, steps, THERE_CENTRED), 1)),
        ]
    title = f"{SOURCES[source]}, {steps} steps"
    lines = [
        f"**{title}: loss and cost**\n",
        *_table(by_name, losses),
        f"\n**{title}: retrieval, top-1 in percent**\n",
        *_table(by_name, retrieval),
    ]
    # Newer than some cells.
    tested = {name: some for name, found in by_name.items() if (some := [cell for cell in found if "test" in cell])}
    if tested:
        lines += [f"\n**{title}: test, and English (dev)**\n", *_table(tested, _test_and_english(steps))]
    encoders = {
        name: some for name, found in by_name.items() if (some := [cell for cell in found if "encoder" in cell])
    }
    if encoders:
        lines += [f"\n**{title}: as sentence encoders, top-1 in percent**\n", *_table(encoders, _as_encoders(steps))]
    if {step for cell in of_source for step in cell["bits_per_character"]} - {0, steps}:
        lines += [f"\n**{title}: on the way**\n", *_on_the_way(of_source)]
    return lines


def rows_by_training(cells: list[dict]) -> list[str]:
    """Tables of all rows on all trainings, where there are cells of several: after as many steps, and at their ends.

    Ends are of equal CPU seconds where the cells' steps were chosen so.
    """
    found = {
        (rows + size, training): some
        for rows in ROWS
        for size in ("", "-200")
        for training in TRAININGS
        if (some := [cell for cell in cells if cell["cell"]["initialization"] == f"{rows}{size}-{training}-2e-4"])
    }
    trainings = [training for training in TRAININGS if any(training == other for _, other in found)]
    if len(trainings) < 2:
        return []
    measures: list[tuple[str, Callable[[dict, int], float | None], int]] = [
        ("bits/char., words masked", _by_word, 2),
        ("tokens masked", lambda c, step: mean(c["bits_per_character"][step]), 2),
        ("Bible → X", lambda c, step: retrieved(c, "Bible", step, THERE), 1),
        ("→ English", lambda c, step: retrieved(c, "Bible", step, BACK), 1),
        ("Tatoeba → X", lambda c, step: retrieved(c, "Tatoeba", step, THERE), 1),
        ("→ English", lambda c, step: retrieved(c, "Tatoeba", step, BACK), 1),
        ("English bits/char.", lambda c, step: c["english_bits_per_character_by_word"][step], 2),
        ("training, CPU s", lambda c, step: c["curve"][step]["cpu_seconds"], 0),
    ]
    common = set.intersection(*(set(c["bits_per_character"]) - {0} for some in found.values() for c in some))
    if not common:
        return []
    ends: list[tuple[str, Callable[[dict], int]]] = [
        ("equal steps", lambda cell: max(common)),
        ("to the end", lambda cell: cell["cell"]["steps"]),
    ]
    lines = []
    for name, chosen in ends:
        lines += [f"**All rows on all trainings, {name}**\n"]
        lines += ["| rows | measure | " + " | ".join(TRAININGS[training][0] for training in trainings) + " |"]
        lines += ["| --- | --- |" + " ---: |" * len(trainings)]
        of_trainings = [[c for (_, other), some in found.items() if other == t for c in some] for t in trainings]
        lengths = [", ".join(sorted({str(chosen(cell)) for cell in some}, key=int)) for some in of_trainings]
        lines += ["| all | steps | " + " | ".join(lengths) + " |"]
        for rows in dict.fromkeys(rows for rows, _ in found):
            title = ROWS[rows.removesuffix("-200")][0] + (", size 200 of 768" if rows.endswith("-200") else "")
            for measure, value, digits in measures:
                shown = _spread(lambda cell, v=value, at=chosen: v(cell, at(cell)), digits)
                row = [title, measure, *(shown(found.get((rows, training), [])) for training in trainings)]
                lines.append("| " + " | ".join(row) + " |")
        lines.append("")
    return lines


def _loss(cell: dict, step: int) -> float | None:
    """Mean over languages; None where it wasn't measured after this step."""
    return mean(cell["loss"][step]) if step in cell["loss"] else None


def _on_the_way(cells: list[dict]) -> list[str]:
    """A table with a row for each initialisation and each step at which all was measured, but for the first."""
    head = ["initialisation", "step", "seeds", "loss", "bits/char., words masked", "tokens masked"]
    head += ["Bible → X", "→ English", "Tatoeba → X", "→ English", "English bits/char.", "English → English"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for name, chosen in INITIALIZATIONS.items():
        found = [cell for cell in cells if cell["cell"]["initialization"] == name]
        for step in sorted({step for cell in found for step in cell["bits_per_character"] if step}):
            there = [cell for cell in found if step in cell["bits_per_character"]]
            columns = [
                _spread(lambda c, s=step: mean(c["loss"][s]), 2),
                _spread(lambda c, s=step: _by_word(c, s), 2),
                _spread(lambda c, s=step: mean(c["bits_per_character"][s]), 2),
                *(
                    _spread(lambda c, s=step, t=task, w=which: retrieved(c, t, s, w), 1)
                    for task in ("Bible", "Tatoeba")
                    for which in (THERE, BACK)
                ),
                _spread(lambda c, s=step: c.get("english_bits_per_character_by_word", {}).get(s), 2),
                _spread(lambda c, s=step: _english_retrieved(c, s), 1),
            ]
            row = [chosen.title, f"{step:,}", str(len(there)), *(show(there) for show in columns)]
            lines.append("| " + " | ".join(row) + " |")
    return lines


def _test_and_english(steps: int) -> list[Column]:
    english = "english_bits_per_character_by_word"
    columns: list[Column] = [
        ("bits/char., words masked", _spread(lambda c: mean(c["test"]["bits_per_character_by_word"]), 2))
    ]
    for task in ("Bible", "Tatoeba"):
        for direction, which in (("X", THERE), ("English", BACK)):
            columns.append(
                (
                    f"{task} → {direction}",
                    _spread(lambda c, t=task, w=which: _accuracy(c["test"]["retrieval"][t], w), 1),
                )
            )
    return [
        *columns,
        ("English bits/char.: source", _spread(lambda c: c["source"][english], 2)),
        ("before", _spread(lambda c: c[english][0], 2)),
        ("after", _spread(lambda c: c[english][steps], 2)),
        ("English → English: source", _spread(lambda c: _english_retrieved(c, None), 1)),
        ("before", _spread(lambda c: _english_retrieved(c, 0), 1)),
        ("after", _spread(lambda c: _english_retrieved(c, steps), 1)),
    ]


def _as_encoders(steps: int) -> list[Column]:
    """What the model's states find, and what the encoder made of it does."""
    columns: list[Column] = []
    for task in ("Bible", "Tatoeba"):
        for direction, which in (("X", THERE), ("English", BACK)):
            columns += [
                (f"{task} → {direction}", _spread(lambda c, t=task, w=which: retrieved(c, t, steps, w), 1)),
                ("encoder", _spread(lambda c, t=task, w=which: _accuracy(c["encoder"][t], w), 1)),
                ("test", _spread(lambda c, t=task, w=which: _accuracy(c["test"]["encoder"][t], w), 1)),
            ]
    return columns


def _table(by_name: dict[str, list[dict]], columns: Sequence[Column]) -> list[str]:
    """Lines of Markdown."""
    head = ["initialisation", "seeds", *(name for name, _ in columns)]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for name, found in by_name.items():
        row = [INITIALIZATIONS[name].title, str(len(found)), *(show(found) for _, show in columns)]
        lines.append("| " + " | ".join(row) + " |")
    return lines


def _spread(measure: Measure, digits: int) -> Show:
    """`spread_of` the cells that have the measure."""
    return lambda cells: spread_of(values, digits) if (values := _values(cells, measure)) else ""


def _average(measure: Measure, digits: int) -> Show:
    """The mean of the cells that have the measure."""
    return lambda cells: f"{np.mean(values):.{digits}f}" if (values := _values(cells, measure)) else ""


def _values(cells: list[dict], measure: Measure) -> list[float]:
    return [value for cell in cells if (value := measure(cell)) is not None]


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
    """Loss and bits per character against steps and CPU seconds, retrieval on the way; the means over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 12), layout="constrained")
    axes = figure.subplots(3, 2)
    names = [name for name in COLOURS if any(c["cell"]["initialization"] == name for c in cells)]
    for name in names:
        found = [cell for cell in cells if cell["cell"]["initialization"] == name]
        style = {"color": COLOURS[name], "label": INITIALIZATIONS[name].title, "linewidth": 1.8}
        steps = sorted(found[0]["loss"])
        losses = np.array([[mean(cell["loss"][step]) for step in steps] for cell in found])
        bits = np.array([[bits_of_loss(cell, step) for step in steps] for cell in found])
        seconds = np.mean([[cell["curve"][step]["cpu_seconds"] for step in steps] for cell in found], axis=0)
        for row, values in zip(axes, (losses, bits)):
            for axis, x in zip(row, (steps, seconds)):
                axis.plot(x, values.mean(axis=0), **style)
                if len(found) > 1:
                    axis.fill_between(x, values.min(axis=0), values.max(axis=0), color=COLOURS[name], alpha=0.15, lw=0)
        for axis, task in zip(axes[2], ("Bible", "Tatoeba")):
            at = sorted(found[0]["retrieval"])
            values = np.array([[retrieved(cell, task, step, THERE) for step in at] for cell in found])
            axis.plot(at, values.mean(axis=0), marker="o", markersize=4, **style)
    ends = [(mean(cell["loss"][step]), bits_of_loss(cell, step)) for cell in cells for step in [max(cell["loss"])]]
    labels = ("held-out masked-LM loss, nats a token", "bits per character, from the loss of the masked 15 %")
    for row, low, label in zip(axes, map(min, zip(*ends)), labels):
        for axis, x in zip(row, ("steps", "CPU seconds of training")):
            # The first steps, from losses far above, would press all else together.
            axis.set(xlabel=x, ylabel=label, ylim=(0.97 * low, 1.45 * low))
    for axis, task in zip(axes[2], ("Bible", "Tatoeba")):
        axis.set(xlabel="steps", ylabel=f"{task}, English → X, top-1, percent", ylim=(0, None))
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"{title}: continued pretraining after each initialisation (bands: lowest and highest seed)")
    with new_file(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
