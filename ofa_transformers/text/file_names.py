"""What the names of files tell: the language, a pair of languages, a split; and which files of a folder are meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..utils.compression import COMPRESSED_SUFFIXES
from .languages import iso639_3


# deu, de, deu_Latn
_CODE = r"[a-z]{2,3}(?:_[A-Z][a-z]{3})?"
# A code that a name begins with ends where no word goes on: deu.txt, deu_Latn-news.txt, eng_KJV.txt, not my_text.txt.
_BEGINNING = re.compile(rf"{_CODE}(?![A-Za-z]|_[a-z])")
_NAMED = re.compile(r"([A-Za-z][\w-]*)=(.+)")

# deu-eng.tsv, deu_Latn.eng_Latn.tsv, en-fr.0-5000.txt; and tatoeba.deu-eng.deu beside tatoeba.deu-eng.eng, as LASER, OPUS
# (Moses) and XTREME have them: a file for each side.
_PAIR = re.compile(
    rf"(?P<stem>(?P<before>.+\.)?(?P<one>{_CODE})[-.](?P<other>{_CODE}))"
    rf"(?:(?P<part>\..*)?\.(?:tsv|txt)|\.(?P<side>{_CODE}))"
)

# MUSE (wiki.multi.de.vec), fastText (wiki.de.vec, wiki.de.align.vec, cc.de.300.vec; facebook/fasttext-de-vectors/... on
# the Hub), MUSE's own exports (vectors-de.txt), ConceptNet Numberbatch (numberbatch-en.txt).
_PUBLISHED = re.compile(
    r"(?:wiki(?:\.multi)?\.(?P<wiki>[a-z]{2,3}|simple)(?:\.align)?|cc\.(?P<cc>[a-z]{2,3})\.\d+|"
    r"(?:vectors|numberbatch)-(?P<other>[a-z]{2,3}))\.(?:vec|txt|bin|pth)|"
    r"facebook/fasttext-(?P<hub>[a-z]{2,3})-vectors/.*",
)
# Names of Wikipedias, and so of fastText's files, that mean another language in ISO 639 or none.
_WIKIPEDIAS = {"als": "gsw", "simple": "eng"}

# How files and data sets call a split.
SPLITS = {name: name for name in ("train", "dev", "test")} | dict.fromkeys(("validation", "valid", "val"), "dev")
_SPLIT = "|".join(SPLITS)
# Languages and treebanks: swa, deu_Latn, en_ewt, zh-min-nan.
_TREEBANK = r"[a-z]{2,3}(?:[_-]\w+?)*?"
_LABELLED = (
    re.compile(rf"(?P<language>{_TREEBANK})[._-](?:ud[._-])?(?P<split>{_SPLIT})"),
    re.compile(rf"(?P<split>{_SPLIT})[._-](?P<language>{_TREEBANK})"),
    re.compile(rf"(?P<split>{_SPLIT})"),
)

TEXT_KINDS = (".txt", ".tsv", ".jsonl", ".parquet")
SEGMENT_KINDS = (".tsv", ".txt")


def unpacked_name(path: str | os.PathLike) -> str:
    """The name of a file without .gz or .zst."""
    name = Path(path).name
    return next((name[: -len(end)] for end in COMPRESSED_SUFFIXES if name.lower().endswith(end)), name)


def kind_of(path: str | os.PathLike) -> str:
    """The ending of a file in lower case, .gz or .zst passed over: `.tsv` of deu_Latn.tsv.gz."""
    return Path(unpacked_name(path)).suffix.lower()


def find_language(path: str | os.PathLike) -> str | None:
    """The language that a name begins with, or None: `deu_Latn` of `deu_Latn.tsv.gz`, `eng_Latn` of `eng_Latn-KJV.txt`."""
    match = _BEGINNING.match(Path(path).name)
    return match[0] if match else None


def language_of(path: str | os.PathLike) -> str:
    """The same, for names that need one.

    Raises:
        ValueError: the name doesn't begin with a code.
    """
    language = find_language(path)
    if language is None:
        raise ValueError(
            f"The file name {Path(path).name!r} does not begin with a language code of ISO 639-3 (like "
            f"deu.txt or deu_Latn.tsv.gz); write the language before it: deu={path}"
        )
    return language


def published_language(name: str) -> str | None:
    """ISO 639-3 of what a name (of a file, unpacked, or of one on the Hub) states in a way that publishers use, or None."""
    match = _PUBLISHED.fullmatch(name)
    if match is None:
        return None
    code = match["wiki"] or match["cc"] or match["other"] or match["hub"]
    return _WIKIPEDIAS.get(match["wiki"]) or iso639_3(code)


class PairName(NamedTuple):
    """A name with two languages.

    Attributes:
        one, other: the languages, in their order.
        side: of which of them the file is, if it isn't of both.
        stem: what the files of both sides have in common.
        whole: whether the name has nothing else, as deu-eng.tsv, but en-fr.0-5000.txt has.
    """

    one: str
    other: str
    side: str | None
    stem: str
    whole: bool


def pair_of(path: str | os.PathLike) -> PairName | None:
    """The two languages in a name, if it has them."""
    match = _PAIR.fullmatch(unpacked_name(path))
    if match is None or match["side"] not in (None, match["one"], match["other"]):
        return None
    return PairName(match["one"], match["other"], match["side"], match["stem"], not (match["before"] or match["part"]))


def language_and_split(stem: str) -> tuple[str | None, str] | None:
    """Language or treebank (None where the folder has to tell) and split of a name without ending, or None."""
    for pattern in _LABELLED:
        if match := pattern.fullmatch(stem):
            return match.groupdict().get("language"), SPLITS[match["split"]]
    return None


def named(value: str | os.PathLike) -> tuple[str | None, Path]:
    """The language of LANGUAGE=FILE, and the file; None where no language is written before it."""
    match = _NAMED.fullmatch(str(value))
    return (match[1], Path(match[2])) if match and not Path(value).exists() else (None, Path(value))


def named_dataset(value: str) -> tuple[str, str, str | None]:
    """Language, name and configuration of LANGUAGE=ID or LANGUAGE=ID:CONFIG.

    Raises:
        ValueError: there is no language.
    """
    language, _, name = value.partition("=")
    if not language or not name:
        raise ValueError(f"The data set {value!r} has no language; write LANGUAGE=ID or LANGUAGE=ID:CONFIG.")
    identifier, _, config = (name, "", "") if Path(name).exists() else name.partition(":")
    return language, identifier, config or None


def files_by_language(
    values: str | os.PathLike | Iterable[str | os.PathLike],
    *,
    kinds: Sequence[str] = TEXT_KINDS,
    strict: bool = True,
) -> dict[str, list[Path]]:
    """language -> its files, as they are named or, in folders, in the order of their names.

    Args:
        values: files whose names begin with the language, or LANGUAGE=FILE, or folders of such files, or (if `strict`)
            of folders that are named by languages.
        kinds: of the files in folders, which may be packed.
        strict: whether a file whose name doesn't begin with a language is an error, or passed over as what lies beside
            the text (ids, README.txt).

    Raises:
        FileNotFoundError: a path that isn't there.
        ValueError: a name without language, a folder without text.
    """
    found: dict[str, list[Path]] = {}
    for value in [values] if isinstance(values, (str, os.PathLike)) else values:
        language, path = named(value)
        if path.is_dir():
            files = _in_folder(path, language, kinds, strict)
        elif path.is_file():
            known = language or find_language(path)
            passed_over = not strict and (known is None or (language is None and kind_of(path) not in kinds))
            files = [] if passed_over else [(known or language_of(path), path)]
        else:
            raise FileNotFoundError(f"{path} is not a file or folder; give a text file, optionally .gz or .zst.")
        for name, file in files:
            found.setdefault(name, []).append(file)
    return found


def _in_folder(folder: Path, language: str | None, kinds: Sequence[str], strict: bool) -> Iterator[tuple[str, Path]]:
    found = False
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and language is None and strict:
            yield from _in_folder(path, language_of(path), kinds, strict)
            found = True
        elif path.is_file() and kind_of(path) in kinds:
            name = language or (language_of(path) if strict else find_language(path))
            if name is not None:
                yield name, path
            found = True
    if strict and not found:
        raise ValueError(
            f"The folder {folder} has no text: files must end in {', '.join(kinds)}, text ones optionally followed by "
            f"{' or '.join(COMPRESSED_SUFFIXES[:2])}."
        )


def one_of_each(files: Mapping[str, Sequence[Path]], also: Sequence[str] = ()) -> dict[str, Path]:
    """language -> one file: of several, eng_Latn.tsv and eng_Latn-KJV.tsv, that with the shortest name.

    Args:
        files: as `files_by_language` finds them.
        also: names of others to read, under these names (`eng_Latn-KJV`).

    Raises:
        ValueError: two files differ in their endings only.
    """
    chosen: dict[str, Path] = {}
    for language, paths in files.items():
        by_stem: dict[str, Path] = {}
        for path in sorted(dict.fromkeys(paths), key=lambda path: (len(path.name), path.name)):
            other = by_stem.setdefault(Path(unpacked_name(path)).stem, path)
            if other != path:
                raise ValueError(f"{other} and {path} are both of {language!r}; keep one of them.")
        first, *_ = by_stem.values()
        chosen[language] = first
        chosen |= {stem: path for stem, path in by_stem.items() if stem in also and stem != language}
    return chosen
