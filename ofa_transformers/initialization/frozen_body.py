"""Training of what stands before a frozen body: batches, rates, and the body itself."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from transformers import PreTrainedModel


# Batches whose lines are sorted by length together.
_SORTED = 8


def draw_batches(lengths: np.ndarray, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Lines of a step without end, by passes in random order; those of a batch are of similar length."""
    draws = np.random.default_rng([seed, 1])
    while True:
        order = draws.permutation(len(lengths))
        for start in range(0, len(order), _SORTED * batch_size):
            part = order[start : start + _SORTED * batch_size]
            part = part[np.argsort(lengths[part], kind="stable")]
            batches = [part[i : i + batch_size].tolist() for i in range(0, len(part), batch_size)]
            for i in draws.permutation(len(batches)):
                yield batches[i]


def rate_at(step: int, steps: int) -> float:
    """The share of the peak rate: a tenth of the steps warm up, then it falls to 0."""
    return min((step + 1) / max(1, steps // 10), 1 - step / steps)


@contextmanager
def frozen(model: PreTrainedModel) -> Iterator[None]:
    """No parameter of the model gets gradients inside."""
    former = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, needed in former:
            parameter.requires_grad_(needed)
