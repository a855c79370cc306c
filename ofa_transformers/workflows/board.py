"""What a comparison found: the leaderboard, what to choose, and how sure that is."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import variance
from typing import Any

from scipy.special import stdtrit

from ..evaluation.results import Measurement, to_csv
from ..evaluation.tables import with_spread
from ..report.board_page import render_board
from ..report.charts import CURVES, curves
from ..utils.files import new_file
from ..utils.reading import read_json, reading
from ..utils.strict_json import dumps


BOARD_FILE = "board.json"
_REMEDY = "name a folder that `ofa compare` finished"
BITS, PLAIN, CENTRED = "bits per character", "top-1", "top-1, centred"
# Measure -> whether less is better.
LESS_IS_BETTER = {BITS: True, PLAIN: False, CENTRED: False}


@dataclass(frozen=True)
class Score:
    """The mean of a measure over languages and seeds, with its 95 % interval: by the bootstrap over texts, and of several
    seeds by Student's t, the two squared and added up. What seeds differ by is pooled over all candidates."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """Who leads by a measure, of how many; `rivals` are those that aren't told apart from it."""

    measure: str
    steps: int
    best: str
    rivals: tuple[str, ...]
    candidates: int

    def __str__(self) -> str:
        if self.candidates == 1:
            return f"{self.measure} {_after(self.steps)}: {self.best} alone, beside nothing."
        sure = f"not told apart from {'; '.join(self.rivals)}" if self.rivals else "told apart from all others"
        return f"{self.measure} {_after(self.steps)}: {self.best} leads, {sure}."


class Board:
    """The results of a comparison.

    Attributes:
        inputs: what was compared with what: names of files, settings.
        candidates: name -> method and embedding size.
        cells: name -> the results of each of its seeds: measurements by number of steps, and seconds.
    """

    def __init__(
        self, inputs: Mapping[str, Any], candidates: Mapping[str, Mapping[str, Any]], cells: Mapping[str, list[dict]]
    ) -> None:
        self.inputs, self.candidates, self.cells = dict(inputs), dict(candidates), dict(cells)

    @property
    def steps(self) -> list[int]:
        return sorted({int(steps) for cells in self.cells.values() for cell in cells for steps in cell["measured"]})

    @property
    def languages(self) -> list[str]:
        return sorted({m["language"] for m in self._measurements(self.steps[-1])} - {"all"})

    @property
    def measures(self) -> list[str]:
        found = {m["metric"] for m in self._measurements(self.steps[-1])}
        return [measure for measure in LESS_IS_BETTER if measure in found]

    def _measurements(self, steps: int) -> list[dict]:
        return [m for cells in self.cells.values() for cell in cells for m in cell["measured"][str(steps)]]

    def score(self, name: str, measure: str, steps: int, language: str = "all") -> Score | None:
        """Of a candidate; None where it wasn't measured."""
        found = self._found[measure, steps, language].get(name)
        if not found:
            return None
        value, low, high = (sum(m[field] for m in found) / len(found) for field in ("value", "low", "high"))
        seeds = 0.0
        if len(found) > 1:  # all on the same texts
            seeds = self._seeds(measure, steps, language) / math.sqrt(len(found))
        return Score(value, value - math.hypot(value - low, seeds), value + math.hypot(high - value, seeds))

    @cached_property
    def _found(self) -> dict[tuple[str, int, str], dict[str, list[dict]]]:
        """By measure, steps and language: each candidate's measurements, one a seed."""
        found: dict[tuple[str, int, str], dict[str, list[dict]]] = defaultdict(dict)
        for name, cells in self.cells.items():
            for cell in cells:
                for steps, measured in cell["measured"].items():
                    for m in measured:
                        found[m["metric"], int(steps), m["language"]].setdefault(name, []).append(m)
        return found

    def _seeds(self, measure: str, steps: int, language: str) -> float:
        """Half the 95 % interval of a single seed's value: the spread within candidates, times Student's t."""
        by_name = [[m["value"] for m in some] for some in self._found[measure, steps, language].values()]
        several = [values for values in by_name if len(values) > 1]
        free = sum(len(values) - 1 for values in several)
        pooled = math.sqrt(sum((len(values) - 1) * variance(values) for values in several) / free)
        return float(stdtrit(free, 0.975)) * pooled

    def seconds(self, name: str) -> float:
        """Of a candidate, mean over its seeds."""
        return sum(cell["seconds"] for cell in self.cells[name]) / len(self.cells[name])

    def ranked(self, measure: str, steps: int) -> list[str]:
        """Candidates, the best first."""
        scores = {name: self.score(name, measure, steps) for name in self.cells}
        sign = 1 if LESS_IS_BETTER[measure] else -1
        return sorted((name for name in scores if scores[name]), key=lambda name: sign * scores[name].value)

    def verdict(self, measure: str, steps: int) -> Verdict:
        """Who leads. Another is told apart where the difference exceeds both intervals' halves, squared and added up.

        All are measured on the same texts, so that this errs on the side of caution.
        """
        best, *others = self.ranked(measure, steps)
        leader = self.score(best, measure, steps)
        rivals = []
        for name in others:
            other = self.score(name, measure, steps)
            near = (leader.high - leader.value, other.value - other.low)
            if not LESS_IS_BETTER[measure]:
                near = (leader.value - leader.low, other.high - other.value)
            if abs(leader.value - other.value) <= math.hypot(*near):
                rivals.append(name)
        return Verdict(measure, steps, best, tuple(rivals), 1 + len(others))

    def verdicts(self) -> list[Verdict]:
        """By each measure, at the last number of steps."""
        return [self.verdict(measure, self.steps[-1]) for measure in self.measures]

    @property
    def best(self) -> str:
        """By bits per character for a language model, or else by plain retrieval, at the last number of steps."""
        return self.verdicts()[0].best

    def _leaders(self) -> Iterator[tuple[str, str]]:
        """Each candidate that leads, and in what; nothing where it leads in all."""
        led: dict[str, list[str]] = {}
        for verdict in self.verdicts():
            led.setdefault(verdict.best, []).append(verdict.measure)
        for name, measures in led.items():
            yield name, "" if len(led) == 1 else " and ".join(measures)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "inputs": self.inputs,
            "candidates": self.candidates,
            "best": self.best,
            "verdicts": [{**asdict(verdict), "text": str(verdict)} for verdict in self.verdicts()],
            "cells": self.cells,
        }

    def rows(self) -> list[Measurement]:
        """All measurements, with the steps that each was taken after."""
        return [
            replace(Measurement(**measured), task=f"{steps} steps")
            for cells in self.cells.values()
            for cell in cells
            for steps, found in cell["measured"].items()
            for measured in found
        ]

    def save(self, folder: Path) -> None:
        """Writes board.json, board.csv and board.html."""
        rows = self.rows()
        for name, content in (
            (BOARD_FILE, dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"),
            ("board.csv", to_csv(rows)),
            ("board.html", render_board(self.view())),
        ):
            with new_file(folder / name) as temporary:
                temporary.write_text(content, encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Board:
        """Of a folder that `save` wrote.

        Raises:
            FileNotFoundError: it holds no board.json.
            ValueError: that is damaged, or something else.
        """
        file = Path(path) / BOARD_FILE
        if not file.is_file():
            raise FileNotFoundError(f"{path} holds no {BOARD_FILE}; {_REMEDY}.")
        found = read_json(file, _REMEDY)
        with reading(f"{file} lacks what a board has, or has it otherwise; {_REMEDY}"):
            board = cls(found["inputs"], found["candidates"], found["cells"])
            board.view()
        return board

    def _curves(self, measure: str) -> dict[str, Any]:
        """How a measure changes with training: the leaders by name, the others in grey."""
        ranked = self.ranked(measure, self.steps[-1])
        factor = 1 if LESS_IS_BETTER[measure] else 100
        values = {name: [factor * self.score(name, measure, steps).value for steps in self.steps] for name in ranked}
        label = f"{measure}{'' if LESS_IS_BETTER[measure] else ', %'}"
        classes = dict(zip(ranked, CURVES))
        return {"svg": curves(self.steps, values, classes, label), "legend": list(classes.items())}

    def view(self) -> dict[str, Any]:
        """What the page shows: sections of bars, and a heat table a measure."""
        sections = []
        for steps in reversed(self.steps):  # what the choice is made by comes first
            for measure in self.measures:
                ranked = self.ranked(measure, steps)
                scores = {name: self.score(name, measure, steps) for name in ranked}
                least = min(score.low for score in scores.values())
                most = max(score.high for score in scores.values()) or 1
                # Bits are far from 0 and near each other: their scale begins where they do, and has points, no bars.
                start = least - 0.05 * (most - least) if LESS_IS_BETTER[measure] else 0.0
                share = 100 / ((most - start) or 1)
                by_language = {
                    name: [self.score(name, measure, steps, language) for language in self.languages]
                    for name in ranked
                }
                heat = [
                    _heat([by_language[name][column] for name in ranked], LESS_IS_BETTER[measure])
                    for column in range(len(self.languages))
                ]
                scale = f"less is better; the scale begins at {shown(measure, start)}" if start else "more is better"
                sections.append(
                    {
                        "title": f"{measure[0].upper()}{measure[1:]}, {_after(steps)}",
                        "note": scale,
                        "bars": not start,
                        "curves": self._curves(measure) if steps == self.steps[-1] and len(self.steps) > 1 else None,
                        "rows": [
                            {
                                "name": name,
                                "text": shown(measure, scores[name].value),
                                "place": f"{share * (scores[name].value - start):.2f}",
                                "low": f"{share * (scores[name].low - start):.2f}",
                                "span": f"{share * (scores[name].high - scores[name].low):.2f}",
                                "interval": f"{shown(measure, scores[name].low)} to {shown(measure, scores[name].high)}",
                                "cells": [
                                    ("" if score is None else shown(measure, score.value), heat[column][row])
                                    for column, score in enumerate(by_language[name])
                                ],
                            }
                            for row, name in enumerate(ranked)
                        ],
                    }
                )
        return {
            "inputs": list(_shown_inputs(self.inputs)),
            "leaders": list(self._leaders()),
            "verdicts": list(map(str, self.verdicts())),
            "seeds": max(map(len, self.cells.values())),
            "languages": self.languages,
            "sections": sections,
            "seconds": [(name, f"{self.seconds(name):.0f} s") for name in self.cells],
        }


def _after(steps: int) -> str:
    return f"after {steps:,} steps" if steps else "before training"


def _shown_inputs(inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values for people: what is a checksum says so, lists are lists, what wasn't given is left out."""
    for name, value in inputs.items():
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        if value not in (None, "") and not isinstance(value, Mapping):
            yield "checksum of the text" if name == "text" else name.replace("_", " "), str(value)


def shown(measure: str, value: float) -> str:
    """A value as people read it: bits with three digits, shares in percent."""
    return f"{value:.3f}" if LESS_IS_BETTER[measure] else f"{100 * value:.1f}"


def shown_score(measure: str, score: Score) -> str:
    """A value and half its interval, with the digits that the interval leaves."""
    factor, digits = (1, 3) if LESS_IS_BETTER[measure] else (100, 1)
    return with_spread(factor * score.value, factor * (score.high - score.low) / 2, digits)


def _heat(scores: list[Score | None], less: bool) -> list[int]:
    """0 to 100 for each: how good it is among the others of the column."""
    values = [score.value for score in scores if score is not None]
    if not values or max(values) == min(values):
        return [50 if values else 0] * len(scores)
    spread = max(values) - min(values)
    worst = max(values) if less else min(values)
    return [0 if score is None else round(100 * abs(score.value - worst) / spread) for score in scores]
