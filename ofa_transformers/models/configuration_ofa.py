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

Every class is the configuration of a stock Transformers family with two more fields, made from the table in
`families_ofa.py`. The file travels to the Hub as remote code, and imports only transformers and that table.
"""

from typing import Any

import transformers
from transformers import XLMRobertaConfig

from .families_ofa import FAMILIES, Family


_FIELDS_DOC = """
    Args:
        {size_field} (`int`, *optional*):
            D', the number of columns of the coordinates F (V x D') and of rows of the primitives P (D' x D). Between 1
            and the width D of the embeddings. `None` leaves the embeddings unfactorized, as the stock model has them.
        sparse_prediction (`bool`, *optional*, defaults to `False`):
            Where labels are given, compute the language-modelling loss only at labelled positions and in blocks, so
            that the logits (positions x V) never exist: `loss` is the same, `logits` is `None`. The argument
            `sparse_prediction` of a call goes before this. It has this meaning in every family; the field of the same
            name in the stock ModernBERT configuration, where labels make `logits` those of the labelled positions, is
            neither read from stock configurations nor written to them.

    All other arguments are those of the stock configuration.{size_note}

    Raises:
        ValueError: if `{size_field}` is under 1 or over the width of the embeddings.
"""
_SIZE_NOTES = {
    "embedding_size": """ The field `num_primitive` of the authors' checkpoints is
    read as `embedding_size`.""",
    "num_primitive": """ Its own `embedding_size`
    stays what it is in the stock family, the width of the table.""",
}


def _fields_doc(size_field: str) -> str:
    return _FIELDS_DOC.format(size_field=size_field, size_note=_SIZE_NOTES[size_field])


class OfaConfigMixin:
    """What the Ofa configurations share: the check of the size, and the authors' configuration files.

    Whatever the size's field is called, `num_primitive` reads it.
    """

    size_field: str = "embedding_size"

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        size, width = self.num_primitive, self.table_width
        is_integer = isinstance(size, int) and not isinstance(size, bool)
        if size is not None and not (is_integer and 1 <= size <= width):
            raise ValueError(
                f"{self.size_field} must be an integer between 1 and {self._width_name}, {width}, but is {size!r}. Choose "
                "a number of primitives in that range, or None to keep the embeddings unfactorized."
            )
        # The stock attention modules leave this check out for every configuration that has an `embedding_size`.
        if not hasattr(self, "head_dim") and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size ({self.hidden_size}) is not a multiple of num_attention_heads "
                f"({self.num_attention_heads})."
            )

    @property
    def table_width(self) -> int:
        """D, the size of the vectors that the embeddings give."""
        own_size = getattr(self, "embedding_size", None) if self.size_field == "num_primitive" else None
        return own_size or self.hidden_size

    @property
    def _width_name(self) -> str:
        return "the embedding size" if self.table_width != self.hidden_size else "the hidden size"

    @classmethod
    def get_config_dict(cls, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        config_dict, kwargs = super().get_config_dict(*args, **kwargs)
        # A stock configuration (the authors' checkpoints say "xlm-roberta") is a valid start; only its name differs.
        if config_dict.get("model_type") in cls.stock_model_types:
            config_dict["model_type"] = cls.model_type
            config_dict.pop("sparse_prediction", None)  # stock ModernBERT means something else
        return config_dict, kwargs

    @classmethod
    def ofa_fields(cls) -> set[str]:
        """The fields that stock configurations of the family don't have, or mean differently."""
        return {cls.size_field, "sparse_prediction"}


class OfaConfig(OfaConfigMixin, XLMRobertaConfig):
    __doc__ = f"""Configuration of the XLM-R and RoBERTa style Ofa models, e.g. [`OfaForMaskedLM`].
{_fields_doc("embedding_size")}
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
    stock_model_types = ("xlm-roberta", "roberta")
    # The name that the authors' checkpoints use -> ours (the term of ALBERT and ELECTRA).
    attribute_map = {"num_primitive": "embedding_size"}

    embedding_size: int | None = None
    sparse_prediction: bool = False


def _make_class(family: Family) -> type:
    stock_class = getattr(transformers, family.stock + family.config)
    size_field = "num_primitive" if family.own_size else "embedding_size"
    aliases = {} if family.own_size else {"num_primitive": "embedding_size"}
    name = family.name(family.config)
    namespace = {
        "__module__": __name__,
        "__qualname__": name,
        "__doc__": f"Configuration of the {family.stock} style Ofa models.\n{_fields_doc(size_field)}",
        "__annotations__": {size_field: int | None, "sparse_prediction": bool},
        "model_type": f"ofa-{stock_class.model_type.replace('_', '-')}",
        "stock_model_types": (stock_class.model_type, *(model_type for _, model_type in family.aliases)),
        "attribute_map": {**stock_class.attribute_map, **aliases},
        "size_field": size_field,
        size_field: None,
        "sparse_prediction": False,
    }
    return type(name, (OfaConfigMixin, stock_class), namespace)


for _family in FAMILIES[1:]:
    globals()[_family.name(_family.config)] = _make_class(_family)

CONFIG_CLASSES: tuple[type, ...] = tuple(globals()[family.name(family.config)] for family in FAMILIES)

for _config_class in CONFIG_CLASSES:
    _config_class.register_for_auto_class()

__all__ = [config_class.__name__ for config_class in CONFIG_CLASSES]
