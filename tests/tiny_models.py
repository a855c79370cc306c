"""Tiny configurations of every family that factorizes."""

from typing import Any

import torch
from transformers import PreTrainedModel

import ofa_transformers as ofa


VOCAB_SIZE, HIDDEN_SIZE, EMBEDDING_SIZE = 120, 32, 8

_COMMON = {"vocab_size": VOCAB_SIZE, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
_SIZES = {
    **_COMMON,
    "hidden_size": HIDDEN_SIZE,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
_DECODER = {**_SIZES, "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True}

CONFIGS: dict[str, tuple[type, dict[str, Any]]] = {
    "xlm-roberta": (ofa.OfaConfig, {**_SIZES, "type_vocab_size": 1}),
    "bert": (ofa.OfaBertConfig, _SIZES),
    "modernbert": (ofa.OfaModernBertConfig, {**_SIZES, "global_attn_every_n_layers": 2, "local_attention": 8}),
    "gpt2": (ofa.OfaGPT2Config, {**_COMMON, "n_embd": HIDDEN_SIZE, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "llama": (ofa.OfaLlamaConfig, _DECODER),
    "mistral": (ofa.OfaMistralConfig, _DECODER),
    "qwen3": (ofa.OfaQwen3Config, _DECODER),
}
LM_HEADS = {
    "xlm-roberta": ofa.OfaForMaskedLM,
    "bert": ofa.OfaBertForMaskedLM,
    "modernbert": ofa.OfaModernBertForMaskedLM,
    "gpt2": ofa.OfaGPT2LMHeadModel,
    "llama": ofa.OfaLlamaForCausalLM,
    "mistral": ofa.OfaMistralForCausalLM,
    "qwen3": ofa.OfaQwen3ForCausalLM,
}
FAMILY_NAMES = tuple(CONFIGS)


def make_config(family: str, **changes: Any) -> Any:
    """A configuration of two layers, factorized to `EMBEDDING_SIZE` unless `changes` say otherwise."""
    config_class, fields = CONFIGS[family]
    return config_class(**{"embedding_size": EMBEDDING_SIZE, **fields, **changes})


def make_model(family: str, **changes: Any) -> PreTrainedModel:
    """A random language model of `make_config`, in evaluation mode."""
    torch.manual_seed(0)
    return LM_HEADS[family](make_config(family, **changes)).eval()


def make_batch(vocab_size: int = VOCAB_SIZE) -> dict[str, torch.Tensor]:
    """Two sequences of eleven tokens, of which some are labelled."""
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(5, vocab_size, (2, 11), generator=generator)
    labels = torch.where(torch.rand(2, 11, generator=generator) < 0.4, input_ids, -100)
    return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), "labels": labels}
