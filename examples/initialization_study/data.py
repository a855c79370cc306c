"""Text of the study: the parallel Bibles, whose verses have ids, and Tatoeba's pairs with English."""

import random
from pathlib import Path

from ofa_transformers.text.parallel import ParallelText, read_pairs, read_segments_by_id
from ofa_transformers.text.segments import read_ids, read_segments, segment_files


def training_text(folder: Path, languages: list[str]) -> dict[str, dict[str, str]]:
    """language -> verse id -> text; the verses that neither split has, nor any near copy of theirs."""
    files = {name.partition("_")[0]: path for name, path in segment_files(folder).items()}
    excluded = read_ids(folder / "train_exclude.txt")
    return {
        language: {name: text for name, text in read_segments(files[language]) if name not in excluded}
        for language in languages
    }


def sample(verses: dict[str, str], share: float, seed: int) -> list[str]:
    """A random share of the verses."""
    names = sorted(verses)
    return [verses[name] for name in sorted(random.Random(seed).sample(names, int(share * len(names))))]


def bible_pairs(folder: Path, languages: list[str], split: str, number: int) -> dict[str, ParallelText]:
    """language -> the split's verses (evenly spaced, at most `number`) that it shares with English."""
    others = [language for language in languages if language != "eng"]
    found = read_segments_by_id(folder, ids=folder / f"split_{split}.tsv", languages=others, max_sentences=number)
    return {text.language.partition("_")[0]: text for text in found}


def tatoeba_pairs(folder: Path, languages: list[str], split: str, number: int) -> dict[str, ParallelText]:
    """language -> pairs; dev has the even lines, test the odd ones, evenly spaced, at most `number`."""
    there = [language for language in languages if (folder / f"{language}-eng.tsv.gz").is_file()]
    found = read_pairs(folder, languages=there)
    return {text.language: text[split == "test" :: 2].spread(number) for text in found}
