"""The characters of texts that tokens stand for: the words they form, and those that a tokenizer can't write."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..text.segmentation import is_unspaced


# Characters of a word at most, in scripts with spaces (a web address) and in those without.
LONGEST_WORD, LONGEST_UNSPACED = 64, 16


class Characters:
    """The characters of N texts, and what spans of them are.

    A word is what stands between white space, with its punctuation, so that it is the same whatever the tokenizer. One
    that has characters of a script without spaces is cut after each `LONGEST_UNSPACED` characters, any other after each
    `LONGEST_WORD`.

    Args:
        texts: N texts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)) + 1
        self.starts = np.cumsum(lengths) - lengths
        self.text_of = np.repeat(np.arange(len(texts)), lengths)
        # A line end after each text, so that no word goes from one to the next.
        joined = "\n".join([*texts, ""]).encode("utf-32-le", "surrogatepass")
        self.codes = np.frombuffer(joined, dtype="<u4")
        kinds, place = np.unique(self.codes, return_inverse=True)
        self.space = np.array([chr(code).isspace() for code in kinds], dtype=bool)[place]
        unspaced = np.array([is_unspaced(chr(code)) for code in kinds], dtype=bool)[place]
        self._number_words(unspaced)

    def _number_words(self, unspaced: np.ndarray) -> None:
        begins = ~self.space
        begins[1:] &= self.space[:-1]
        first = np.flatnonzero(begins)
        run = np.cumsum(begins) - 1  # of white space: that before it
        inside = np.arange(len(run)) - first[np.maximum(run, 0)] if len(first) else np.zeros_like(run)
        longest = np.full(len(first) + 1, LONGEST_WORD)
        longest[run[unspaced]] = LONGEST_UNSPACED
        begins |= ~self.space & (inside % longest[run] == 0)
        self._before = np.cumsum(begins) - 1
        self._after = self._before + self.space  # white space belongs to the word that follows

    def words(self, texts: np.ndarray, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers, rising over all texts, of the first and the last word that each span has a part of.

        Args:
            texts: (n,) the text of each span.
            spans: (n, 2) its begin and end in the text.
        """
        begin, end = (self.starts[texts][:, None] + spans).T
        first = self._after[begin]
        return first, np.where(end > begin, np.maximum(first, self._before[end - 1]), first)

    def unknown(self, texts: np.ndarray, spans: np.ndarray, unk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) characters of each text that are under an unknown token, or under none, and (N,) their UTF-8 bytes.

        White space doesn't count: many tokenizers drop it.

        Args:
            texts, spans: of all tokens, as for `words`.
            unk: (n,) bool, tokens that stand for what the tokenizer can't write.
        """
        begin, end = (self.starts[texts][:, None] + spans).T
        covered, hidden = self._under(begin, end), self._under(begin[unk], end[unk])
        lost = ~self.space & (hidden | ~covered)
        codes = self.codes[lost].astype(np.int64)
        size = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)
        counts = [np.bincount(self.text_of[lost], weights, len(self.starts)) for weights in (None, size)]
        return counts[0].astype(np.int64), counts[1].astype(np.int64)

    def _under(self, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Whether each character is in one of the spans."""
        size = len(self.codes) + 1
        return (np.bincount(begin, minlength=size) - np.bincount(end, minlength=size)).cumsum()[:-1] > 0
