"""Step 5, put together: the model with its new rows, and a tokenizer that fits it."""

import copy

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models.embeddings import factorized_model, with_new_embeddings
from ..scoring.batching import longest_input
from .inputs import Source
from .mapping.token_mapping import TokenMapping
from .rows import TargetRows
from .special_tokens import set_special_tokens


def put_together(
    source: Source,
    tokenizer: PreTrainedTokenizerBase,
    mapping: TokenMapping,
    made: TargetRows,
    bias: torch.Tensor | None,
) -> PreTrainedModel:
    """The adapted model: the source's own at full size, else the Ofa* class with its body.

    Raises:
        ValueError: a pad id that the source can't count its positions from.
    """
    set_special_tokens(source.model, tokenizer, mapping)
    if not made.primitives:
        return with_new_embeddings(source.model, source.embeddings, made.rows, bias)
    size = len(made.primitives["input"])
    return factorized_model(source.model, source.embeddings, made.rows, made.primitives, bias, size)


def limited_tokenizer(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer, or a copy of it that truncates to the model's positions where its own limit is beyond them."""
    longest = longest_input(model, tokenizer)
    if longest >= tokenizer.model_max_length:
        return tokenizer
    limited = copy.copy(tokenizer)
    limited.model_max_length = longest
    limited.init_kwargs = {**tokenizer.init_kwargs, "model_max_length": longest}
    return limited
