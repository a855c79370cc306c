"""Transformers' own model tests on the XLM_ROBERTA classes."""

import unittest

from . import upstream
from .families import XLM_ROBERTA
from .testers import ModelSuite


common = upstream.load("test_modeling_common")
training = upstream.load("test_training_mixin")


class TestXLMRobertaSuite(
    ModelSuite,
    common.ModelTesterMixin,
    training.TrainingTesterMixin,
    upstream.GenerationTesterMixin,
    unittest.TestCase,
):
    family = XLM_ROBERTA
