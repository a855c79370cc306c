"""Random numbers that depend on a seed and on what they are for, and not on what was drawn before."""

from __future__ import annotations

import numpy as np


# What a generator is for; streams of different purposes are independent.
LANGUAGES, ORDER, MASKS, PAIRS, PARTNERS = range(5)


def generator(seed: int, purpose: int, first: int = 0, second: int = 0) -> np.random.Generator:
    """A generator of its own for each (seed, purpose, first, second): counter-based, so there is no state to save.

    Philox (Salmon et al., 2011) with the arguments in the upper words of its counter, which draws leave alone.
    """
    counter = np.array([0, purpose, first, second], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=seed, counter=counter))
