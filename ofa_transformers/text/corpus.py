"""Text for tokenizers: files, data sets of the Hub, any iterable; streamed, and counted as words."""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import regex
from tokenizers import Tokenizer
from transformers.utils import logging

from ..utils.compression import COMPRESSED_SUFFIXES, bounded_lines, open_compressed


logger = logging.get_logger(__name__)

# Of the weight of a word: language sampling gives fractions of occurrences.
WEIGHT_UNIT = 16


@dataclass(frozen=True)
class TextFile:
    """The lines of a text file, read anew by each iteration; never all in memory.

    Plain, gzip or (with the package `zstandard`) zstd, told by the first bytes. Of `.tsv` the text is what follows the
    first tab (`id<TAB>text`); of `.jsonl` it is the field `column`; of any other file, each line.

    Raises (while iterating):
        ValueError: not UTF-8, binary content, a damaged archive, a line without tab or without the field; the message
            names file and line.
    """

    path: Path
    column: str = "text"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path} is not a file; give a text file, optionally .gz or .zst.")
        if self.path.stat().st_size == 0:
            raise ValueError(f"{self.path} is empty; give a text file with at least one line.")

    def __iter__(self) -> Iterator[str]:
        suffixes = [suffix.lower() for suffix in self.path.suffixes if suffix.lower() not in COMPRESSED_SUFFIXES]
        kind = suffixes[-1] if suffixes else ""
        with open_compressed(self.path) as file:
            for number, line in bounded_lines(self.path, file.stream):
                yield self._text(line, number, kind)

    def _text(self, line: bytes, number: int, kind: str) -> str:
        where = f"{self.path}, line {number}"
        if b"\0" in line:
            raise ValueError(f"{where}: holds a NUL byte, so this is no text in UTF-8; convert it or leave it out.")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{where}: not valid UTF-8 ({error.reason} at byte {error.start}); convert the file to UTF-8, for "
                f"instance with iconv."
            ) from error
        if not text.strip():
            return ""
        if kind == ".tsv":
            _, tab, text = text.partition("\t")
            if not tab:
                raise ValueError(f"{where}: a .tsv file needs `id<TAB>text`, but this line has no tab.")
        elif kind == ".jsonl":
            try:
                record = json.loads(text)
            except json.JSONDecodeError as error:
                raise ValueError(f"{where}: not valid JSON ({error}); a .jsonl file has one object a line.") from error
            text = _field(record, self.column, where)
        return text


@dataclass(frozen=True)
class DatasetText:
    """The texts of one column of a data set of the library `datasets` (or any iterable of mappings).

    Raises (while iterating):
        ValueError: a row without the column, or not a string in it.
    """

    dataset: Iterable[Mapping[str, Any]]
    column: str = "text"

    def __iter__(self) -> Iterator[str]:
        for number, row in enumerate(self.dataset, 1):
            yield from _field(row, self.column, f"data set, row {number}").splitlines()

    @classmethod
    def from_hub(cls, name: str, *, config: str | None = None, split: str = "train", column: str = "text"):
        """Streams a data set of the Hub; nothing is downloaded as a whole. Remote code is never run.

        Raises:
            ImportError: the package `datasets` is missing.
        """
        try:
            from datasets import load_dataset
        except ImportError as error:
            raise ImportError(
                "Data sets of the Hub need the package `datasets`: pip install 'ofa-transformers[datasets]'"
            ) from error
        return cls(load_dataset(name, config, split=split, streaming=True), column)


def _field(record: Any, column: str, where: str) -> str:
    if not isinstance(record, Mapping):
        raise ValueError(f"{where}: expected an object with the field {column!r}, but found {type(record).__name__}.")
    text = record.get(column)
    if not isinstance(text, str):
        found = f"has the fields {', '.join(map(repr, record))}" if column not in record else "holds no string there"
        raise ValueError(f"{where}: needs text in the field {column!r}, but {found}; name another column.")
    return text


