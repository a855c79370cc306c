"""Retrieval of translations with the hidden states of a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .batching import batches_by_length, evaluation_mode, longest_input


# Cosines held at once.
_BLOCK = 1 << 24

@torch.no_grad()
def embed_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    layer: int,
    max_length: int | None = None,
    tokens_per_batch: int = 4096,
) -> torch.Tensor:
    """(N, D) float32: the mean, over a text's tokens without special tokens, of the hidden states after `layer` layers.

    The paper uses the eighth layer of twelve (section 4.3). Layer 0 is the embeddings. Longer texts are cut off at
    `max_length` tokens (default: the longest input of model and tokenizer).

    Raises:
        ValueError: a layer that the model doesn't have.
    """
    layers = model.config.num_hidden_layers
    if not 0 <= layer <= layers:
        raise ValueError(f"layer={layer}, but the model has layers 0 (the embeddings) to {layers}")
    device = next(model.parameters()).device
    max_length = max_length or longest_input(model, tokenizer)
    encoded = tokenizer(
        list(texts), truncation=True, max_length=max_length, return_special_tokens_mask=True, verbose=False
    )
    result: list[torch.Tensor | None] = [None] * len(texts)
    with evaluation_mode(model):
        for batch in batches_by_length([len(ids) for ids in encoded["input_ids"]], tokens_per_batch):
            padded = tokenizer.pad(
                {key: [encoded[key][i] for i in batch] for key in ("input_ids", "attention_mask")}, return_tensors="pt"
            )
            content = torch.zeros_like(padded["input_ids"])
            for row, index in enumerate(batch):
                special = encoded["special_tokens_mask"][index]
                content[row, : len(special)] = 1 - torch.tensor(special)
            output = model.base_model(
                input_ids=padded["input_ids"].to(device),
                attention_mask=padded["attention_mask"].to(device),
                output_hidden_states=True,
            )
            hidden = output.hidden_states[layer].float().cpu()
            weights = content.unsqueeze(-1).float()
            means = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
            for row, index in enumerate(batch):
                result[index] = means[row]
    return torch.stack(result)


def retrieval_accuracy(queries: torch.Tensor, candidates: torch.Tensor, *, k: int = 1) -> float:
    """Share of queries (N, D) whose own candidate, the row of the same number, is among the `k` of highest cosine.

    Chance is k / N. Ties count against the query.

    Raises:
        ValueError: other shapes than pairs have, or a k beyond N.
    """
    size = len(queries)
    if queries.shape != candidates.shape:
        raise ValueError(f"queries {tuple(queries.shape)} and candidates {tuple(candidates.shape)} must be pairs")
    if not 1 <= k <= size:
        raise ValueError(f"k={k} must lie between 1 and the number of candidates, {size}")
    return (retrieval_ranks(queries, candidates) < k).double().mean().item()


def retrieval_ranks(queries: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """(N,) int64: how many candidates come before a query's own, the row of the same number, by cosine.

    The search is exact, in blocks: no N x N matrix is held. Ties count against the query.

    Args:
        queries: (N, D).
        candidates: (N, D).
    """
    queries, candidates = (torch.nn.functional.normalize(rows.double(), dim=-1) for rows in (queries, candidates))
    ranks = torch.empty(len(queries), dtype=torch.int64)
    block = max(1, _BLOCK // max(len(candidates), 1))
    for start in range(0, len(queries), block):
        cosines = queries[start : start + block] @ candidates.T
        own = cosines.diagonal(offset=start).unsqueeze(1)
        ranks[start : start + block] = (cosines >= own).sum(1) - 1  # the own one counts once
    return ranks
