"""Text cut into words: at Unicode's word boundaries, and in scripts without spaces by ICU's dictionaries or into n-grams."""

import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import regex
from transformers.utils import logging


logger = logging.get_logger(__name__)

SEGMENTATIONS = ("auto", "words", "characters")

# Letters, marks and digits of scripts that are written without spaces between words, among them those that Unicode says
# need a dictionary to break lines; and what both Kana and others have (the long vowel, voicing).
_UNSPACED = (
    r"[[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}"
    r"\u3006\u3099\u309a\u30fc\uff70\uff9e\uff9f]&&[\p{L}\p{M}\p{N}]]"
)
# Tibetan divides syllables by a mark, the tsheg, and words by nothing.
_TIBETAN = "\u0f00-\u0fff"
_TSHEG = "\u0f0b"
_SYLLABLE = re.compile(r"[\u0f00\u0f20-\u0f33\u0f40-\u0fbc]+")

_RUN = regex.compile(rf"(?V1)(?P<unspaced>{_UNSPACED}+)|(?P<tibetan>[{_TIBETAN}]+)")
# Word boundaries of Unicode Standard Annex 29: an apostrophe, joiner or point between letters is part of the word.
_BOUNDARY = regex.compile(r"\b", regex.V1 | regex.WORD)
# A part with a letter or digit, without what else stands at its ends.
_WORD = regex.compile(r"(?V1s)[\p{L}\p{N}](?:.*[\p{L}\p{N}\p{M}])?")
# French and Italian articles and pronouns that lose their vowel are words of their own; the evidence is in
# docs/word-vectors.md, and examples/benchmarks/clitics.py repeats it.
_ELIDING = frozenset({"fra", "ita"})
_APOSTROPHE = re.compile("['\u2019]")

# What is not seen and is no part of spelling: soft hyphens, marks of direction, word joiners.
_INVISIBLE = re.compile("[\u00ad\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")

# Parts between spaces whose words are kept, since most come again.
_MAX_KNOWN = 1 << 20

# Languages whose small letters of I and \u0130 are \u0131 and i: Turkish, Azeri, Crimean Tatar, Gagauz.
_DOTTED = frozenset({"tur", "aze", "azj", "crh", "gag"})
_TO_DOTTED = {ord("I"): "\u0131", 0x130: "i"}

# Unicode has small letters for Cherokee since 2015, which next to no text uses.
_SMALL_CHEROKEE = re.compile("[\uab70-\uabbf\u13f8-\u13fd]")
_TO_CHEROKEE = {small: ord(chr(small).upper()) for small in (*range(0xAB70, 0xABC0), *range(0x13F8, 0x13FE))}


def is_unspaced(char: str) -> bool:
    """Whether a character is of a script that is written without spaces between words, Tibetan among them."""
    return _RUN.match(char) is not None


def normalized(text: str) -> str:
    """In Unicode normalisation form C, without characters that are not seen."""
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text))


def lowercase(text: str, language: str | None = None) -> str:
    """In lower case as the language (ISO 639-3) has it: Turkish \u0130 and I are i and \u0131.

    But for Cherokee, which is written in capitals as Unicode calls them.
    """
    if "\u0130" in text or language in _DOTTED:
        text = text.translate(_TO_DOTTED) if language in _DOTTED else text.replace("\u0130", "i")
    lower = text.lower()
    return lower.translate(_TO_CHEROKEE) if _SMALL_CHEROKEE.search(lower) else lower


class WordSplitter:
    """Callable: text -> its words, by Unicode's word boundaries (UAX 29); in scripts without spaces, what `method` says.

    Those are Han, Kana, Thai, Lao, Khmer, Myanmar and scripts of the Tai, told by the characters themselves, so that a
    text may mix them with others. Tibetan has its syllables and pairs of them either way. In French and Italian, an
    apostrophe ends a word.

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
        self._known: tuple[dict[str, list[str]], dict[str, list[str]]] = ({}, {})  # without and with elision
        self._warn = segmentation == "auto" and self._breaker is None

    def __call__(self, text: str, language: str | None = None) -> list[str]:
        """The words of a text in a language (ISO 639-3)."""
        elides = language in _ELIDING
        known = self._known[elides]
        if len(known) > _MAX_KNOWN:
            known.clear()
        words: list[str] = []
        for part in text.split(" "):
            found = known.get(part)
            if found is None:
                if _RUN.search(part) is not None:
                    words += self._mixed(part, elides)
                    continue
                found = known[part] = _spaced(part, elides)
            words += found
        return words

    def units(self, text: str) -> list[str]:
        """The same words, none twice: in scripts without spaces the characters, in Tibetan the syllables."""
        if _RUN.search(text) is None:
            return self(text)
        units: list[str] = []
        for kind, run in _runs(text):
            if kind is None:
                units += self(run)
            else:
                units += _clusters(run) if kind == "unspaced" else _SYLLABLE.findall(run)
        return units

    def _mixed(self, text: str, elides: bool) -> list[str]:
        words: list[str] = []
        for kind, run in _runs(text):
            if kind is None:
                words += _spaced(run, elides)
            elif kind == "tibetan":
                words += _n_grams(_SYLLABLE.findall(run), _TSHEG)
            else:
                words += self._cut(run)
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


def _spaced(text: str, elides: bool) -> list[str]:
    words = [match[0] for part in _BOUNDARY.split(text) if (match := _WORD.search(part))]
    if elides:
        words = [piece for word in words for piece in _APOSTROPHE.split(word) if piece]
    return words


def _runs(text: str) -> Iterator[tuple[str | None, str]]:
    """Stretches of a text, each with "unspaced", "tibetan", or None for other scripts."""
    end = 0
    for match in _RUN.finditer(text):
        if match.start() > end:
            yield None, text[end : match.start()]
        yield match.lastgroup, match[0]
        end = match.end()
    if end < len(text):
        yield None, text[end:]


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
