"""IBM model 1 (Brown et al., 1993): which words of two texts that translate each other belong together."""

from __future__ import annotations

import numpy as np
from transformers.utils import logging


# None of the other side's words: as likely as a word that has a thousand translations.
_NOTHING = 1e-3


def posteriors(
    parameter: np.ndarray, given: np.ndarray, position: np.ndarray, iterations: int, what: str = "Aligning words"
) -> np.ndarray:
    """For each pair of words in a segment, the probability that the one at `position` comes of the other.

    Args:
        parameter: (n,) of each pair, its number among the distinct pairs.
        given: (distinct pairs,) the word whose translations are a distribution.
        position: (n,) of each pair, the place in the text that is explained.
        iterations: of expectation maximisation.
        what: said while it takes long.

    Returns:
        (n,) float64.
    """
    table = np.ones(len(given))
    size = int(position.max()) + 1
    for _ in logging.tqdm(range(iterations), desc=what, unit="pass", delay=2, leave=False):
        table /= np.bincount(given, weights=table)[given]
        likelihood = table[parameter]
        total = np.bincount(position, weights=likelihood, minlength=size) + _NOTHING
        likelihood /= total[position]
        table = np.bincount(parameter, weights=likelihood, minlength=len(given))
    return likelihood
