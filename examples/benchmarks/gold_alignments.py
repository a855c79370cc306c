"""Word vectors from parallel text beside word aligners, on manual alignments of the Greek New Testament and English.

    pip download --no-deps bible-alignments==0.4.2 && unzip -d gold bible_alignments-0.4.2-py3-none-any.whl
    python examples/benchmarks/gold_alignments.py gold --json alignments.json

The package (CC BY 4.0) has the SBL Greek New Testament, the Berean Standard Bible and who translates whom, word by word.
All that is compared sees the verses alone. Of each Greek word with a translation, P@1 is how often the English word of
the verse with the highest score is one of its translations (a word without a score counts as wrong); of the links that
both directions choose, precision, recall and alignment error rate are as usual, all gold links being sure ones. Where
the command `eflomal-align` is installed (`pip install eflomal`), its links are compared, too.
"""

import argparse
import itertools
import json
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ofa_transformers import WordVectors
from ofa_transformers.utils.ibm_model_1 import posteriors


@dataclass(frozen=True)
class Verse:
    """Words of both sides, in lower case, and the gold links between their places."""

    greek: list[str]
    english: list[str]
    links: set[tuple[int, int]]


Scores = Iterator[np.ndarray]  # of each verse, (Greek words, English words); NaN where there is none


def read_gold(folder: Path) -> list[Verse]:
    words = {}
    for side, file in (("greek", "sources/SBLGNT.tsv"), ("english", "eng/targets/BSB/nt_BSB.tsv")):
        words[side] = defaultdict(dict)
        header, *lines = (folder / "data" / file).read_text(encoding="utf-8-sig").splitlines()
        columns = header.split("\t")
        for line in lines:
            row = dict(zip(columns, line.split("\t")))
            if not row.get("exclude"):  # punctuation
                words[side][row["id"].lstrip("n")[:8]][row["id"]] = row["text"].lower()
    links = defaultdict(set)
    records = json.loads((folder / "data/eng/alignments/BSB/SBLGNT-BSB-manual.json").read_text(encoding="utf-8"))
    for record in records["records"]:
        for greek, english in itertools.product(record["source"], record["target"]):
            if english[:8] == greek.lstrip("n")[:8]:
                links[english[:8]].add((greek, english))
    verses = []
    for key in sorted(words["greek"].keys() & words["english"].keys() & links.keys()):
        greek, english = words["greek"][key], words["english"][key]
        places = [{word: place for place, word in enumerate(side)} for side in (greek, english)]
        found = {(places[0][g], places[1][e]) for g, e in links[key] if g in greek and e in english}
        verses.append(Verse([*greek.values()], [*english.values()], found))
    return verses


def by_vectors(verses: list[Verse], dim: int, alignment_weight: float) -> Scores:
    """Cosines of the words' vectors."""
    sides = {"grc": [verse.greek for verse in verses], "eng": [verse.english for verse in verses]}
    segments = {code: [(str(i), " ".join(words)) for i, words in enumerate(lines)] for code, lines in sides.items()}
    vectors = WordVectors.from_parallel(segments, dim=dim, alignment_weight=alignment_weight)
    unit = vectors.vectors / np.linalg.norm(vectors.vectors, axis=1, keepdims=True)
    place = {pair: i for i, pair in enumerate(zip(vectors.languages.tolist(), vectors.words))}
    unit = np.vstack([unit, np.full(unit.shape[1], np.nan, unit.dtype)])  # of words without a vector
    for verse in verses:
        rows = [
            unit[[place.get((code, word), -1) for word in words]]
            for code, words in (("grc", verse.greek), ("eng", verse.english))
        ]
        yield rows[0] @ rows[1].T


