"""Text cut into words: at what is no letter, and in scripts without spaces by ICU's dictionaries, or into n-grams."""

import itertools
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import regex
from transformers.utils import logging


logger = logging.get_logger(__name__)

SEGMENTATIONS = ("auto", "words", "characters")

# Scripts written without spaces between words: Thai and Lao, Myanmar (and extensions), Khmer, Kana, Han.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# Tibetan divides syllables by a mark, the tsheg, and words by nothing.
_TIBETAN = "\u0f00-\u0fff"
_TSHEG = "\u0f0b"

_HAS_UNSPACED = re.compile(f"[{_UNSPACED}{_TIBETAN}]")
_IS_UNSPACED, _IS_TIBETAN = re.compile(f"[{_UNSPACED}]"), re.compile(f"[{_TIBETAN}]")
_SYLLABLE = re.compile(r"[\u0f00\u0f20-\u0f33\u0f40-\u0fbc]+")
# A word where spaces divide words, or a run without spaces. Marks belong to words, or those of Indic scripts fall apart.
_WORD = regex.compile(
    rf"(?V1)[[\p{{L}}\p{{N}}]--[{_UNSPACED}{_TIBETAN}]][[\p{{L}}\p{{N}}\p{{M}}]--[{_UNSPACED}{_TIBETAN}]]*"
    rf"|[{_UNSPACED}]+|[{_TIBETAN}]+"
)

# Unicode has small letters for Cherokee since 2015, which next to no text uses.
_SMALL_CHEROKEE = re.compile("[\uab70-\uabbf\u13f8-\u13fd]")
_TO_CHEROKEE = {small: ord(chr(small).upper()) for small in (*range(0xAB70, 0xABC0), *range(0x13F8, 0x13FE))}


def is_unspaced(char: str) -> bool:
    """Whether a character is of a script that is written without spaces between words, Tibetan among them."""
    return _HAS_UNSPACED.match(char) is not None


def lowercase(text: str) -> str:
    """In lower case, but for Cherokee, which is written in capitals as Unicode calls them."""
    lower = text.lower()
    return lower.translate(_TO_CHEROKEE) if _SMALL_CHEROKEE.search(lower) else lower


class WordSplitter:
    """Callable: text -> its words. Runs of letters, marks and digits; in scripts without spaces, what `method` says.

    Those are Han, Kana, Thai, Lao, Khmer and Myanmar, told by the characters themselves, so that a text may mix them
    with others. Tibetan has its syllables and pairs of them either way.

    Args:
        segmentation: "words", words by ICU's dictionaries (extra `segmentation`); "characters", 1- and 2-grams of
            characters, one being a base with the marks that follow it; "auto", words where the extra is installed.

    Attributes:
        method: "words" or "characters".
        version: of ICU and its dictionaries, or None.
        met_unspaced: whether any text so far had such a script, and so was cut by `method`.

    Raises:
        ImportError: "words" without the extra.
        ValueError: another `segmentation`.
    """

    def __init__(self, segmentation: str = "auto"):
        if segmentation not in SEGMENTATIONS:
            raise ValueError(
                f"segmentation is {segmentation!r}; choose one of {', '.join(map(repr, SEGMENTATIONS))}, or pass your "
                "own function as tokenize."
            )
        self._breaker, self.version = None, None
        if segmentation != "characters":
            try:
                import icu4py
                from icu4py.breakers import WordBreaker
            except ImportError as error:
                if segmentation == "words":
                    raise ImportError(
                        "segmentation='words' needs ICU: pip install 'ofa-transformers[segmentation]' (Python 3.11 or "
                        "later), or pass segmentation='characters' or your own function as tokenize"
                    ) from error
            else:
                self._breaker, self.version = WordBreaker, f"ICU {icu4py.icu_version}"
        self.method = "characters" if self._breaker is None else "words"
        self.met_unspaced = False
        self._warn = segmentation == "auto" and self._breaker is None

    def __call__(self, text: str) -> list[str]:
        found = _WORD.findall(text)
        if _HAS_UNSPACED.search(text) is None:
            return found
        words: list[str] = []
        for run in found:
            if _IS_UNSPACED.match(run):
                words += self._cut(run)
            elif _IS_TIBETAN.match(run):
                words += _n_grams(_SYLLABLE.findall(run), _TSHEG)
            else:
                words.append(run)
        return words

    def _cut(self, run: str) -> list[str]:
        self.met_unspaced = True
        if self._breaker is not None:
            # Its dictionaries go by script, so that the locale is of no account.
            return [word for word in self._breaker(run, "und") if any(map(str.isalnum, word))]
        if self._warn:
            self._warn = False
            logger.warning(
                "Text in a script without spaces between words, as %r, is cut into 1- and 2-grams of characters. For "
                "words: pip install 'ofa-transformers[segmentation]'. If n-grams are meant: segmentation='characters'.",
                run[:20],
            )
        return _n_grams(_clusters(run), "")


def method_of(metadata: Mapping[str, Any]) -> str:
    """The `segmentation` by which the text was cut that vectors with such metadata are from, "auto" if they don't say."""
    described = metadata.get("segmentation")
    method = described.get("method") if isinstance(described, Mapping) else None
    return method if method in SEGMENTATIONS else "auto"


def _n_grams(units: list[str], joint: str) -> list[str]:
    return units + [first + joint + second for first, second in itertools.pairwise(units)]


def _clusters(run: str) -> list[str]:
    """Letters and digits, each with the combining marks that follow it."""
    clusters: list[str] = []
    for char in run:
        category = unicodedata.category(char)[0]
        if category == "M" and clusters:
            clusters[-1] += char
        elif category in "LMN":
            clusters.append(char)
    return clusters
