"""Transformers' own model tests on the classes of the family bert."""

from .testers import suite_of


TestSuite = suite_of("bert")
