"""The columns of word vectors: words, languages, vectors and frequencies, checked and chosen from."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..text.languages import counterparts
from .words import CodedLanguages, first_not_finite, take_words


Words = TypeVar("Words", bound="WordColumns")


class WordColumns:
    """What `WordVectors` holds and how it is chosen from, without where it comes from and goes to."""

    # The folder whose files the arrays are mapped from.
    place: Path | None = None

    def __init__(
        self,
        words: Sequence[str],
        languages: Sequence[str] | np.ndarray | CodedLanguages,
        vectors: np.ndarray,
        frequencies: np.ndarray | None = None,
        metadata: Mapping[str, Any] | None = None,
    ):
        self._fill(words, languages, vectors, frequencies, metadata)
        self.check_finite()

    @classmethod
    def _trusted(cls: type[Words], *columns: Any) -> Words:
        """From columns whose vectors are known to be finite, so that they need not be read."""
        made = cls.__new__(cls)
        made._fill(*columns)
        return made

    def _fill(
        self,
        words: Sequence[str],
        languages: Sequence[str] | np.ndarray | CodedLanguages,
        vectors: np.ndarray,
        frequencies: np.ndarray | None,
        metadata: Mapping[str, Any] | None,
    ) -> None:
        if isinstance(languages, CodedLanguages):
            self._coded_languages = languages
        else:
            self.languages = np.asarray(languages, dtype=np.str_)
        self.words, self.vectors, self.metadata = words, np.asarray(vectors, dtype=np.float32), dict(metadata or {})
        if self.vectors.ndim != 2:
            raise ValueError(f"vectors must be a matrix (N, d), but has the shape {self.vectors.shape}.")
        if isinstance(words, str) or isinstance(languages, str):
            raise ValueError("words and languages are one string each; pass a list of words and one of languages.")
        lengths = {"words": len(words), "languages": len(languages), "vectors": len(self.vectors)}
        self.frequencies = None
        if frequencies is not None:
            self.frequencies = np.asarray(frequencies, dtype=np.float32)
            if self.frequencies.ndim != 1:
                raise ValueError(f"frequencies must be numbers (N,), but have the shape {self.frequencies.shape}.")
            lengths["frequencies"] = len(self.frequencies)
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{count} {name}" for name, count in lengths.items())
            raise ValueError(f"Each word needs one language and one vector, but there are {found}.")
        if self.vectors.size == 0:
            raise ValueError(f"Word vectors need at least one word and one dimension, but have {self.vectors.shape}.")
        self.check_frequencies()

    def check_finite(self, rows: np.ndarray | None = None) -> None:
        """That vectors are finite numbers: all, or some rows, which are then read if they lie in a file.

        Raises:
            ValueError: one isn't; the word is named.
        """
        row = first_not_finite(self.vectors if rows is None else self.vectors[rows])
        if row is not None:
            row = row if rows is None else int(rows[row])
            raise ValueError(
                f"{self._from_file()}The vector of word {row}, {self.words[row]!r:.80} ({self.languages[row]}), has NaN or "
                "infinite values; remove the word or repair its vector."
            )

    def check_frequencies(self) -> None:
        """That frequencies, where there are some, are finite numbers from 0 on.

        Raises:
            ValueError: one isn't; the word is named.
        """
        if self.frequencies is None:
            return
        wrong = np.flatnonzero(~(self.frequencies >= 0) | np.isinf(self.frequencies))
        if len(wrong):
            word = f"{self.languages[wrong[0]]}:{self.words[wrong[0]]}"
            raise ValueError(
                f"{self._from_file()}The frequency of word {wrong[0]}, {word!r:.80}, is {self.frequencies[wrong[0]]}, but must "
                "be a finite number from 0 on; correct it, or leave the frequencies out."
            )

    def _from_file(self) -> str:
        return f"{self.place}: " if self.place else ""

    @cached_property
    def languages(self) -> np.ndarray:
        return self._coded_languages.array()

    @cached_property
    def _coded_languages(self) -> CodedLanguages:
        return CodedLanguages.from_names(self.languages)

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        counts = self.language_counts()
        shown = ", ".join(list(counts)[:8]) + (", ..." if len(counts) > 8 else "")
        return f"WordVectors({len(self):,} words x {self.dimension}, {len(counts)} languages: {shown})"

    @property
    def dimension(self) -> int:
        return self.vectors.shape[1]

    def language_counts(self) -> dict[str, int]:
        """Words per language, the largest first."""
        names, counts = self._coded_languages.names, self._coded_languages.counts()
        order = np.lexsort((names, -counts))
        return {str(names[i]): int(counts[i]) for i in order if counts[i]}

    def select(self, languages: Iterable[str] | None = None, max_words: int | None = None) -> np.ndarray:
        """The indices of the words of `languages` (all if None), of these the first `max_words`, in their order.

        A language may have its script (deu_Latn). Where the words have its macrolanguage or languages within it
        instead (zho, cmn), it is taken for these, with a warning.

        Raises:
            ValueError: a language that no word has (the nearest available ones are named), or max_words < 1.
        """
        if max_words is not None and max_words < 1:
            raise ValueError(f"max_words is {max_words}, but at least one word is needed; pass None for all words.")
        if languages is None:
            return np.arange(len(self))[:max_words]
        wanted = [languages] if isinstance(languages, str) else sorted(set(languages))
        available = sorted(self.language_counts())
        known = {code: counterparts(code, available) for code in wanted}
        missing = [code for code, found in known.items() if not found]
        if missing or not wanted:
            raise ValueError(_missing_languages(missing, available))
        is_wanted = np.isin(self._coded_languages.names, [code for found in known.values() for code in found])
        return np.flatnonzero(is_wanted[self._coded_languages.ids])[:max_words]

    def subset(self: Words, indices: np.ndarray) -> Words:
        """The words at `indices`, an integer or boolean array over the words, in that order."""
        indices = np.arange(len(self))[indices]
        return self._trusted(
            take_words(self.words, indices),
            self._coded_languages.take(indices),
            self.vectors[indices],
            None if self.frequencies is None else self.frequencies[indices],
            self.metadata,
        )


def _missing_languages(missing: list[str], available: list[str]) -> str:
    if not missing:
        return "The list of languages is empty; name at least one, or pass None for all."
    hints = []
    for code in missing:
        # First letters count most in language codes, and difflib ranks any common letters.
        near = difflib.get_close_matches(code.lower(), available, n=3, cutoff=0.5)
        hints.append(f"{code!r}" + (f" (nearest: {', '.join(near)})" if near else ""))
    shown = ", ".join(available[:30]) + (f", ... ({len(available)} in all)" if len(available) > 30 else "")
    return f"No word vector has the language {', '.join(hints)}. Languages are ISO 639-3 codes; available: {shown}."
