"""OFA for Transformers: adapt a pretrained model to many languages by extending its vocabulary (arXiv 2311.08849).

Importing the package registers its configurations and models with the Auto classes of Transformers. It imports neither
torch nor Transformers itself: what is registered, and every name below, is imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .models import registration as _registration  # noqa: F401  (registers)


if TYPE_CHECKING:
    from .initialization.initializer import OfaInitializer
    from .initialization.mapping.token_mapping import TokenMapping
    from .models.configuration_ofa import (
        OfaBertConfig,
        OfaConfig,
        OfaGPT2Config,
        OfaLlamaConfig,
        OfaMistralConfig,
        OfaModernBertConfig,
        OfaQwen3Config,
    )
    from .models.factorization import factorize
    from .models.modeling_ofa import (
        FactorizedEmbedding,
        FactorizedLinear,
        OfaBertForMaskedLM,
        OfaBertForMultipleChoice,
        OfaBertForNextSentencePrediction,
        OfaBertForPreTraining,
        OfaBertForQuestionAnswering,
        OfaBertForSequenceClassification,
        OfaBertForTokenClassification,
        OfaBertLMHeadModel,
        OfaBertModel,
        OfaForCausalLM,
        OfaForMaskedLM,
        OfaForMultipleChoice,
        OfaForQuestionAnswering,
        OfaForSequenceClassification,
        OfaForTokenClassification,
        OfaGPT2ForQuestionAnswering,
        OfaGPT2ForSequenceClassification,
        OfaGPT2ForTokenClassification,
        OfaGPT2LMHeadModel,
        OfaGPT2Model,
        OfaLlamaForCausalLM,
        OfaLlamaForQuestionAnswering,
        OfaLlamaForSequenceClassification,
        OfaLlamaForTokenClassification,
        OfaLlamaModel,
        OfaMistralForCausalLM,
        OfaMistralForQuestionAnswering,
        OfaMistralForSequenceClassification,
        OfaMistralForTokenClassification,
        OfaMistralModel,
        OfaModel,
        OfaModernBertForMaskedLM,
        OfaModernBertForMultipleChoice,
        OfaModernBertForQuestionAnswering,
        OfaModernBertForSequenceClassification,
        OfaModernBertForTokenClassification,
        OfaModernBertModel,
        OfaQwen3ForCausalLM,
        OfaQwen3ForQuestionAnswering,
        OfaQwen3ForSequenceClassification,
        OfaQwen3ForTokenClassification,
        OfaQwen3Model,
    )
    from .vectors import WordVectors
    from .workflows import adapt_and_train

__version__ = "0.1.0"

__all__ = [
    "FactorizedEmbedding",
    "FactorizedLinear",
    "OfaBertConfig",
    "OfaBertForMaskedLM",
    "OfaBertForMultipleChoice",
    "OfaBertForNextSentencePrediction",
    "OfaBertForPreTraining",
    "OfaBertForQuestionAnswering",
    "OfaBertForSequenceClassification",
    "OfaBertForTokenClassification",
    "OfaBertLMHeadModel",
    "OfaBertModel",
    "OfaConfig",
    "OfaForCausalLM",
    "OfaForMaskedLM",
    "OfaForMultipleChoice",
    "OfaForQuestionAnswering",
    "OfaForSequenceClassification",
    "OfaForTokenClassification",
    "OfaGPT2Config",
    "OfaGPT2ForQuestionAnswering",
    "OfaGPT2ForSequenceClassification",
    "OfaGPT2ForTokenClassification",
    "OfaGPT2LMHeadModel",
    "OfaGPT2Model",
    "OfaInitializer",
    "OfaLlamaConfig",
    "OfaLlamaForCausalLM",
    "OfaLlamaForQuestionAnswering",
    "OfaLlamaForSequenceClassification",
    "OfaLlamaForTokenClassification",
    "OfaLlamaModel",
    "OfaMistralConfig",
    "OfaMistralForCausalLM",
    "OfaMistralForQuestionAnswering",
    "OfaMistralForSequenceClassification",
    "OfaMistralForTokenClassification",
    "OfaMistralModel",
    "OfaModel",
    "OfaModernBertConfig",
    "OfaModernBertForMaskedLM",
    "OfaModernBertForMultipleChoice",
    "OfaModernBertForQuestionAnswering",
    "OfaModernBertForSequenceClassification",
    "OfaModernBertForTokenClassification",
    "OfaModernBertModel",
    "OfaQwen3Config",
    "OfaQwen3ForCausalLM",
    "OfaQwen3ForQuestionAnswering",
    "OfaQwen3ForSequenceClassification",
    "OfaQwen3ForTokenClassification",
    "OfaQwen3Model",
    "TokenMapping",
    "WordVectors",
    "adapt_and_train",
    "factorize",
]

# Where they come from; what is not here comes from `models.modeling_ofa`.
_MODULE_OF = {
    "OfaInitializer": "initialization.initializer",
    "TokenMapping": "initialization.mapping",
    "WordVectors": "vectors",
    "adapt_and_train": "workflows",
    "factorize": "models.factorization",
    **{name: "models.configuration_ofa" for name in __all__ if name.endswith("Config")},
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_MODULE_OF.get(name, 'models.modeling_ofa')}", __name__)
    globals()[name] = value = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
