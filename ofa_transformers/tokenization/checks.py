"""What must hold of a new tokenizer on the text that it was made from, beside the tokenizer that it was made like."""

from __future__ import annotations

import heapq
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tokenizers import decoders
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from .backend import plain_backend
from .normalization import merged_words_notes
from .plan import BYTE_PIECES
from .sample_text import readable_pieces
from .vocabulary import word_marks


logger = logging.get_logger(__name__)

# Lines that are kept of each language.
_LINES = 500

# Share of a language's lines that may come back otherwise: text has marks and control characters that decoders take for
# their own.
_CHANGED = 0.02


class LineSample:
    """Some lines of each language, noted while a training reads them.

    Those with the smallest checksums, so that order and repetition of the text don't matter.

    Attributes:
        texts: language -> lines, to be read in place of those that were given.
    """

    def __init__(self, texts: Mapping[str, Iterable[str]]) -> None:
        self._kept: dict[str, dict[int, str]] = {language: {} for language in texts}
        self.texts: dict[str, Iterable[str]] = {}
        for language, lines in texts.items():
            once = iter(lines) is lines
            self.texts[language] = self._noting(language, lines) if once else _Noted(self, language, lines)

    @property
    def lines(self) -> dict[str, list[str]]:
        """language -> the lines, in the order of their checksums."""
        return {language: [kept[key] for key in sorted(kept)] for language, kept in self._kept.items()}

    def _noting(self, language: str, lines: Iterable[str]) -> Iterator[str]:
        kept = self._kept[language]
        largest = [-key for key in kept]
        heapq.heapify(largest)
        for line in lines:
            yield line
            if not isinstance(line, str) or not line or line.isspace():
                continue
            key = zlib.crc32(line.encode("utf-8", "replace"))
            if key in kept or (len(kept) == _LINES and key > -largest[0]):
                continue
            kept[key] = line
            heapq.heappush(largest, -key)
            if len(kept) > _LINES:
                del kept[-heapq.heappop(largest)]


@dataclass(frozen=True)
class _Noted:
    """Lines that can be read again."""

    sample: LineSample
    language: str
    source: Iterable[str]

    def __iter__(self) -> Iterator[str]:
        return self.sample._noting(self.language, self.source)


def check_made_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    lines: Mapping[str, list[str]],
    *,
    model: PreTrainedTokenizerBase | None = None,
    tolerance: float = 0.0,
    name: str = "tokenizer",
) -> None:
    """Raises where a new tokenizer loses what its model keeps, and warns where its normaliser makes words equal.

    Args:
        tokenizer: trained or extended.
        lines: language -> some of its text.
        model: the tokenizer that it was trained like, or is an extension of. None for layouts of our own.
        tolerance: share of the tokens that may be unknown or bytes where the model has none.
        name: of the argument that the model came from, for the error.

    Raises:
        ValueError: no piece begins a word; text isn't given back as the normaliser makes it, spaces included where the
            model gives them back; more of it is unknown or bytes than the model has in words that it covers.
    """
    new = _Cutter(tokenizer)
    old = new if model is None else _Cutter(model)
    form = old.form([] if model is None else [*_own_text(model), *_joined(lines.values())])
    problem = None
    if old.begins_words() and not new.begins_words():
        problem = f"no piece of the new one has {old.marks.mark!r}, where words begin, so that spaces are lost"
    for language, text in lines.items():
        problem = problem or _lost(old, new, language, text, tolerance) or _changed(new, form, language, text)
    if problem is not None:
        lost = "its text" if model is None else "what this one does"
        raise ValueError(f"{name}: the new tokenizer doesn't keep {lost}: {problem}.")
    for note in merged_words_notes(tokenizer, lines):
        logger.warning(note)


