"""Transformers' own model tests on the classes of the family that `compare.py` asks for."""

import os

import pytest

from .testers import suite_of


if "SUITE_FAMILY" not in os.environ:
    pytest.skip("`make suite-report` runs it for every family", allow_module_level=True)

TestSuite = suite_of(os.environ["SUITE_FAMILY"])
