"""Transformers' own model tests on the BERT classes."""

import unittest

from . import upstream
from .families import BERT
from .testers import ModelSuite


common = upstream.load("test_modeling_common")


class TestBertSuite(
    ModelSuite,
    common.ModelTesterMixin,
    upstream.GenerationTesterMixin,
    unittest.TestCase,
):
    family = BERT
