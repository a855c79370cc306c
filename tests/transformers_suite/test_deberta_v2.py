"""Transformers' own model tests on the classes of the family deberta_v2."""

from .testers import suite_of


TestSuite = suite_of("deberta_v2")