def co_occurrences(verses: list[Verse]) -> tuple[np.ndarray, ...]:
    """Of every pair of words in a verse: numbers of the Greek and English types, of their places, and of the pair."""
    types: list[dict[str, int]] = [{}, {}]
    parts = ([], [], [], [])
    starts = [0, 0]
    for verse in verses:
        sides = (verse.greek, verse.english)
        ids = [np.array([known.setdefault(word, len(known)) for word in side]) for known, side in zip(types, sides)]
        places = [start + np.arange(len(side)) for start, side in zip(starts, sides)]
        starts = [start + len(side) for start, side in zip(starts, sides)]
        for number, found in enumerate((ids, places)):
            parts[2 * number].append(np.repeat(found[0], len(sides[1])))
            parts[2 * number + 1].append(np.tile(found[1], len(sides[0])))
    joined = [np.concatenate(part) for part in parts]
    keys, pair = np.unique(joined[0] * len(types[1]) + joined[1], return_inverse=True)
    return (*joined, keys // len(types[1]), keys % len(types[1]), pair)


def split(verses: list[Verse], values: np.ndarray) -> Scores:
    start = 0
    for verse in verses:
        shape = (len(verse.greek), len(verse.english))
        yield values[start : start + shape[0] * shape[1]].reshape(shape)
        start += shape[0] * shape[1]


def by_dice(verses: list[Verse]) -> Scores:
    """2 n(g, e) / (n(g) + n(e)), n in verses."""
    pairs = [(set(verse.greek), set(verse.english)) for verse in verses]
    alone, together = [defaultdict(int), defaultdict(int)], defaultdict(int)
    for sides in pairs:
        for side, counts in zip(sides, alone):
            for word in side:
                counts[word] += 1
        for pair in itertools.product(*sides):
            together[pair] += 1
    for verse in verses:
        yield np.array(
            [[2 * together[g, e] / (alone[0][g] + alone[1][e]) for e in verse.english] for g in verse.greek]
        )


def by_model_1(verses: list[Verse], iterations: int = 5) -> Scores:
    """Products of the posterior probabilities of IBM's model 1 in both directions, as --method alignment counts them."""
    _, _, of_greek, of_english, greek_type, english_type, pair = co_occurrences(verses)
    forward = posteriors(pair, english_type, of_greek, iterations)
    backward = posteriors(pair, greek_type, of_english, iterations)
    return split(verses, forward * backward)


def by_eflomal(verses: list[Verse]) -> tuple[list[set], list[set]]:
    """Links of each verse, of either direction."""
    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder, name)) for name in ("greek", "english", "forward", "reverse")]
        for name, side in zip(names, ("greek", "english")):
            Path(name).write_text("".join(" ".join(getattr(v, side)) + "\n" for v in verses), encoding="utf-8")
        command = ["eflomal-align", "-s", names[0], "-t", names[1], "-f", names[2], "-r", names[3], "--overwrite"]
        subprocess.run(command, check=True, capture_output=True)
        read = [Path(name).read_text(encoding="utf-8").split("\n") for name in names[2:]]
    return tuple(
        [{tuple(map(int, pair.split("-"))) for pair in line.split()} for line in lines[: len(verses)]]
        for lines in read
    )


def judge_scores(verses: list[Verse], scores: Scores) -> dict[str, float]:
    right = asked = scored = 0
    chosen = []
    for verse, matrix in zip(verses, scores, strict=True):
        known = np.where(np.isnan(matrix), -np.inf, matrix)
        best = known.argmax(axis=1)
        valid = np.isfinite(known).any(axis=1)
        translated = {greek for greek, _ in verse.links}
        asked += len(translated)
        scored += sum(valid[greek] for greek in translated)
        right += sum(valid[greek] and (greek, int(best[greek])) in verse.links for greek in translated)
        back = known.argmax(axis=0)
        chosen.append({(g, int(e)) for g, e in enumerate(best) if valid[g] and back[e] == g})
    return {"p_at_1": right / asked, "scored": scored / asked, **judge_links(verses, chosen)}


def judge_links(verses: list[Verse], chosen: list[set]) -> dict[str, float]:
    common = sum(len(verse.links & links) for verse, links in zip(verses, chosen))
    made, gold = sum(map(len, chosen)), sum(len(verse.links) for verse in verses)
    return {"precision": common / made, "recall": common / gold, "aer": 1 - 2 * common / (made + gold)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gold", type=Path, help="the folder with the unpacked package")
    parser.add_argument("--dims", type=int, nargs="+", default=[200], help="of the word vectors")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()

    verses = read_gold(arguments.gold)
    ways: dict[str, Callable[[], Scores]] = {
        f"word vectors, {name}{dim} dimensions": lambda dim=dim, weight=weight: by_vectors(verses, dim, weight)
        for name, weight in (("segments alone, ", 0.0), ("", 1.0))
        for dim in arguments.dims
    }
    ways |= {"Dice": lambda: by_dice(verses), "IBM model 1": lambda: by_model_1(verses)}
    results = {name: judge_scores(verses, way()) for name, way in ways.items()}
    if shutil.which("eflomal-align"):
        forward, reverse = by_eflomal(verses)
        assert all(len({greek for greek, _ in links}) == len(links) for links in reverse)  # one for each Greek word
        right = [{g for g, e in one & v.links} for one, v in zip(reverse, verses)]
        asked = sum(len({g for g, _ in verse.links}) for verse in verses)
        both = [one & other for one, other in zip(forward, reverse)]
        scored = sum(len({g for g, _ in one} & {g for g, _ in v.links}) for one, v in zip(reverse, verses))
        results["eflomal"] = {
            "p_at_1": sum(map(len, right)) / asked,
            "scored": scored / asked,
            **judge_links(verses, both),
        }
    table = Table("", "P@1", "with a score", "precision", "recall", "AER", title=f"{len(verses):,} verses")
    for name, found in results.items():
        table.add_row(name, *(f"{100 * found[key]:.1f}" for key in ("p_at_1", "scored", "precision", "recall", "aer")))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
