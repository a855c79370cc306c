"""Text of the study: the parallel Bibles, whose verses have ids, and Tatoeba's pairs with English."""

import gzip
import random
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pairs:
    """Texts of one language and their English translations, line by line."""

    texts: list[str]
    english: list[str]


def read_bible(folder: Path, languages: list[str]) -> dict[str, dict[str, str]]:
    """language -> verse id -> text, of `LNG_Script.tsv.gz` with `id<TAB>text` lines."""
    bible = {}
    for language in languages:
        files = sorted(folder.glob(f"{language}_????.tsv.gz"))
        if len(files) != 1:
            raise FileNotFoundError(f"{folder} has {len(files)} files {language}_????.tsv.gz, but one is needed.")
        with gzip.open(files[0], "rt", encoding="utf-8") as file:
            bible[language] = dict(line.rstrip("\n").split("\t", 1) for line in file)
    return bible


def read_ids(path: Path) -> list[str]:
    """The first column of a table, without a header."""
    ids = [line.split("\t")[0] for line in path.read_text(encoding="utf-8").splitlines()]
    return [name for name in ids if name and name != "verse_id"]


def training_text(bible: dict[str, dict[str, str]], excluded: set[str]) -> dict[str, dict[str, str]]:
    """The verses that neither split has, nor any near copy of theirs."""
    return {
        language: {name: text for name, text in verses.items() if name not in excluded}
        for language, verses in bible.items()
    }


def sample(verses: dict[str, str], share: float, seed: int) -> list[str]:
    """A random share of the verses."""
    names = sorted(verses)
    return [verses[name] for name in sorted(random.Random(seed).sample(names, int(share * len(names))))]


def spread(items: list, number: int) -> list:
    """So many of the items, evenly spaced."""
    if number >= len(items):
        return items
    return [items[i * len(items) // number] for i in range(number)]


def bible_pairs(bible: dict[str, dict[str, str]], ids: list[str], number: int) -> dict[str, Pairs]:
    """language -> the verses `ids` (evenly spaced, at most `number`) that it shares with English."""
    english = bible["eng"]
    ids = spread([name for name in ids if name in english], number)
    found = {}
    for language, verses in bible.items():
        if language != "eng":
            shared = [name for name in ids if name in verses]
            found[language] = Pairs([verses[name] for name in shared], [english[name] for name in shared])
    return found


def tatoeba_pairs(folder: Path, languages: list[str], split: str, number: int) -> dict[str, Pairs]:
    """language -> pairs; dev has the even lines, test the odd ones, evenly spaced, at most `number`."""
    found = {}
    for language in languages:
        path = folder / f"{language}-eng.tsv.gz"
        if path.is_file():
            with gzip.open(path, "rt", encoding="utf-8") as file:
                lines = [line.rstrip("\n").split("\t")[:2] for line in file]
            chosen = spread(lines[split == "test" :: 2], number)
            found[language] = Pairs([text for text, _ in chosen], [english for _, english in chosen])
    return found
