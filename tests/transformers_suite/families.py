"""The families under test: which classes, and what their tiny configurations look like.

Each family names the stock classes and ours side by side, so that both run through the same tests with the same sizes.
The sizes are those that Transformers' own testers use for these models.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass

import transformers
from transformers import PreTrainedConfig


ENCODER = {
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
DECODER = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 37,
    "hidden_act": "silu",
    "max_position_embeddings": 512,
    "initializer_range": 0.02,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEADS = ("ForCausalLM", "ForQuestionAnswering", "ForSequenceClassification", "ForTokenClassification")
ENCODER_HEADS = (*HEADS, "ForMaskedLM", "ForMultipleChoice")


@dataclass(frozen=True)
class Family:
    """One model family: its stock configuration and ours, its heads by the name of their Auto class."""

    name: str
    stock: str
    ours: str
    heads: tuple[str, ...]
    sizes: tuple[tuple[str, object], ...]
    embedding_size: int = 8

    def config_class(self, which: str) -> type[PreTrainedConfig]:
        """The configuration class of `which`, "stock" or "ours"."""
        if which == "stock":
            return getattr(transformers, self.stock)
        return getattr(importlib.import_module("ofa_transformers"), self.ours)

    def model_classes(self, which: str) -> dict[str, type]:
        """The model classes of `which` as the Auto classes find them, by head."""
        config_class = self.config_class(which)
        return {
            head: getattr(transformers, f"AutoModel{head}")._model_mapping[config_class] for head in ("", *self.heads)
        }

    def config(self, which: str) -> PreTrainedConfig:
        """A tiny configuration; ours differs from the stock one in `embedding_size` alone."""
        extra = {} if which == "stock" else {"embedding_size": self.embedding_size}
        return self.config_class(which)(**dict(self.sizes), **extra)


XLM_ROBERTA = Family("XLM-RoBERTa", "XLMRobertaConfig", "OfaConfig", ENCODER_HEADS, tuple(ENCODER.items()))
BERT = Family(
    "BERT",
    "BertConfig",
    "OfaBertConfig",
    (*ENCODER_HEADS, "ForNextSentencePrediction", "ForPreTraining"),
    tuple(ENCODER.items()),
)
LLAMA = Family("Llama", "LlamaConfig", "OfaLlamaConfig", HEADS, tuple(DECODER.items()))


def under_test() -> str:
    """Which classes run: "ours", or "stock" where compare.py asks for the baseline."""
    which = os.environ.get("SUITE_CLASSES", "ours")
    if which not in ("ours", "stock"):
        raise ValueError(f"SUITE_CLASSES must be 'ours' or 'stock', not {which!r}")
    return which
