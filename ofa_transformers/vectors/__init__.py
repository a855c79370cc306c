"""Aligned multilingual word vectors: read, write, build."""

from .dictionaries import Dictionary
from .word_vectors import WordVectors


__all__ = ["Dictionary", "WordVectors"]
