"""Tiny configurations of every family that factorizes."""

from typing import Any

import torch
from transformers import PreTrainedModel

import ofa_transformers as ofa
from ofa_transformers.models.families_ofa import FAMILIES


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

_T5 = {
    "vocab_size": VOCAB_SIZE,
    "d_model": HIDDEN_SIZE,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.0,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}
_BART = {
    **_COMMON,
    "d_model": HIDDEN_SIZE,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "scale_embedding": True,
    "dropout": 0.0,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "decoder_start_token_id": 2,
}
_TABLE_OF_ITS_OWN = {**_SIZES, "embedding_size": 16, "num_primitive": EMBEDDING_SIZE}
_DEBERTA = {
    **_SIZES,
    "num_primitive": EMBEDDING_SIZE,
    "relative_attention": True,
    "position_buckets": 4,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
}
_SLIDING = {"sliding_window": 8}

# Of each stock family, by its model type: what its configuration is made of.
_FIELDS: dict[str, dict[str, Any]] = {
    "xlm-roberta": {**_SIZES, "type_vocab_size": 1},
    "bert": _SIZES,
    "modernbert": {**_SIZES, "global_attn_every_n_layers": 2, "local_attention": 8},
    "distilbert": {**_COMMON, "dim": HIDDEN_SIZE, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "deberta-v2": _DEBERTA,
    "eurobert": {**_DECODER, "tie_word_embeddings": True, "mask_token_id": 3},
    "electra": _TABLE_OF_ITS_OWN,
    "albert": _TABLE_OF_ITS_OWN,
    "gpt2": {**_COMMON, "n_embd": HIDDEN_SIZE, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "llama": _DECODER,
    "mistral": _DECODER,
    "qwen2": {name: value for name, value in _DECODER.items() if name != "head_dim"},
    "qwen3": _DECODER,
    "gemma2": {**_DECODER, **_SLIDING, "query_pre_attn_scalar": 8, "final_logit_softcapping": 0.5},
    "gemma3_text": {**_DECODER, **_SLIDING, "query_pre_attn_scalar": 8},
    "phi3": {name: value for name, value in _DECODER.items() if name != "head_dim"},
    "olmo2": {name: value for name, value in _DECODER.items() if name != "head_dim"},
    "smollm3": {name: value for name, value in _DECODER.items() if name != "head_dim"},
    "granite": {
        **{name: value for name, value in _DECODER.items() if name != "head_dim"},
        "logits_scaling": 0.25,
        "embedding_multiplier": 2.0,
        "residual_multiplier": 0.5,
        "attention_multiplier": 0.3,
    },
    "t5": _T5,
    "mt5": _T5,
    "umt5": _T5,
    "mbart": _BART,
    "m2m_100": _BART,
}
_LANGUAGE_MODELS = ("ForMaskedLM", "ForConditionalGeneration", "ForCausalLM", "LMHeadModel")


def _classes_of(model_type: str) -> tuple[type, type]:
    """The configuration, and the language model, of ours for a stock family."""
    for family in FAMILIES:
        config_class = getattr(ofa, family.name(family.config))
        if model_type in config_class.stock_model_types:
            head = next(head for head in _LANGUAGE_MODELS if head in family.heads)
            return config_class, getattr(ofa, family.name(head))
    raise KeyError(model_type)


CONFIGS = {model_type: (_classes_of(model_type)[0], fields) for model_type, fields in _FIELDS.items()}
LM_HEADS = {model_type: _classes_of(model_type)[1] for model_type in _FIELDS}
FAMILY_NAMES = tuple(CONFIGS)
# One of each kind: what the table says of them differs, or what their forward passes do with embeddings and logits.
REPRESENTATIVES = ("xlm-roberta", "modernbert", "deberta-v2", "albert", "gpt2", "llama", "gemma2", "t5", "mbart")
DECODERS = tuple(name for name in FAMILY_NAMES if LM_HEADS[name].__name__.endswith(("ForCausalLM", "LMHeadModel")))
SEQ2SEQ = tuple(name for name in FAMILY_NAMES if LM_HEADS[name].__name__.endswith("ForConditionalGeneration"))


def make_config(family: str, **changes: Any) -> Any:
    """A configuration of two layers, factorized to `EMBEDDING_SIZE` unless `changes` say otherwise."""
    config_class, fields = CONFIGS[family]
    changes.setdefault("embedding_size", EMBEDDING_SIZE)
    changes[config_class.size_field] = changes.pop("embedding_size")
    return config_class(**{**fields, **changes})


def table_width(family: str) -> int:
    """D, the width of the embeddings."""
    return make_config(family).table_width


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


def without_labels(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The batch as input of a model that is to return logits alone: a decoder beside an encoder needs input, too."""
    batch = {name: value for name, value in batch.items() if name != "labels"}
    return {**batch, "decoder_input_ids": batch["input_ids"]} if model.config.is_encoder_decoder else batch
