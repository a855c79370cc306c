"""Step 5, put together: the model with its new rows, and a tokenizer that fits it."""

import copy
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models.embeddings import factorized_model, with_new_embeddings
from ..scoring.batching import longest_input
from .inputs import Source
from .mapping.token_mapping import TokenMapping
from .proof import take_reference
from .rows import TargetRows


def put_together(
    source: Source, mapping: TokenMapping, made: TargetRows, bias: torch.Tensor | None, carried: bool
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The adapted model: the source's own at full size, else the Ofa* class with its body.

    Args:
        bias: (V_t,), of the head; `carried` says whether copied tokens have theirs from the source.

    Returns:
        The model, and the proof that it gives what the source gives for text of copied tokens; see [`Reference.prove`].

    Raises:
        RuntimeError: it doesn't, or isn't what its configuration constructs.
    """
    reference = take_reference(source, mapping, made, bias, carried)
    source.special.apply(source.model)
    if not made.primitives:
        model = with_new_embeddings(source.model, source.embeddings, made.rows, bias, made.others)
    else:
        size = len(made.primitives["input"])
        model = factorized_model(source.model, source.embeddings, made.rows, made.primitives, bias, made.others, size)
    return model, reference.prove(model)


def limited_tokenizer(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer, or a copy of it that truncates to the model's positions where its own limit is beyond them."""
    longest = longest_input(model, tokenizer)
    if longest >= tokenizer.model_max_length:
        return tokenizer
    limited = copy.copy(tokenizer)
    limited.model_max_length = longest
    limited.init_kwargs = {**tokenizer.init_kwargs, "model_max_length": longest}
    return limited
