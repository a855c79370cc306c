"""Columns of `WordVectors` that stay as they lie in a file until they are asked for: words and languages."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np


# Words decoded or encoded at once.
_BLOCK = 65_536

NEWLINE = ord("\n")


class Utf8Words(Sequence[str]):
    """N words as UTF-8 lines in one array of bytes, which can be a memory-mapped file; decoded when asked for.

    Indexing gives a word, slicing and `take` a list of words.
    """

    def __init__(self, data: np.ndarray, ends: np.ndarray | None = None):
        """
        Args:
            data: uint8, the words, a newline after each.
            ends: (N,) int64 ascending, the position behind each word's newline; searched in `data` if None.
        """
        self.data = data
        self.ends = np.flatnonzero(data == NEWLINE) + 1 if ends is None else ends

    @classmethod
    def from_strings(cls, words: Iterable[str]) -> "Utf8Words":
        """The words of any iterable.

        Raises:
            ValueError: a word has a line break, or characters that UTF-8 cannot hold (lone surrogates).
        """
        words = words if isinstance(words, Sequence) else list(words)
        blocks = []
        for start in range(0, len(words), _BLOCK):
            block = words[start : start + _BLOCK]
            text = "\n".join(block) + "\n"
            if text.count("\n") != len(block):
                broken = next(word for word in block if "\n" in word)
                raise ValueError(
                    f"The word {broken!r} has a line break and cannot be saved; remove or change the word."
                )
            try:
                blocks.append(text.encode("utf-8"))
            except UnicodeEncodeError as error:
                word = text[text.rfind("\n", 0, error.start) + 1 : text.find("\n", error.start)]
                raise ValueError(
                    f"The word {word!r} cannot be written in UTF-8 ({error.reason}); remove or change the word."
                ) from error
        return cls(np.frombuffer(b"".join(blocks), dtype=np.uint8))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.take(np.arange(*index.indices(len(self))))
        number = range(len(self))[index]
        start = self.ends.item(number - 1) if number else 0
        return self._decode(self.data[start : self.ends.item(number) - 1])

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BLOCK):
            yield from self.take(np.arange(start, min(start + _BLOCK, len(self))))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other))

    __hash__ = None

    def __repr__(self) -> str:
        return f"Utf8Words({len(self):,} words: {', '.join(map(repr, self[:5]))}{', ...' if len(self) > 5 else ''})"

    def take(self, indices: np.ndarray) -> list[str]:
        """The words at an array of indices (integer, or boolean over all words), in that order."""
        indices = np.arange(len(self))[indices] if np.asarray(indices).dtype == bool else np.asarray(indices)
        if indices.size == 0:
            return []
        if indices.min() < 0 or indices.max() >= len(self):
            indices = np.arange(len(self))[indices]  # counts from the end, or raises
        ends = np.asarray(self.ends[indices])
        starts = np.where(indices > 0, self.ends[indices - 1], 0)
        lengths = ends - starts
        if (starts[1:] == ends[:-1]).all():
            data = self.data[starts[0] : ends[-1]]
        else:
            positions = np.arange(int(lengths.sum())) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
            data = self.data[positions]
        return self._decode(data[:-1]).split("\n")

    @staticmethod
    def _decode(data: np.ndarray) -> str:
        try:
            return data.tobytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"The words are damaged: {data[max(error.start - 20, 0) : error.end + 20].tobytes()!r} is not valid "
                "UTF-8. Save or download the word vectors again."
            ) from error


def take_words(words: Sequence[str], indices: np.ndarray) -> list[str]:
    """The words at an array of integer indices, in that order, of any sequence."""
    if isinstance(words, Utf8Words):
        return words.take(indices)
    return [words[i] for i in indices.tolist()]


def first_not_finite(vectors: np.ndarray) -> int | None:
    """The first row of a matrix with a NaN or infinite value, or None."""
    for start in range(0, len(vectors), _BLOCK):
        finite = np.isfinite(vectors[start : start + _BLOCK]).all(axis=1)
        if not finite.all():
            return start + int(np.argmin(finite))
    return None


class CodedLanguages:
    """The languages of N words as indices (N,) into their C names, sorted; an array of names only when asked for."""

    def __init__(self, names: Sequence[str] | np.ndarray, ids: np.ndarray):
        self.names, self.ids = np.asarray(names, dtype=np.str_), ids

    @classmethod
    def from_names(cls, languages: np.ndarray) -> "CodedLanguages":
        names, ids = np.unique(languages, return_inverse=True)
        return cls(names, ids.reshape(-1).astype(np.int32))

    def __len__(self) -> int:
        return len(self.ids)

    def array(self) -> np.ndarray:
        """(N,) the name of each word's language."""
        return self.names[self.ids]

    def counts(self) -> np.ndarray:
        """(C,) the number of words of each language."""
        return np.bincount(self.ids, minlength=len(self.names))

    def take(self, indices: np.ndarray) -> "CodedLanguages":
        """The languages of some of the words; names that none of these has are left out."""
        used, ids = np.unique(self.ids[indices], return_inverse=True)
        return CodedLanguages(self.names[used], ids.reshape(-1).astype(np.int32))
