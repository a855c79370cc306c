"""Transformers' own model tests on the classes of the family t5."""

from .testers import suite_of


TestSuite = suite_of("t5")