def language_of(path: str | os.PathLike) -> str:
    """The language that a file name begins with: `deu_Latn` of `deu_Latn.tsv.gz`, `eng_Latn` of `eng_Latn-KJV.txt`."""
    match = regex.match(r"[a-z]{2,3}(?:_[A-Z][a-z]{3})?(?=[.\-]|$)", Path(path).name)
    if match is None:
        raise ValueError(
            f"The file name {Path(path).name!r} does not begin with a language code (like deu.txt or "
            f"deu_Latn.tsv.gz); write the language before it: deu={path}"
        )
    return match[0]


class Chain:
    """Several texts one after the other, read anew by each iteration."""

    def __init__(self, parts: Iterable[Iterable[str]]) -> None:
        self.parts = list(parts)

    def __iter__(self) -> Iterator[str]:
        for part in self.parts:
            yield from part


def by_language(texts: Any) -> dict[str, Iterable[str]]:
    """language -> lines, from what users have.

    Args:
        texts: a mapping from a language to lines, a path, a list of paths, or a data set with a column `text`; or a
            list of paths whose names begin with the language.

    Raises:
        ValueError: nothing given; a string for lines; a file name without a language; a file that is empty.
        FileNotFoundError: a path that is no file.
    """
    if isinstance(texts, os.PathLike):
        texts = [texts]
    if not isinstance(texts, Mapping):
        paths = list(texts) if isinstance(texts, (list, tuple)) else None
        if paths is None or not all(isinstance(path, os.PathLike) for path in paths):
            raise ValueError(
                f"texts must map each language to its lines of text, or be a list of pathlib.Path; got {type(texts).__name__}"
            )
        grouped: dict[str, list[Any]] = {}
        for path in paths:
            if not Path(path).is_file():
                raise FileNotFoundError(f"{path} is not a file; give a text file, optionally .gz or .zst.")
            grouped.setdefault(language_of(path), []).append(Path(path))
        texts = grouped
    if not texts:
        raise ValueError("texts is empty: give at least one language")
    return {language: _lines(language, text) for language, text in texts.items()}


def _lines(language: str, text: Any) -> Iterable[str]:
    if isinstance(text, os.PathLike):
        return TextFile(Path(text))
    if isinstance(text, (str, bytes)):
        raise ValueError(f"texts[{language!r}] is one string; give an iterable of lines, or a pathlib.Path of a file")
    if isinstance(text, (list, tuple)) and text and all(isinstance(part, os.PathLike) for part in text):
        return Chain(TextFile(Path(part)) for part in text)
    if hasattr(text, "column_names") or hasattr(text, "features"):  # Dataset, IterableDataset
        return DatasetText(text)
    if not isinstance(text, Iterable):
        raise ValueError(f"texts[{language!r}] is a {type(text).__name__}; give an iterable of lines, or a path")
    return text


def checked(language: str, lines: Iterable[str]) -> Iterator[str]:
    """The lines, once each is sure to be a string."""
    for number, line in enumerate(lines, 1):
        if not isinstance(line, str):
            raise ValueError(f"texts[{language!r}] yielded {type(line).__name__} as line {number}; lines must be str")
        yield line


def sampling_factors(characters: list[int], alpha: float, max_characters: int | None = None) -> np.ndarray:
    """How often each language is to be read, so that its share of the whole becomes n^alpha / sum n^alpha.

    n in characters (Conneau and Lample, 2019, section 3.1, who count sentences).
    """
    counts = np.asarray(characters, dtype=np.float64)
    shares = counts**alpha / (counts**alpha).sum()
    total = counts.sum() if max_characters is None else min(max_characters, counts.sum())
    return shares * total / counts


@dataclass(frozen=True)
class Words:
    """The distinct words of a text as a tokenizer's model gets them: normalised, and cut by its pre-tokenizer.

    Attributes:
        words: N words, sorted.
        weights: (N,) int64, occurrences times `WEIGHT_UNIT`.
    """

    words: list[str]
    weights: np.ndarray


