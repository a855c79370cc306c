"""Aligned multilingual word vectors: read, write, build."""

from .word_vectors import WordVectors


__all__ = ["WordVectors"]
