"""Scores as functions of counts by sentence, so that a bootstrap resamples them all in one matrix product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .results import bootstrap_interval


@dataclass(frozen=True)
class Scored:
    """A metric of some sentences.

    Attributes:
        metric: its name.
        counts: (N, ...) of each sentence.
        score: the metric as a function of counts, summed over sentences.
    """

    metric: str
    counts: np.ndarray
    score: Callable[[np.ndarray], np.ndarray]

    @property
    def value(self) -> float:
        return float(self.score(self.counts.sum(axis=0)))

    def interval(self) -> tuple[float, float]:
        """95 %, by the bootstrap over sentences: a resample is a vector of how often each was drawn, times the counts."""
        size, *shape = self.counts.shape
        flat = self.counts.reshape(size, -1).astype(np.float64)

        def resampled(chosen: np.ndarray) -> float:
            return float(self.score((np.bincount(chosen, minlength=size) @ flat).reshape(shape)))

        return bootstrap_interval(resampled, size)


def count_classes(
    gold: np.ndarray, predicted: np.ndarray, sentences: np.ndarray, size: int, classes: int
) -> np.ndarray:
    """(size, classes, 3) float64: true positives, false positives, false negatives of each class in each sentence.

    Args:
        gold: (n,) class of each item; an item is a sentence, or a word of one.
        predicted: (n,) likewise; -1 for none, which is wrong.
        sentences: (n,) the sentence of each item.
        size: sentences.
        classes: classes.
    """
    counts = np.zeros((size, classes, 3))
    right = gold == predicted
    np.add.at(counts, (sentences[right], gold[right], 0), 1)
    guessed = ~right & (predicted >= 0)
    np.add.at(counts, (sentences[guessed], predicted[guessed], 1), 1)
    np.add.at(counts, (sentences[~right], gold[~right], 2), 1)
    return counts


def f1(counts: np.ndarray) -> np.ndarray:
    """(...): F1 of (..., 3) counts of true positives, false positives, false negatives; 0 where all are 0."""
    total = 2 * counts[..., 0] + counts[..., 1] + counts[..., 2]
    return np.divide(2 * counts[..., 0], total, out=np.zeros_like(total, dtype=np.float64), where=total > 0)


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """(...): mean F1 of those classes of (..., classes, 3) counts that occur or are predicted, as scikit-learn's."""
    occurs = counts.sum(-1) > 0
    return (f1(counts) * occurs).sum(-1) / np.maximum(occurs.sum(-1), 1)


def accuracy(counts: np.ndarray) -> np.ndarray:
    """(...): share of items of (..., classes, 3) counts whose class was found."""
    sums = counts.sum(-2)
    return sums[..., 0] / np.maximum(sums[..., 0] + sums[..., 2], 1)
