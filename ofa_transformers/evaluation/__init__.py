"""Measures of multilingual models: masked-language-model loss, bits per character, retrieval of translations."""

from .masked_lm import MaskedLMScore, score_masked_lm
from .retrieval import embed_texts, retrieval_accuracy


__all__ = ["MaskedLMScore", "embed_texts", "retrieval_accuracy", "score_masked_lm"]
