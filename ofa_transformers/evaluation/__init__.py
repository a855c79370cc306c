"""Measures of multilingual models: the paper's tasks, masked-language-model loss, bits per character, retrieval.

What fine-tunes is imported when it is used: it needs more of Transformers, and an extra.
"""

from ..scoring.masked_lm import score_masked_lm
from ..scoring.score import MaskedLMScore
from ..scoring.sentences import embed_texts, retrieval_accuracy
from ..text.parallel import ParallelText, read_pair_datasets, read_pairs, read_segments_by_id
from .results import Measurement, group_means, model_index, read_json, to_csv, to_json
from .tables import to_markdown


__all__ = [
    "LabelledData",
    "MaskedLMScore",
    "Measurement",
    "ParallelText",
    "embed_texts",
    "evaluate_classification",
    "evaluate_perplexity",
    "evaluate_retrieval",
    "evaluate_tagging",
    "group_means",
    "model_index",
    "project_labels",
    "read_held_out",
    "read_json",
    "read_labelled_datasets",
    "read_labelled_files",
    "read_pair_datasets",
    "read_pairs",
    "read_segments_by_id",
    "retrieval_accuracy",
    "score_masked_lm",
    "to_csv",
    "to_json",
    "to_markdown",
    "write_card_results",
]

# Imported on first use: it needs more of Transformers, and an extra.
_LATER = {
    "LabelledData": "..text.labelled.examples",
    "evaluate_classification": ".classification",
    "evaluate_perplexity": ".perplexity",
    "evaluate_retrieval": ".sentence_retrieval",
    "evaluate_tagging": ".tagging",
    "project_labels": "..text.labelled.projection",
    "read_held_out": "..text.held_out",
    "read_labelled_datasets": "..text.labelled.files",
    "read_labelled_files": "..text.labelled.files",
    "write_card_results": ".card",
}


def __getattr__(name: str):
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
