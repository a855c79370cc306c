"""Transformers' own model tests on the BERT classes."""

import unittest

from . import upstream
from .families import BERT
from .testers import ModelSuite


common = upstream.load("test_modeling_common")
training = upstream.load("test_training_mixin")


class TestBertSuite(
    ModelSuite,
    common.ModelTesterMixin,
    training.TrainingTesterMixin,
    upstream.GenerationTesterMixin,
    unittest.TestCase,
):
    family = BERT
