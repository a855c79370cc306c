"""What the measures share: batches of similar length, evaluation mode, the longest input."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


# Numbers: 1 GiB in float32.
_LOGITS = 1 << 28


def batches_by_length(lengths: Sequence[int], tokens_per_batch: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, of at most `tokens_per_batch` tokens with padding, at least one each."""
    batch: list[int] = []
    width = 0
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        width = max(width, lengths[index])
        if batch and width * (len(batch) + 1) > tokens_per_batch:
            yield batch
            batch, width = [], lengths[index]
        batch.append(index)
    if batch:
        yield batch


def tokens_that_fit(tokens_per_batch: int, vocab_size: int, predicted: float = 1.0) -> int:
    """At most `tokens_per_batch`, and so few that the logits of the predicted share of them stay below 1 GiB."""
    return max(1, min(tokens_per_batch, int(_LOGITS / vocab_size / predicted)))


class Rows:
    """N rows of numbers of different lengths, held as one array, that are padded a batch at a time without a loop.

    Attributes:
        lengths: (N,) int64.
        starts: (N,) int64, where each row begins in `numbers`.
        numbers: (all,) int64, row after row.
    """

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.numbers = np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int64, count=int(self.lengths.sum()))

    def alike(self, numbers: np.ndarray) -> Rows:
        """Other numbers, (all,) int64, in rows of the same lengths."""
        other = copy.copy(self)
        other.numbers = numbers
        return other

    def padded(self, chosen: Sequence[int], value: int) -> torch.Tensor:
        """(B, L) int64: the chosen rows, as long as the longest, with `value` at the end of the others."""
        within = self.within(chosen).numpy()
        result = np.full(within.shape, value)
        places = self.starts[chosen][:, None] + np.arange(within.shape[1])
        result[within] = self.numbers[places[within]]
        return torch.from_numpy(result)

    def within(self, chosen: Sequence[int]) -> torch.Tensor:
        """(B, L) bool: where the chosen rows, padded, have numbers of their own."""
        lengths = self.lengths[chosen]
        return torch.from_numpy(np.arange(lengths.max(initial=0)) < lengths[:, None])


@contextlib.contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Without dropout inside, and as it was afterwards."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def longest_input(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens of the longest input, special tokens included, that both model and tokenizer take.

    RoBERTa and XLM-R number positions from pad_token_id + 1, so they take fewer tokens than they have positions.
    """
    limits = [tokenizer.model_max_length, positions_of(model)]
    return min(limit for limit in limits if limit is not None)


def positions_of(model: PreTrainedModel) -> int | None:
    """Tokens of the longest input that a model takes; None where it doesn't say."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and positions < 1:  # XLNet's -1
        return None
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return positions if positions is None or padding is None else positions - padding - 1


def input_length(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, wanted: int | None) -> int:
    """The wanted number of tokens, as far as model and tokenizer take it; all that they take by default."""
    longest = longest_input(model, tokenizer)
    return longest if wanted is None else min(wanted, longest)
