"""Target tokenizers: train new ones, extend existing ones, measure both."""

from .extend import extend_tokenizer
from .train import train_tokenizer


__all__ = ["extend_tokenizer", "train_tokenizer"]
