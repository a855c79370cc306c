"""The tables of the study, from its cells."""

import json
import statistics
from collections import defaultdict
from pathlib import Path

from arms import ARMS


TITLES = {"source": "the source itself, with its own tokenizer", **{name: arm.title for name, arm in ARMS.items()}}


def write_tables(output: Path, new_languages: list[str]) -> None:
    """Writes results.json (every number) and results.md (means over languages, with the spread over seeds)."""
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((output / "cells").glob("*.json"))]
    lines = ",\n".join(json.dumps(cell) for cell in cells)
    (output / "results.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    groups = defaultdict(list)
    for cell in cells:
        groups[cell["cell"]["split"], cell["cell"]["source"]].append(cell)
    parts = [table(f"{source}, {split}", group, new_languages) for (split, source), group in sorted(groups.items())]
    (output / "results.md").write_text("\n".join(parts), encoding="utf-8")


def table(title: str, cells: list[dict], new_languages: list[str]) -> str:
    """One Markdown table: arms by size in rows; retrieval accuracy in percent in columns."""
    first = cells[0]["cell"]
    columns = [
        ("Bible → X", lambda r: mean(r["bible"]["last"], "to_top1")),
        ("top-5", lambda r: mean(r["bible"]["last"], "to_top5")),
        ("X → eng", lambda r: mean(r["bible"]["last"], "from_top1")),
        ("top-5", lambda r: mean(r["bible"]["last"], "from_top5")),
        ("middle layer → X", lambda r: mean(r["bible"]["middle"], "to_top1")),
        ("Tatoeba → X", lambda r: mean(r["tatoeba"]["last"], "to_top1")),
        ("top-5", lambda r: mean(r["tatoeba"]["last"], "to_top5")),
        ("X → eng", lambda r: mean(r["tatoeba"]["last"], "from_top1")),
        ("top-5", lambda r: mean(r["tatoeba"]["last"], "from_top5")),
    ]
    if first["source"] != "minilm":
        columns[5:5] = [
            ("Bible → known", lambda r: mean(r["bible"]["last"], "to_top1", without=new_languages)),
            ("Bible → new", lambda r: mean(r["bible"]["last"], "to_top1", only=new_languages)),
        ]
    rows = defaultdict(list)
    for cell in cells:
        rows[list(TITLES).index(cell["cell"]["arm"]), cell["cell"]["size"] or 0].append(cell)
    languages = len(cells[0]["results"]["bible"]["last"])
    lines = [
        f"### {title}: {languages} languages, {first['verses']} verses and up to {first['pairs']} pairs each\n",
        "| rows | D' | seeds | " + " | ".join(name for name, _ in columns) + " |",
        "| --- | --- | ---: | " + " | ".join("---:" for _ in columns) + " |",
    ]
    for (arm, size), group in sorted(rows.items()):
        values = [shown([value(cell["results"]) for cell in group]) for _, value in columns]
        lines.append(f"| {list(TITLES.values())[arm]} | {size or 'full'} | {len(group)} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def mean(scores: dict[str, dict[str, float]], name: str, only: list[str] = (), without: list[str] = ()) -> float:
    """Over the languages."""
    chosen = [s[name] for language, s in scores.items() if (not only or language in only) and language not in without]
    return statistics.fmean(chosen)


def shown(values: list[float]) -> str:
    """The mean over seeds, and their standard deviation where there are several."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}"