def word_splitter(backend: Tokenizer) -> Callable[[str], list[str]]:
    """A function that cuts a line into what the tokenizer's model gets, at `▁` too where nothing else cuts there."""
    normalizer, pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    at_mark = regex.compile("▁+[^▁]*|[^▁]+").findall

    def split(line: str) -> list[str]:
        if normalizer is not None:
            line = normalizer.normalize_str(line)
        if pre_tokenizer is None:
            return at_mark(line)
        words = []
        for word, _ in pre_tokenizer.pre_tokenize_str(line):
            if word.find("▁", 1) > 0:
                words.extend(at_mark(word))
            else:
                words.append(word)
        return words

    return split


def count_words(
    backend: Tokenizer,
    texts: Mapping[str, Iterable[str]],
    alpha: float,
    *,
    max_characters: int | None = None,
    max_words: int = 8_000_000,
) -> Words:
    """Streams the texts once, in memory for `max_words` distinct words: their number a language is bounded.

    Where a language has more, frequent ones stay and of the rarest a random part (by hash, so the same each time); the
    weights grow by what has been left out.

    Raises:
        ValueError: a language without text; something that is no string.
    """
    split = word_splitter(backend)
    # most tokenizers cut at spaces and look no further, so that each distinct string between spaces is cut only once
    coarse = (lambda line: line.split(" ")) if _cuts_at_spaces(backend) else split
    bound = max(max_words // len(texts), 1)
    tables: list[Counter[str]] = []
    characters: list[int] = []
    left_out: list[float] = []
    progress = logging.tqdm(sorted(texts), desc="Counting words", unit="language", delay=2, leave=False)
    for language in progress:
        table: Counter[str] = Counter()
        read = mass = 0
        for line in checked(language, texts[language]):
            if line.isspace() or not line:
                continue
            read += len(line)
            table.update(coarse(line))
            if len(table) > bound:
                table, lost = _halved(table, bound)
                mass += lost
        left_out.append(1 + mass / max(_mass(table), 1))
        if mass:
            logger.warning(f"{language} has more than {bound:,} distinct words; rare ones are left out.")
        if coarse is not split:
            table = _recut(table, split)
        tables.append(table)
        characters.append(read)
    empty = [language for language, read in zip(sorted(texts), characters) if not read]
    if empty:
        raise ValueError(f"no text for: {', '.join(empty)}")
    totals: Counter[str] = Counter()
    factors = sampling_factors(characters, alpha, max_characters) * left_out
    for table, factor in zip(tables, factors.tolist()):
        for word, count in table.items():
            totals[word] += round(WEIGHT_UNIT * factor * count)  # whole numbers add up alike in any order
        table.clear()
    words = sorted(word for word, weight in totals.items() if weight and word)
    return Words(words, np.array([totals[word] for word in words], dtype=np.int64))


def _recut(table: Counter[str], split: Callable[[str], list[str]]) -> Counter[str]:
    words: Counter[str] = Counter()
    for text, count in table.items():
        for word in split(text):
            words[word] += count
    return words


def _cuts_at_spaces(backend: Tokenizer) -> bool:
    """Whether what stands between two spaces is normalised and cut alike in any line."""
    if backend.pre_tokenizer is None:
        return False
    if backend.normalizer is not None and "▁" in json.dumps(
        json.loads(backend.normalizer.__getstate__()), ensure_ascii=False
    ):  # it writes the mark itself, from the spaces
        return False
    part = json.loads(backend.pre_tokenizer.__getstate__())
    if part["type"] == "Sequence":
        part = part["pretokenizers"][0]
    if part["type"] == "Metaspace":
        return part.get("prepend_scheme") == "always" and part.get("split", True)
    return part["type"] in ("WhitespaceSplit", "Whitespace", "BertPreTokenizer")


def _mass(table: Mapping[str, int]) -> int:
    return sum(len(word) * count for word, count in table.items())


def _halved(table: Counter[str], bound: int) -> tuple[Counter[str], int]:
    """The more frequent words, and the characters of the others."""
    ranked = sorted(table.items(), key=lambda item: (-item[1], zlib.crc32(item[0].encode("utf-8", "replace"))))
    kept = Counter(dict(ranked[: max(bound // 2, 1)]))
    return kept, _mass(table) - _mass(kept)
