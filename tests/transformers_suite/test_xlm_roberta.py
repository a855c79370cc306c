"""Transformers' own model tests on the classes of the family xlm_roberta."""

from .testers import suite_of


TestSuite = suite_of("xlm_roberta")
