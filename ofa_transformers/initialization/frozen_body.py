"""Training of what stands before a frozen body: batches, rates, and the body itself."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from .methods.step_settings import StepSettings


logger = logging.get_logger(__name__)

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


def minimize(
    parameters: Sequence[torch.nn.Parameter],
    loss_of_step: Callable[[], torch.Tensor],
    chosen: StepSettings,
    *,
    scale: float = 1.0,
    title: str,
) -> tuple[float, float]:
    """Steps of AdamW: a tenth of them warm up, then the rate falls to 0.

    Args:
        parameters: what is trained.
        loss_of_step: a scalar, anew for each step; without gradient where nothing is predicted.
        chosen: steps and peak rate.
        scale: of the rate.
        title: of the bar.

    Returns:
        The mean loss of the first and of the last tenth of the steps.
    """
    peak = chosen.learning_rate * scale
    optimizer = torch.optim.AdamW(parameters, lr=peak, weight_decay=0.0, betas=(0.9, 0.98))
    losses: list[float] = []
    for step in logging.tqdm(range(chosen.steps), desc=title, unit="step", delay=2, leave=False):
        loss = loss_of_step()
        if loss.requires_grad:
            loss.backward()
        optimizer.param_groups[0]["lr"] = peak * min((step + 1) / max(1, chosen.steps // 10), 1 - step / chosen.steps)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    count = max(1, len(losses) // 10)
    return float(np.mean(losses[:count])), float(np.mean(losses[-count:]))


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
