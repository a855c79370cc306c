"""What the measures share: batches of similar length, evaluation mode, the longest input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


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
    limits = [tokenizer.model_max_length]
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None:
        table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
        padding = getattr(table, "padding_idx", None)
        limits.append(positions if padding is None else positions - padding - 1)
    return min(limits)
