"""Which language each sample of a run is drawn from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from . import randomness


class LanguageSchedule:
    """The language of every position of a run, drawn with p ~ n^alpha; a function of the seed and the position.

    Exponential smoothing of Conneau and Lample (2019, section 3.1), with n in characters, so that the mixture doesn't
    depend on the tokenizer.

    Args:
        sizes: language -> characters, at least 1.
        alpha: 1 samples in proportion to size, 0 all languages alike. The paper uses 0.3.
        seed: not negative.

    Attributes:
        languages: L languages, sorted.
        shares: (L,) float64, their probabilities.

    Raises:
        ValueError: no language, or one without text; alpha outside [0, 1].
    """

    BLOCK = 1 << 14

    def __init__(self, sizes: Mapping[str, float], alpha: float = 0.3, seed: int = 0) -> None:
        if not sizes:
            raise ValueError("No language to train on.")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must lie between 0 and 1, but is {alpha}.")
        if empty := [language for language, size in sizes.items() if not size > 0]:
            raise ValueError(f"No text for: {', '.join(sorted(empty))}; leave these languages out or give them text.")
        self.languages = sorted(sizes)
        weights = np.array([sizes[language] for language in self.languages], dtype=np.float64) ** alpha
        self.shares = weights / weights.sum()
        self.seed = seed
        self._counts = [np.zeros(len(weights), dtype=np.int64)]  # draws of each language before each block
        self._current = -1

    def __getitem__(self, position: int) -> tuple[int, int]:
        """The index of the position's language, and how often that language was drawn before."""
        block, offset = divmod(position, self.BLOCK)
        if block != self._current:
            while len(self._counts) <= block:
                drawn = np.bincount(self._draw(len(self._counts) - 1), minlength=len(self.shares))
                self._counts.append(self._counts[-1] + drawn)
            languages = self._draw(block)
            order = np.argsort(languages, kind="stable")
            first = np.searchsorted(languages[order], np.arange(len(self.shares)))
            before = np.empty(self.BLOCK, dtype=np.int64)
            before[order] = np.arange(self.BLOCK) - first[languages[order]]
            self._languages, self._before = languages, before + self._counts[block][languages]
            self._current = block
        return int(self._languages[offset]), int(self._before[offset])

    def _draw(self, block: int) -> np.ndarray:
        source = randomness.generator(self.seed, randomness.LANGUAGES, block)
        return source.choice(len(self.shares), size=self.BLOCK, p=self.shares)

    def describe(self, positions: range) -> str:
        """For messages: the positions and their languages."""
        names = sorted({self.languages[self[position][0]] for position in positions})
        return f"samples {positions.start:,} to {positions.stop - 1:,} ({', '.join(names)})"
