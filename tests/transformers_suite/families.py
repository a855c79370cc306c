"""The families under test: which classes, and what their tiny configurations look like.

Each family names the stock classes and ours side by side, so that both run through the same tests with the same sizes.
The sizes are those that Transformers' own testers use for these models.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from transformers import PreTrainedConfig

import ofa_transformers
from ofa_transformers.models.modeling_ofa import FAMILIES as TABLE
from ofa_transformers.models.modeling_ofa import Family as Row


EMBEDDING_SIZE = 8
# Of encoder-decoders, classes that are encoders: the tests expect a decoder's output of all classes of a family.
ENCODERS_OF_PAIRS = ("EncoderModel", "ForTokenClassification")
_SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_ENCODER = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 16,
    "initializer_range": 0.02,
}
_DECODER = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 37,
    "hidden_act": "silu",
    "max_position_embeddings": 512,
    "initializer_range": 0.02,
    **_SPECIAL,
}
_GEMMA = {**_DECODER, "head_dim": 8, "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 4}
_T5 = {
    "vocab_size": 99,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 37,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "dropout_rate": 0.1,
    "initializer_factor": 0.002,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}
_BART = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 37,
    "decoder_ffn_dim": 37,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "max_position_embeddings": 64,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "decoder_start_token_id": 2,
    **_SPECIAL,
}
# By the folder of the family in Transformers.
SIZES: dict[str, dict[str, object]] = {
    "xlm_roberta": _ENCODER,
    "bert": _ENCODER,
    "modernbert": {
        **{name: value for name, value in _ENCODER.items() if "dropout" not in name and name != "type_vocab_size"},
        "hidden_activation": "gelu",
        "cls_token_id": 1,
        "sep_token_id": 2,
        **_SPECIAL,
    },
    "distilbert": {
        "vocab_size": 99,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 37,
        "max_position_embeddings": 512,
    },
    "deberta_v2": {
        **_ENCODER,
        "relative_attention": False,
        "position_biased_input": True,
        "pos_att_type": "None",
    },
    "eurobert": {**_DECODER, "mask_token_id": 3},
    "electra": {**_ENCODER, "embedding_size": 16},
    "albert": {**_ENCODER, "embedding_size": 16, "num_hidden_groups": 2},
    "gpt2": {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, **_SPECIAL},
    "llama": _DECODER,
    "mistral": _DECODER,
    "qwen2": _DECODER,
    "qwen3": {**_DECODER, "head_dim": 8},
    "gemma2": _GEMMA,
    "gemma3": _GEMMA,
    "phi3": _DECODER,
    "olmo2": _DECODER,
    "smollm3": _DECODER,
    "granite": _DECODER,
    "t5": _T5,
    "mt5": _T5,
    "umt5": _T5,
    "mbart": _BART,
    "m2m_100": _BART,
}


@dataclass(frozen=True)
class Family:
    """A row of the table of families, with the sizes of its tiny configuration."""

    row: Row

    @property
    def sizes(self) -> dict[str, object]:
        """The fields of both configurations."""
        return SIZES[self.row.module]

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether the models take input of a decoder, too."""
        return "ForConditionalGeneration" in self.row.heads

    def config_class(self, which: str) -> type[PreTrainedConfig]:
        """The configuration class of `which`, "stock" or "ours"."""
        ours = getattr(ofa_transformers, self.row.name(self.row.config))
        return ours.__mro__[2] if which == "stock" else ours

    def model_classes(self, which: str) -> dict[str, type]:
        """The model classes of `which` by the ending of their name."""
        heads = [head for head in self.row.heads if not (self.is_encoder_decoder and head in ENCODERS_OF_PAIRS)]
        ours = {head: getattr(ofa_transformers, self.row.name(head)) for head in heads}
        return {head: cls.dense_class for head, cls in ours.items()} if which == "stock" else ours

    def config(self, which: str) -> PreTrainedConfig:
        """A tiny configuration; ours differs from the stock one in the size of the factors alone."""
        config_class = self.config_class(which)
        extra = {} if which == "stock" else {config_class.size_field: EMBEDDING_SIZE}
        return config_class(**self.sizes, **extra)


FAMILIES = {row.module: Family(row) for row in TABLE}


def under_test() -> str:
    """Which classes run: "ours", or "stock" where compare.py asks for the baseline."""
    which = os.environ.get("SUITE_CLASSES", "ours")
    if which not in ("ours", "stock"):
        raise ValueError(f"SUITE_CLASSES must be 'ours' or 'stock', not {which!r}")
    return which
