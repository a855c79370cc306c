"""Transformers' own model tests on the XLM_ROBERTA classes."""

import unittest

from . import upstream
from .families import XLM_ROBERTA
from .testers import ModelSuite


common = upstream.load("test_modeling_common")


class TestXLMRobertaSuite(
    ModelSuite,
    common.ModelTesterMixin,
    upstream.GenerationTesterMixin,
    unittest.TestCase,
):
    family = XLM_ROBERTA
