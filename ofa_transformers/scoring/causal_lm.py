"""Held-out loss of a decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .batching import batches_by_length, evaluation_mode, input_length, tokens_that_fit
from .masked_lm import MaskedLMScore


@torch.no_grad()
def score_causal_lm(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    max_length: int | None = None,
    tokens_per_batch: int = 4096,
) -> list[MaskedLMScore]:
    """Score each text with every token predicted from those before it; the first from the bos (or else eos) token.

    Args:
        model: a decoder with a language-modelling head.
        tokenizer: its tokenizer.
        texts: N texts. One longer than `max_length` is cut into windows, each scored by itself.
        max_length: tokens in a window; default: the longest input of model and tokenizer.
        tokens_per_batch: bound on the tokens, padding included, of one forward pass; with a large vocabulary there are
            fewer, so that the logits stay below 1 GiB.

    Returns:
        N scores.

    Raises:
        ValueError: a tokenizer with neither bos nor eos token.
    """
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if start is None:
        raise ValueError("the tokenizer has neither a bos nor an eos token to predict the first token from")
    device = next(model.parameters()).device
    room = input_length(model, tokenizer, max_length) - 1
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []
    windows = [
        (number, [start, *ids[first : first + room]])
        for number, ids in enumerate(encoded)
        for first in range(0, len(ids), room)
    ]
    tokens = tokens_that_fit(tokens_per_batch, model.config.get_text_config().vocab_size)
    nats = torch.zeros(len(texts), dtype=torch.float64)
    with evaluation_mode(model):
        for batch in batches_by_length([len(ids) for _, ids in windows], tokens):
            chosen = [windows[i] for i in batch]
            width = max(len(ids) for _, ids in chosen)
            ids = torch.full((len(chosen), width), start)
            attention = torch.zeros_like(ids)
            for row, (_, window) in enumerate(chosen):
                ids[row, : len(window)] = torch.tensor(window)
                attention[row, : len(window)] = 1
            logits = model(input_ids=ids.to(device), attention_mask=attention.to(device)).logits[:, :-1]
            losses = torch.nn.functional.cross_entropy(
                logits.float().transpose(1, 2), ids[:, 1:].to(device), reduction="none"
            )
            sums = (losses.double().cpu() * attention[:, 1:]).sum(1)
            nats.index_add_(0, torch.tensor([number for number, _ in chosen]), sums)
    return [
        MaskedLMScore(nats=float(nats[i]), tokens=len(encoded[i]), characters=len(text))
        for i, text in enumerate(texts)
    ]
