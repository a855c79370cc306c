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
"""Models whose token embeddings are factorized, E ≈ F P (OFA, Liu et al., 2024, section 3.1).

Each Ofa class is a stock Transformers class with `OfaPreTrainedMixin`, made from the table in `families_ofa.py`. The file
travels to the Hub as remote code, and imports only torch, transformers and the other `*_ofa.py` files.
"""

import functools
import importlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.models.auto import modeling_auto

from .configuration_ofa import CONFIG_CLASSES
from .families_ofa import FAMILIES as ROWS
from .families_ofa import Family as Row
from .loss_ofa import SECOND_TASKS, blocked_cross_entropy, with_language_modelling_loss
from .mixin_ofa import OfaPreTrainedMixin, swap_prefix
from .modules_ofa import FactorizedEmbedding, FactorizedLinear


class Family(Row):
    """A row of the table, with the classes that it names."""

    @property
    def config_class(self) -> type:
        """Our configuration."""
        return next(cls for cls in CONFIG_CLASSES if cls.__name__ == self.name(self.config))

    @property
    def stock_module(self) -> ModuleType:
        """Where the stock classes are."""
        return importlib.import_module(f"transformers.models.{self.module}.modeling_{self.module}")

    @functools.cached_property
    def classes(self) -> dict[str, type[PreTrainedModel]]:
        """Stock class name -> Ofa class, for all stock names that lead to this family."""
        stock_names = (self.stock, *(stock for stock, _ in self.aliases))
        return {stock + head: globals()[self.name(head)] for stock in stock_names for head in self.heads}

    @functools.cached_property
    def auto_classes(self) -> dict[str, type[PreTrainedModel]]:
        """Name of an Auto class -> the Ofa class that it gives, as the stock family is mapped."""
        stock_config_class = self.config_class.__mro__[2]
        pairs = {}
        for name in modeling_auto.__all__:
            mapping = getattr(getattr(modeling_auto, name), "_model_mapping", None)
            stock_class = mapping.get(stock_config_class, None) if mapping is not None else None
            if (stock_class := getattr(stock_class, "__name__", None)) in self.classes:
                pairs[name] = self.classes[stock_class]
        return pairs

    @property
    def auto_map(self) -> dict[str, str]:
        """The `auto_map` of a configuration whose code lies beside it: Auto class -> file and class."""
        named = {"AutoConfig": self.config_class, **self.auto_classes}
        return {name: f"{cls.__module__.rsplit('.', 1)[-1]}.{cls.__name__}" for name, cls in named.items()}


FAMILIES: tuple[Family, ...] = tuple(Family(**vars(row)) for row in ROWS)

# How the names of language models end -> whether a position predicts the next token.
_LANGUAGE_MODELS = {
    "ForMaskedLM": False,
    "ForPreTraining": False,
    "ForConditionalGeneration": False,
    "ForCausalLM": True,
    "LMHeadModel": True,
}


def _predicts_the_next(stock_class: type, head: str) -> bool | None:
    """As above; None for a class that is no language model: ELECTRA's discriminator, for example."""
    if head == "ForPreTraining" and not SECOND_TASKS.keys() & inspect.signature(stock_class.forward).parameters.keys():
        return None
    return _LANGUAGE_MODELS.get(head)


def _on_settled_embeddings(function: Callable) -> Callable:
    @functools.wraps(function)
    def settled(self: OfaPreTrainedMixin, *args: Any, **kwargs: Any) -> Any:
        self.settle_embeddings()
        return function(self, *args, **kwargs)

    return settled


def _seq2seq_methods(stock_class: type, module: ModuleType) -> dict[str, Callable]:
    def prepare_decoder_input_ids_from_labels(self: PreTrainedModel, labels: torch.Tensor) -> torch.Tensor:
        """The labels, shifted to the right, as input of the decoder."""
        return module.shift_tokens_right(labels, self.config.pad_token_id, self.config.decoder_start_token_id)

    methods = {"generate": _on_settled_embeddings(stock_class.generate)}  # it calls the encoder, not the model
    if not hasattr(stock_class, prepare_decoder_input_ids_from_labels.__name__):
        methods[prepare_decoder_input_ids_from_labels.__name__] = prepare_decoder_input_ids_from_labels
    return methods


def _deberta_methods(stock_class: type) -> dict[str, Callable]:
    def get_output_embeddings(self: PreTrainedModel) -> torch.nn.Module:
        # The stock class calls the dense layer of DeBERTa-v3's head its output embeddings.
        return stock_class.get_output_embeddings(self) if self.legacy else self.lm_predictions.lm_head.decoder

    return {"get_output_embeddings": get_output_embeddings}


def _make_class(family: Family, head: str) -> type[PreTrainedModel]:
    module = family.stock_module
    stock_class = getattr(module, family.stock + head)
    name = family.name(head)
    base_prefix = next(
        cls for cls in stock_class.__mro__ if cls.__name__.endswith("PreTrainedModel")
    ).base_model_prefix
    namespace = {
        "__module__": __name__,
        "__qualname__": name,
        "__doc__": f"[`{stock_class.__name__}`] with factorized token embeddings; see [`{family.config_class.__name__}`].",
        "config_class": family.config_class,
        # Some stock heads have a prefix of their own, and then lose the body of a language model when they load it.
        "base_model_prefix": base_prefix,
        "family": family,
        "dense_class": stock_class,
    }
    forward, predicts_the_next = stock_class.forward, _predicts_the_next(stock_class, head)
    if predicts_the_next is not None:
        forward = with_language_modelling_loss(forward, shifted=predicts_the_next)
    if predicts_the_next is None or head == "ForPreTraining":
        # Stock losses of these heads ignore `num_items_in_batch`; Trainer then divides by the accumulation steps itself.
        namespace["accepts_loss_kwargs"] = False
    namespace["forward"] = _on_settled_embeddings(forward)
    if head == "ForConditionalGeneration":
        namespace |= _seq2seq_methods(stock_class, module)
    if name == "OfaDebertaV2ForMaskedLM":
        namespace |= _deberta_methods(stock_class)
    return type(name, (OfaPreTrainedMixin, stock_class), namespace)


__all__ = [
    "FAMILIES",
    "FactorizedEmbedding",
    "FactorizedLinear",
    "OfaPreTrainedMixin",
    "blocked_cross_entropy",
    "swap_prefix",
]

for _family in FAMILIES:
    for _head in _family.heads:
        _class = _make_class(_family, _head)
        _class.base_class = globals()[_family.name(_family.heads[0])] if _head != _family.heads[0] else _class
        globals()[_class.__name__] = _class
        __all__.append(_class.__name__)
