"""What a route measured: the source, the adapted and the trained model side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..evaluation.results import GROUPS, Measurement, to_csv
from ..utils.files import new_file


def read_measurements(folder: Path) -> list[Measurement]:
    """Of a stage's folder."""
    return [Measurement(**found) for found in json.loads((folder / "results.json").read_text(encoding="utf-8"))]


@dataclass(frozen=True)
class Outcome:
    """The end of a route.

    Attributes:
        model: the folder of the trained model, with tokenizer, card and report.
        measurements: of the source, the adapted and the trained model, and of the encoder.
        seconds: of this run; stages that were there already take none.
        encoder: the folder of the sentence encoder that was made of the trained masked language model; None without.
    """

    model: Path
    measurements: list[Measurement]
    seconds: float
    encoder: Path | None = None

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(found.model for found in self.measurements))

    @property
    def table(self) -> list[list[str]]:
        """Rows of language, metric and a value for each of the models; shares in percent."""
        values: dict[tuple[str, str], dict[str, float]] = {}
        for found in self.measurements:
            values.setdefault((found.metric, found.language), {})[found.model] = found.value
        rows = []
        for (metric, language), by_model in values.items():
            if language in GROUPS and language != "all":
                continue
            share = metric.startswith("top-")
            cells = [by_model.get(name) for name in self.models]
            shown = ["" if v is None else f"{100 * v:.1f}" if share else f"{v:.3f}" for v in cells]
            rows.append([language, metric, *shown])
        return rows

    def save(self, folder: Path) -> None:
        """Writes results.csv."""
        with new_file(folder / "results.csv") as temporary:
            temporary.write_text(to_csv(self.measurements), encoding="utf-8")
