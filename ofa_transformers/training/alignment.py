"""The loss of pairs of translations: their sentence vectors shall be nearer to each other than to all others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn


if TYPE_CHECKING:
    from .distillation import SentenceVectors


@dataclass(frozen=True)
class Alignment:
    """How the sides of pairs are drawn together.

    Args:
        weight: of the contrastive loss beside the loss of tokens.
        temperature: of the softmax over cosines.
        layer: whose hidden states are compared, 0 being the embeddings; None for the one that retrieval takes.
        centered: take the mean of all vectors of a batch from each.
        vectors: how pairs that have targets become vectors, with distillation.
        spread: of the targets.
        target_weight: of the squared error to the targets.
        masked: pairs that have targets are masked, and their tokens predicted, too.

    Raises:
        ValueError: a negative weight, or a temperature that isn't positive.
    """

    weight: float = 0.3
    temperature: float = 0.05
    layer: int | None = None
    centered: bool = False
    vectors: SentenceVectors | None = field(default=None, repr=False)
    spread: float = field(default=1.0, repr=False)
    target_weight: float = 1.0
    masked: bool = False

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise ValueError(f"alignment_weight must be 0 or more, but is {self.weight}.")
        if not self.target_weight >= 0:
            raise ValueError(f"distillation_weight must be 0 or more, but is {self.target_weight}.")
        if not self.temperature > 0:
            raise ValueError(f"alignment_temperature must be positive, but is {self.temperature}.")


def processes() -> int:
    """How many train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1


def sentence_vectors(states: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
    """(B, D) float32: means of hidden states (B, L, D) over the tokens that `content` (B, L) names."""
    weights = content.to(torch.float32)[..., None]
    return (states.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def contrastive_loss(
    vectors: torch.Tensor, segments: torch.Tensor, *, temperature: float = 0.05, centered: bool = False
) -> torch.Tensor:
    """Symmetric InfoNCE (van den Oord et al., 2018) of sentence vectors, summed over this process's pairs.

    The other pairs of all processes are what each is told apart from, but for those of the same segment. Gradients go
    through the vectors of all processes, so that the sum over the processes is the loss of one that has all pairs.

    Args:
        vectors: (2 B, D), first sides, then second sides.
        segments: (B,) int64.
        temperature: of the softmax over cosines.
        centered: take the mean of all vectors from each first.

    Returns:
        A scalar.
    """
    first, second = vectors.chunk(2)
    rank = 0
    every_first, every_second, every_segment = first, second, segments
    if processes() > 1:
        rank = torch.distributed.get_rank()
        every_first, every_second = _Gathered.apply(first), _Gathered.apply(second)
        every_segment = _gather(segments)
    if centered:
        mean = torch.cat([every_first, every_second]).mean(dim=0)
        first, second, every_first, every_second = (side - mean for side in (first, second, every_first, every_second))
    first, second, every_first, every_second = (
        nn.functional.normalize(side, dim=1) for side in (first, second, every_first, every_second)
    )
    own = torch.arange(len(segments), device=segments.device) + rank * len(segments)
    same = segments[:, None] == every_segment[None]
    same[torch.arange(len(segments), device=segments.device), own] = False
    # A script's autocast would take cosines in 8 bits, and their differences are divided by the temperature.
    with torch.autocast(vectors.device.type, enabled=False):
        losses = [
            nn.functional.cross_entropy(
                (queries @ candidates.T / temperature).masked_fill(same, -torch.inf), own, reduction="sum"
            )
            for queries, candidates in ((first, every_second), (second, every_first))
        ]
    return sum(losses) / 2


def _gather(rows: torch.Tensor) -> torch.Tensor:
    """The rows of all processes, of which each has as many."""
    parts = [torch.empty_like(rows) for _ in range(processes())]
    torch.distributed.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


class _Gathered(torch.autograd.Function):
    """The rows of all processes; a row's gradient is the sum of those that the processes have for it."""

    @staticmethod
    def forward(context: Any, rows: torch.Tensor) -> torch.Tensor:
        return _gather(rows)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous()
        torch.distributed.all_reduce(gradient)
        return gradient.chunk(processes())[torch.distributed.get_rank()]
