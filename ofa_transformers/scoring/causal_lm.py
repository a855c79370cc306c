"""Held-out loss of a decoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .batching import Rows, batches_by_length, evaluation_mode, input_length, tokens_that_fit
from .characters import Characters
from .framing import decoder_prefix, text_tokens
from .score import MaskedLMScore, check_fast, scores_of


@torch.no_grad()
def score_causal_lm(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    max_length: int | None = None,
    tokens_per_batch: int = 4096,
) -> list[MaskedLMScore]:
    """Score each text with every token predicted from those before it; the first from `decoder_prefix`, as in training.

    What the tokenizer can't write is charged at 8 bits a byte (`MaskedLMScore.bits`).

    Args:
        model: a decoder with a language-modelling head.
        tokenizer: its tokenizer, a fast one.
        texts: N texts. One longer than `max_length` is cut into windows, each scored by itself.
        max_length: tokens in a window; default: the longest input of model and tokenizer.
        tokens_per_batch: bound on the tokens, padding included, of one forward pass; with a large vocabulary there are
            fewer, so that the logits stay below 1 GiB.

    Returns:
        N scores.

    Raises:
        ValueError: a tokenizer that is slow, or has neither bos nor eos token.
    """
    check_fast(tokenizer)
    prefix = decoder_prefix(tokenizer)
    if not prefix:
        raise ValueError("the tokenizer has neither a bos nor an eos token to predict the first token from")
    if not texts:
        return []
    device = next(model.parameters()).device
    room = input_length(model, tokenizer, max_length) - len(prefix)
    content, spans_of = text_tokens(tokenizer, texts)
    parts = [
        (number, [*prefix, *ids[first : first + room]])
        for number, ids in enumerate(content)
        for first in range(0, len(ids), room)
    ]
    windows, text_of = Rows([ids for _, ids in parts]), np.array([number for number, _ in parts], dtype=np.int64)
    tokens = tokens_that_fit(tokens_per_batch, model.config.get_text_config().vocab_size)
    nats = torch.zeros(len(texts), dtype=torch.float64)
    with evaluation_mode(model):
        for batch in batches_by_length(windows.lengths.tolist(), tokens):
            ids, attention = windows.padded(batch, prefix[0]), windows.within(batch)
            logits = model(input_ids=ids.to(device), attention_mask=attention.long().to(device)).logits
            targets = ids[:, len(prefix) :]
            losses = torch.nn.functional.cross_entropy(
                logits[:, len(prefix) - 1 : -1].float().transpose(1, 2), targets.to(device), reduction="none"
            )
            sums = losses.cpu().double().masked_fill(~attention[:, len(prefix) :], 0).sum(1)
            nats.index_add_(0, torch.from_numpy(text_of[batch]), sums)
    predicted = Rows(content)
    spans = np.array([span for row in spans_of for span in row], dtype=np.int64).reshape(-1, 2)
    owner = np.repeat(np.arange(len(texts)), predicted.lengths)
    return scores_of(texts, Characters(texts), tokenizer, predicted.numbers, owner, spans, nats.numpy())
