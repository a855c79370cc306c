"""Transformers' own model tests, imported from where `make test` unpacked them.

They are read from .venv/transformers-tests (tests/transformers_suite/fetch.py), or from the folder that the environment
variable TRANSFORMERS_TESTS names. The source distribution holds the shared tests (tests/test_*.py) but not the folders
beside them, so what `test_modeling_common` imports from those gets an empty stand-in here: the export tests and the
tests of `generate` are not part of the distribution and cannot run, for stock classes no more than for ours.
"""

import importlib
import importlib.util
import os
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest


PACKAGE = "transformers_own_tests"
FOLDER = Path(os.environ.get("TRANSFORMERS_TESTS", Path(sys.prefix, "transformers-tests")))

# The arguments that every PreTrainedConfig takes, each with a value that is not its default.
CONFIG_KWARGS = {
    "return_dict": False,
    "output_hidden_states": True,
    "output_attentions": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 5,
    "architectures": ["BertModel"],
    "id2label": {0: "label"},
    "label2id": {"label": "0"},
    "problem_type": "regression",
}


class ExportTesterMixin:
    """Stands in for the export tests, which the source distribution leaves out."""


class GenerationTesterMixin:
    """Stands in for the tests of `generate`, which the source distribution leaves out."""


def _stand_in(name: str, **attributes: object) -> None:
    package = f"{PACKAGE}.{name.rpartition('.')[0]}"
    sys.modules.setdefault(package, ModuleType(package)).__path__ = []
    module = ModuleType(f"{PACKAGE}.{name}")
    module.__dict__.update(attributes)
    sys.modules[module.__name__] = module


def load(name: str) -> ModuleType:
    """Import one file of Transformers' tests, `test_modeling_common` for example.

    Skips the calling test module where the files are missing or belong to another version of Transformers.
    """
    wanted, stamp = version("transformers"), FOLDER / "version.txt"
    if not Path(FOLDER, "tests", f"{name}.py").is_file():
        pytest.skip(f"Transformers' own tests are not in {FOLDER}; `make test` fetches them", allow_module_level=True)
    if stamp.is_file() and stamp.read_text() != wanted:
        reason = f"the tests in {FOLDER} are those of Transformers {stamp.read_text()}, installed is {wanted}"
        pytest.skip(reason, allow_module_level=True)
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE)
        package.__path__ = [str(FOLDER / "tests")]
        sys.modules[PACKAGE] = package
        _stand_in("exporters.test_export", ExportTesterMixin=ExportTesterMixin)
        _stand_in("generation.test_utils", GenerationTesterMixin=GenerationTesterMixin)
        _stand_in("utils.test_configuration_utils", config_common_kwargs=CONFIG_KWARGS)
    # test_configuration_common re-imports Transformers from a source tree; the installed one is the same here.
    with mock.patch("transformers.utils.direct_transformers_import", lambda path: sys.modules["transformers"]):
        return importlib.import_module(f"{PACKAGE}.{name}")
