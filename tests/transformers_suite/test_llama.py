"""Transformers' own model tests on the classes of the family llama."""

from .testers import suite_of


TestSuite = suite_of("llama")
