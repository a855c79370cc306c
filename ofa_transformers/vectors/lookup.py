"""Words of a dictionary or a text among the words of `WordVectors`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..text.languages import counterparts
from ..text.segmentation import lowercase, normalized
from .words import take_words


if TYPE_CHECKING:
    from .word_vectors import WordVectors


def find_rows(vectors: WordVectors, words: Sequence[str], languages: np.ndarray) -> np.ndarray:
    """(N,) int64: the row of each word, as it stands or else without regard to case; -1 for words without a vector.

    `$haus$` is the word "haus"; words are compared in Unicode normalisation form C. Of several rows that fit the first
    counts, the most frequent word. A macrolanguage and the languages within it meet, with a warning.

    Args:
        vectors: where to look.
        words, languages: (N,) the words to look up and their languages.
    """
    asked: dict[str, list[str]] = {}  # by the language of the vectors
    available = np.unique(vectors.languages).tolist()
    for code in np.unique(languages).tolist():
        for name in counterparts(code, available):
            asked.setdefault(name, []).append(code)
    rows = np.flatnonzero(np.isin(vectors.languages, list(asked)))
    exact: dict[str, int] = {}
    lower: dict[str, int] = {}
    for row, name, word in zip(rows.tolist(), vectors.languages[rows].tolist(), take_words(vectors.words, rows)):
        if len(word) > 2 and word[0] == word[-1] == "$":
            word = word[1:-1]
        word = normalized(word)
        for code in asked[name]:
            exact.setdefault(code + word, row)
            lower.setdefault(code + lowercase(word, code), row)
    found = np.full(len(words), -1, dtype=np.int64)
    for i, (code, word) in enumerate(zip(languages.tolist(), words)):
        word = normalized(word)
        row = exact.get(code + word)
        found[i] = lower.get(code + lowercase(word, code), -1) if row is None else row
    return found
