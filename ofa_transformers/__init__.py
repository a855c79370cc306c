"""OFA for Transformers: adapt a pretrained model to many languages by extending its vocabulary (arXiv 2311.08849).

Importing the package registers its configurations and models with the Auto classes of Transformers.
"""

import importlib
from typing import TYPE_CHECKING, Any

import transformers

from .configuration_ofa import (
    OfaBertConfig,
    OfaConfig,
    OfaGPT2Config,
    OfaLlamaConfig,
    OfaMistralConfig,
    OfaModernBertConfig,
    OfaQwen3Config,
)
from .modeling_ofa import *  # noqa: F403  (the classes of the table)
from .modeling_ofa import FAMILIES, FactorizedEmbedding, FactorizedLinear


if TYPE_CHECKING:
    from .factorization import factorize
    from .initializer import OfaInitializer
    from .mapping import TokenMapping
    from .vectors import WordVectors

__version__ = "0.1.0"

# The initialisation side is imported on first use: loading a checkpoint needs none of it.
_LAZY = {
    "OfaInitializer": ".initializer",
    "TokenMapping": ".mapping",
    "WordVectors": ".vectors",
    "factorize": ".factorization",
}
_MODELS = [cls.__name__ for family in FAMILIES for cls in dict.fromkeys(family.classes.values())]

__all__ = [
    "FactorizedEmbedding",
    "FactorizedLinear",
    "OfaBertConfig",
    "OfaConfig",
    "OfaGPT2Config",
    "OfaInitializer",
    "OfaLlamaConfig",
    "OfaMistralConfig",
    "OfaModernBertConfig",
    "OfaQwen3Config",
    "TokenMapping",
    "WordVectors",
    "factorize",
    *_MODELS,
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


for _family in FAMILIES:
    transformers.AutoConfig.register(_family.config_class.model_type, _family.config_class, exist_ok=True)
    for _name, _class in _family.auto_classes.items():
        getattr(transformers, _name).register(_family.config_class, _class, exist_ok=True)
