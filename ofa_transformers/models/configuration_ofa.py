# Copyright 2026 The ofa_transformers authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Configurations of models whose token embeddings are factorized, E ≈ F P (OFA, Liu et al., 2024, section 3.1).

Every class is the configuration of a stock Transformers family with two more fields. The file travels to the Hub beside
`modeling_ofa.py` as remote code, and imports only transformers.
"""

from typing import Any

from transformers import (
    BertConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    ModernBertConfig,
    Qwen3Config,
    XLMRobertaConfig,
)


# The fields that the Ofa configurations add.
OFA_FIELDS = ("embedding_size", "sparse_prediction")
# The name that the authors' checkpoints use -> ours (the term of ALBERT and ELECTRA).
_ATTRIBUTE_MAP = {"num_primitive": "embedding_size"}

_FIELDS_DOC = """
    Args:
        embedding_size (`int`, *optional*):
            D', the number of columns of the coordinates F (V x D') and of rows of the primitives P (D' x D). Between 1
            and the hidden size D. `None` leaves the embeddings unfactorized, as the stock model has them.
        sparse_prediction (`bool`, *optional*, defaults to `False`):
            Where labels are given, compute the language-modelling loss only at labelled positions and in blocks, so
            that the logits (positions x V) never exist: `loss` is the same, `logits` is `None`. The argument
            `sparse_prediction` of a call goes before this. It has this meaning in every family; the field of the same
            name in the stock ModernBERT configuration, where labels make `logits` those of the labelled positions, is
            neither read from stock configurations nor written to them.

    All other arguments are those of the stock configuration. The field `num_primitive` of the authors' checkpoints is
    read as `embedding_size`.

    Raises:
        ValueError: if `embedding_size` is under 1 or over the hidden size.
"""


class OfaConfigMixin:
    """What the Ofa configurations share: the check of `embedding_size`, and the authors' configuration files."""

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        size, hidden_size = self.embedding_size, self.hidden_size
        is_integer = isinstance(size, int) and not isinstance(size, bool)
        if size is not None and not (is_integer and 1 <= size <= hidden_size):
            raise ValueError(
                f"embedding_size must be an integer between 1 and the hidden size, {hidden_size}, but is {size!r}. Choose "
                "a number of primitives in that range, or None to keep the embeddings unfactorized."
            )
        # The stock attention modules leave this check out for every configuration that has an `embedding_size`.
        if not hasattr(self, "head_dim") and hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size ({hidden_size}) is not a multiple of num_attention_heads ({self.num_attention_heads})."
            )

    @classmethod
    def get_config_dict(cls, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        config_dict, kwargs = super().get_config_dict(*args, **kwargs)
        # A stock configuration (the authors' checkpoints say "xlm-roberta") is a valid start; only its name differs.
        if config_dict.get("model_type") in _STOCK_MODEL_TYPES.get(cls.model_type, ()):
            config_dict["model_type"] = cls.model_type
            config_dict.pop("sparse_prediction", None)  # stock ModernBERT means something else
        return config_dict, kwargs


class OfaConfig(OfaConfigMixin, XLMRobertaConfig):
    __doc__ = f"""Configuration of the XLM-R and RoBERTa style Ofa models, e.g. [`OfaForMaskedLM`].
{_FIELDS_DOC}
    Example:

    ```python
    >>> from ofa_transformers import OfaConfig, OfaForMaskedLM

    >>> model = OfaForMaskedLM(OfaConfig(vocab_size=1000, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
    ...                                  intermediate_size=128, embedding_size=16))
    >>> model.get_input_embeddings().weight.shape
    torch.Size([1000, 16])

    ```
    """
    model_type = "ofa"
    attribute_map = _ATTRIBUTE_MAP

    embedding_size: int | None = None
    sparse_prediction: bool = False


class OfaBertConfig(OfaConfigMixin, BertConfig):
    __doc__ = f"Configuration of the BERT style Ofa models.\n{_FIELDS_DOC}"
    model_type = "ofa-bert"
    attribute_map = _ATTRIBUTE_MAP

    embedding_size: int | None = None
    sparse_prediction: bool = False


class OfaModernBertConfig(OfaConfigMixin, ModernBertConfig):
    __doc__ = f"Configuration of the ModernBERT style Ofa models.\n{_FIELDS_DOC}"
    model_type = "ofa-modernbert"
    attribute_map = {**ModernBertConfig.attribute_map, **_ATTRIBUTE_MAP}

    embedding_size: int | None = None
    sparse_prediction: bool = False


class OfaGPT2Config(OfaConfigMixin, GPT2Config):
    __doc__ = f"Configuration of the GPT-2 style Ofa models.\n{_FIELDS_DOC}"
    model_type = "ofa-gpt2"
    attribute_map = {**GPT2Config.attribute_map, **_ATTRIBUTE_MAP}

    embedding_size: int | None = None
    sparse_prediction: bool = False


class OfaLlamaConfig(OfaConfigMixin, LlamaConfig):
    __doc__ = f"Configuration of the Llama style Ofa models.\n{_FIELDS_DOC}"
    model_type = "ofa-llama"
    attribute_map = {**LlamaConfig.attribute_map, **_ATTRIBUTE_MAP}

    embedding_size: int | None = None
    sparse_prediction: bool = False


class OfaMistralConfig(OfaConfigMixin, MistralConfig):
    __doc__ = f"Configuration of the Mistral style Ofa models.\n{_FIELDS_DOC}"
    model_type = "ofa-mistral"
    attribute_map = {**MistralConfig.attribute_map, **_ATTRIBUTE_MAP}

    embedding_size: int | None = None
    sparse_prediction: bool = False


class OfaQwen3Config(OfaConfigMixin, Qwen3Config):
    __doc__ = f"Configuration of the Qwen3 style Ofa models.\n{_FIELDS_DOC}"
    model_type = "ofa-qwen3"
    attribute_map = {**Qwen3Config.attribute_map, **_ATTRIBUTE_MAP}

    embedding_size: int | None = None
    sparse_prediction: bool = False


# The stock model types that an Ofa configuration can be read from.
_STOCK_MODEL_TYPES = {
    "ofa": ("xlm-roberta", "roberta"),
    "ofa-bert": ("bert",),
    "ofa-modernbert": ("modernbert",),
    "ofa-gpt2": ("gpt2",),
    "ofa-llama": ("llama",),
    "ofa-mistral": ("mistral",),
    "ofa-qwen3": ("qwen3",),
}

CONFIG_CLASSES = (
    OfaConfig,
    OfaBertConfig,
    OfaModernBertConfig,
    OfaGPT2Config,
    OfaLlamaConfig,
    OfaMistralConfig,
    OfaQwen3Config,
)

for _config_class in CONFIG_CLASSES:
    _config_class.register_for_auto_class()

__all__ = [config_class.__name__ for config_class in CONFIG_CLASSES]
