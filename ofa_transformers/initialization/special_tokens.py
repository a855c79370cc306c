"""Special token ids of the configurations, as the target tokenizer has them, and positions that count from the pad id."""

from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .mapping import TokenKind, TokenMapping


# Pad ids up to this shift the positions of a RoBERTa style model; beyond, its table would be mostly empty.
_LARGEST_PAD_ID = 64


def set_special_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, mapping: TokenMapping) -> None:
    """Special token ids of the configurations, as the target tokenizer has them, and what depends on the pad id.

    Raises:
        ValueError: a pad id that a RoBERTa style model can't count its positions from.
    """
    text_config = model.config.get_text_config()
    old_pad = getattr(text_config, "pad_token_id", None)
    targets = np.isin(mapping.kinds, (TokenKind.COPIED, TokenKind.SPECIAL)).nonzero()[0]
    coo = mapping.weights[targets].tocoo()
    by_source = dict(zip(coo.col.tolist()[::-1], targets[coo.row].tolist()[::-1]))

    def new_id(name: str, old: Any) -> Any:
        if isinstance(old, (list, tuple)):
            return [new for new in (by_source.get(index) for index in old) if new is not None] or None
        own = getattr(tokenizer, name, None)
        return own if own is not None or not isinstance(old, int) else by_source.get(old)

    configs = [model.config, text_config, getattr(model, "generation_config", None)]
    for config in {id(c): c for c in configs if c is not None}.values():
        for name in [key for key in config.to_dict() if key.endswith("_token_id")]:
            old = getattr(config, name)
            # A decoder without a pad token stays one: batches decide, not we.
            if old is not None or name in ("bos_token_id", "eos_token_id", "pad_token_id"):
                setattr(config, name, new_id(name, old))
    _set_padding(model, old_pad, getattr(text_config, "pad_token_id", None))


def _set_padding(model: PreTrainedModel, old_pad: int | None, new_pad: int | None) -> None:
    embeddings = model.get_input_embeddings()
    if embeddings.padding_idx is not None:
        embeddings.padding_idx = new_pad
    if old_pad == new_pad:
        return
    for module in model.modules():
        # RoBERTa style models count positions from the pad id, in the ids as in the table.
        if not hasattr(module, "create_position_ids_from_input_ids") or not hasattr(module, "padding_idx"):
            continue
        if new_pad is None or new_pad > _LARGEST_PAD_ID:
            raise ValueError(
                f"target_tokenizer: its pad token has the id {new_pad}, but {type(model).__name__} counts positions "
                f"from it, and needs one of 0 to {_LARGEST_PAD_ID}. Give the tokenizer a pad token with a low id (the "
                f"source's has {old_pad})."
            )
        old = module.position_embeddings.weight.detach()
        positions = old[old_pad + 1 :]
        table = old.new_zeros(new_pad + 1 + len(positions), old.shape[1])
        table[new_pad + 1 :] = positions
        module.position_embeddings = nn.Embedding.from_pretrained(table, freeze=False, padding_idx=new_pad)
        module.padding_idx = new_pad
        module.position_ids = torch.arange(len(table), device=old.device).expand((1, -1))
        module.token_type_ids = torch.zeros_like(module.position_ids)
        model.config.max_position_embeddings = len(table)
