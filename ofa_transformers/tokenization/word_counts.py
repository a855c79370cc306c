"""The words of a text as a tokenizer's model gets them, streamed and counted, languages sampled."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import regex
from tokenizers import Tokenizer
from transformers.utils import logging

from ..text.corpus import checked


logger = logging.get_logger(__name__)

# Of the weight of a word: language sampling gives fractions of occurrences.
WEIGHT_UNIT = 16


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
        weights: (N,) int64, occurrences times `unit`.
    """

    words: list[str]
    weights: np.ndarray
    unit: int = WEIGHT_UNIT


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
    # of a small part of the text, even a word that is there once keeps its share
    unit = WEIGHT_UNIT if max_characters is None else max(WEIGHT_UNIT, round(WEIGHT_UNIT / factors.min()))
    for table, factor in zip(tables, factors.tolist()):
        for word, count in table.items():
            totals[word] += round(unit * factor * count)  # whole numbers add up alike in any order
        table.clear()
    words = sorted(word for word, weight in totals.items() if weight and word)
    return Words(words, np.array([totals[word] for word in words], dtype=np.int64), unit)


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
