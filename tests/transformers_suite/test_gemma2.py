"""Transformers' own model tests on the classes of the family gemma2."""

from .testers import suite_of


TestSuite = suite_of("gemma2")
