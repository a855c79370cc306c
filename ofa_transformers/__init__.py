"""OFA for Transformers: adapt a pretrained model to many languages by extending its vocabulary (arXiv 2311.08849).

Importing the package registers its configurations and models with the Auto classes of Transformers. It imports neither
torch nor Transformers itself: what is registered, and every name below, is imported on first use.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from wrapt import when_imported, wrap_function_wrapper

from .models import registration as _registration  # noqa: F401  (registers)
from .models.families_ofa import FAMILIES


if TYPE_CHECKING:
    from .initialization.initializer import OfaInitializer
    from .initialization.mapping.token_mapping import TokenMapping
    from .models.any_model import factorize_model, load_factorized
    from .models.factorization import factorize
    from .models.modules_ofa import FactorizedEmbedding, FactorizedLinear
    from .vectors import WordVectors
    from .workflows import adapt_and_train

__version__ = "0.1.0"

# The classes of the models are those of the families: `Ofa<family><head>`.
_OF_FAMILIES = {
    name: "models.configuration_ofa" if name.endswith("Config") else "models.modeling_ofa"
    for family in FAMILIES
    for name in family.names
}
_MODULE_OF = {
    "FactorizedEmbedding": "models.modules_ofa",
    "FactorizedLinear": "models.modules_ofa",
    "OfaInitializer": "initialization.initializer",
    "TokenMapping": "initialization.mapping",
    "WordVectors": "vectors",
    "adapt_and_train": "workflows",
    "factorize": "models.factorization",
    "factorize_model": "models.any_model",
    "load_factorized": "models.any_model",
    **_OF_FAMILIES,
}

__all__ = [
    "FactorizedEmbedding",
    "FactorizedLinear",
    "OfaInitializer",
    "TokenMapping",
    "WordVectors",
    "adapt_and_train",
    "factorize",
    "factorize_model",
    "load_factorized",
]
__all__ += list(_OF_FAMILIES)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_MODULE_OF[name]}", __name__)
    globals()[name] = value = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


@when_imported("transformers.trainer")
def _keep_cards(trainer: ModuleType) -> None:
    def create_model_card(*call: Any) -> None:
        from .report.trainer_card import create_model_card

        create_model_card(*call)

    wrap_function_wrapper(trainer, "Trainer.create_model_card", create_model_card)
