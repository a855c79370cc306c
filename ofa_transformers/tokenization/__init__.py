"""Target tokenizers: train new ones."""

from .train import train_tokenizer


__all__ = ["train_tokenizer"]
