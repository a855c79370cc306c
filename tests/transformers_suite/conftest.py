"""Declare the markers that Transformers' own tests carry."""

from pathlib import Path

import pytest


MARKERS = """
accelerate_tests all_flash_attn_test bitsandbytes flash_attn_test flash_attn_3_test flash_attn_4_test generate
is_pipeline_test is_tensor_parallel_test is_training_test slow torch_compile_test torch_export_test
"""


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS.split():
        config.addinivalue_line("markers", f"{marker}: set by Transformers' own tests")


# The file of `make suite-report`, which runs everything.
REPORTS = Path(__file__).with_name("test_family.py")
# Long ones, of what is Transformers' own and alike in all classes: in the test-suite Llama's stand for the others.
ONCE = {"test_bc_torch_dtype": "test_llama.py", "test_training_overfit": "test_llama.py"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    again = [item for item in items if item.path.name != ONCE.get(item.name.partition("[")[0], item.path.name)]
    again = [item for item in again if item.path.parent == REPORTS.parent and item.path.name != REPORTS.name]
    if again:
        config.hook.pytest_deselected(items=again)
        items[:] = [item for item in items if item not in again]