def _lost(old: _Cutter, new: _Cutter, language: str, text: list[str], tolerance: float) -> str | None:
    words = sorted({word for line in text for word in line.split()})
    covered = [word for word, ids in zip(words, old.cut(words)) if not old.lost(ids)]
    ids = _joined(new.cut(covered))
    lost = new.lost(ids)
    if lost <= tolerance * len(ids):
        return None
    return f"{lost / len(ids):.1%} of its tokens of {language} are unknown or bytes, in words where this one has none"


def _changed(new: _Cutter, form: Callable[[str], str] | None, language: str, text: list[str]) -> str | None:
    if form is None:
        return None
    pairs = [pair for pair in new.given_back(text) if form(pair[0]) != form(pair[1])]
    if len(pairs) <= _CHANGED * len(text):
        return None
    line, back = pairs[0]
    return f"its tokens of {line[:60]!r} ({language}) are decoded to {back[:60]!r}"


def _as_it_is(text: str) -> str:
    return text


def _single_spaces(text: str) -> str:
    return " ".join(text.split())


def _no_spaces(text: str) -> str:
    return "".join(text.split())


# How exactly text comes back. By how words are marked, the first that can be asked for: no decoder knows where there were
# spaces beside punctuation that BERT's pre-tokenizer cut off.
_FORMS = (_as_it_is, _single_spaces, _no_spaces)
_FIRST_FORM = {"byte_level": 0, "metaspace": 1}


class _Cutter:
    """A tokenizer with what counts as lost in it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.backend = plain_backend(tokenizer)
        self.marks = word_marks(self.backend)
        if isinstance(self.backend.decoder, decoders.WordPiece):  # its clean-up makes "don't" of "do not"
            self.backend.decoder = decoders.WordPiece(self.marks.mark, cleanup=False)
        added = self.backend.get_added_tokens_decoder()
        self._special = {index for index, token in added.items() if token.special}
        unk = None if self.marks.kind == "byte_level" else tokenizer.unk_token_id  # those name one and never use it
        bytes_ = map(self.backend.token_to_id, BYTE_PIECES) if self.marks.byte_fallback else ()
        self._unknown = {unk} - {None}
        self._lost = self._unknown | set(bytes_) - {None}

    def begins_words(self) -> bool:
        """Whether a piece marks the begin of a word; so where nothing marks it."""
        mark = self.marks.mark
        return self.marks.kind != "metaspace" or any(token.startswith(mark) for token in self.backend.get_vocab())

    def cut(self, lines: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self.backend.encode_batch_fast(lines, add_special_tokens=False)]

    def lost(self, ids: list[int]) -> int:
        """Tokens that are unknown, or a byte."""
        return sum(index in self._lost for index in ids)

    def given_back(self, lines: list[str]) -> Iterator[tuple[str, str]]:
        """Each line as normalised, and as decoded; but for lines with unknown or special tokens."""
        normalizer, mark = self.backend.normalizer, self.marks.mark if self.marks.kind == "metaspace" else ""
        for line, ids in zip(lines, self.cut(lines)):
            if self._unknown.isdisjoint(ids) and (self._special - self._unknown).isdisjoint(ids):
                text = line if normalizer is None else normalizer.normalize_str(line)
                yield text.replace(mark, " ") if mark else text, self.backend.decode(ids, skip_special_tokens=False)

    def form(self, lines: list[str]) -> Callable[[str], str] | None:
        """How exactly this tokenizer gives lines back; None if it gives back something else."""
        pairs = list(self.given_back(lines))
        for form in _FORMS[_FIRST_FORM.get(self.marks.kind, 2) :]:
            if sum(form(text) != form(back) for text, back in pairs) <= _CHANGED * len(pairs):
                return form
        return None


def _own_text(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Lines of what a tokenizer surely covers: its own pieces."""
    pieces = readable_pieces(tokenizer)
    return [" ".join(pieces[start : start + 8]) for start in range(0, min(len(pieces), 1600), 8)]


def _joined(lists: Iterable[list]) -> list:
    return list(itertools.chain.from_iterable(lists))
