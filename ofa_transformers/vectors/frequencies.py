"""Frequencies of words whose file has none: from their rank in the file, or from wordfreq's lists."""

from collections.abc import Sequence

import numpy as np
from transformers.utils import logging

from ..text.languages import macrolanguage, short_code
from ..text.segmentation import lowercase
from .words import CodedLanguages


logger = logging.get_logger(__name__)

CHOICES = ("auto", "rank", "wordfreq", None)

# Zipf-Mandelbrot: the r-th word has a share in proportion to 1 / (r + 2.7), Mandelbrot's fit to English (1953).
_OFFSET = 2.7

# The frequencies of a language add up to this, however many words it has, so that languages compare.
_TOTAL = 1_000_000

# Words looked at to see whether a file is in alphabetical order; fewer than the second number say nothing.
_SAMPLE, _ENOUGH = 5_000, 100


def check_choice(choice: str | None) -> None:
    """Raises ValueError unless it is one of `CHOICES`."""
    if choice not in CHOICES:
        raise ValueError(f"frequencies is {choice!r}; choose from {', '.join(map(repr, CHOICES))}.")


def frequencies_of(
    origin: str, words: Sequence[str], languages: CodedLanguages, counts: np.ndarray | None, choice: str | None
) -> tuple[np.ndarray | None, str | None]:
    """(N,) float32 frequencies or None, and in words what they are: see `frequencies` of `WordVectors.load`.

    Args:
        origin: the file, for messages.
        words: N words without prefix, in their order in the file.
        languages: of the words.
        counts: (N,) of the file, or None.
        choice: one of `CHOICES`.
    """
    if counts is not None and choice in ("auto", None):
        return np.asarray(counts, dtype=np.float32), "counts"
    if choice is None:
        return None, None
    if choice == "wordfreq":
        return _from_wordfreq(words, languages)
    if choice == "auto" and _is_alphabetical(words):
        logger.warning(
            "The words in %s are in alphabetical order, so that their ranks say nothing of their frequencies; pass "
            "frequencies='wordfreq' for estimates from lists, where it has the language.",
            origin,
        )
        return None, None
    return from_rank(languages.ids), "estimated from rank"


def from_rank(language_ids: np.ndarray) -> np.ndarray:
    """(N,) float32 estimates for words that stand in order of frequency within each language, per million words."""
    order = np.argsort(language_ids, kind="stable")
    counts = np.bincount(language_ids)
    ranks = np.empty(len(language_ids), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    shares = 1 / (ranks + 1 + _OFFSET)
    totals = np.bincount(language_ids, weights=shares)
    return (_TOTAL * shares / totals[language_ids]).astype(np.float32)


def _is_alphabetical(words: Sequence[str]) -> bool:
    sample = np.array(words[:_SAMPLE], dtype=np.str_)
    return len(sample) >= _ENOUGH and bool((sample[:-1] <= sample[1:]).all())


def _from_wordfreq(words: Sequence[str], languages: CodedLanguages) -> tuple[np.ndarray, str]:
    """Of the words in lower case, per million; what a list lacks counts as its rarest word."""
    try:
        import wordfreq
    except ImportError as error:
        raise ImportError(
            "frequencies='wordfreq' needs `wordfreq`: pip install 'ofa-transformers[wordfreq]'."
        ) from error
    available = wordfreq.available_languages("best")
    frequencies = from_rank(languages.ids)
    missing = []
    for index, language in enumerate(languages.names.tolist()):
        codes = [short_code(code) for code in (language, macrolanguage(language)) if code is not None]
        code = next((code for code in codes if code in available), None)
        if code is None:
            missing.append(language)
            continue
        known = wordfreq.get_frequency_dict(code, "best")
        rarest = min(known.values())
        members = np.flatnonzero(languages.ids == index)
        found = (known.get(lowercase(words[i].strip("$"), language), rarest) for i in members.tolist())
        frequencies[members] = _TOTAL * np.fromiter(found, dtype=np.float64, count=len(members))
    if len(missing) == len(languages.names):
        raise ValueError(
            f"wordfreq has no list for {', '.join(missing)}; pass frequencies='rank' if the words stand in order of "
            "frequency, else None."
        )
    return frequencies, "wordfreq" + (f"; estimated from rank for {', '.join(missing)}" if missing else "")
