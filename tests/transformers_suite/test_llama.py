"""Transformers' own model tests on the LLAMA classes."""

import unittest

from . import upstream
from .families import LLAMA
from .testers import ModelSuite


common = upstream.load("test_modeling_common")
training = upstream.load("test_training_mixin")


class TestLlamaSuite(
    ModelSuite,
    common.ModelTesterMixin,
    training.TrainingTesterMixin,
    upstream.GenerationTesterMixin,
    unittest.TestCase,
):
    family = LLAMA
