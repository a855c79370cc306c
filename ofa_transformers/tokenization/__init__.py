"""Target tokenizers: train new ones, extend and trim existing ones, measure them."""

from ..text.corpus import DatasetText, TextFile
from .changes import TokenizationChange, measure_changes
from .extend import extend_tokenizer
from .fertility import Fertility, FertilityReport, measure_fertility
from .language_codes import add_language_codes
from .normalization import MergedWords, measure_merged_words
from .saving import save_tokenizer
from .train import train_tokenizer
from .trim import trim_tokenizer


__all__ = [
    "DatasetText",
    "Fertility",
    "FertilityReport",
    "MergedWords",
    "TextFile",
    "TokenizationChange",
    "add_language_codes",
    "extend_tokenizer",
    "measure_changes",
    "measure_fertility",
    "measure_merged_words",
    "save_tokenizer",
    "train_tokenizer",
    "trim_tokenizer",
]
