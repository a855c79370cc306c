"""Declare the markers that Transformers' own tests carry."""

import pytest


MARKERS = """
accelerate_tests all_flash_attn_test bitsandbytes flash_attn_test flash_attn_3_test flash_attn_4_test generate
is_pipeline_test is_tensor_parallel_test is_training_test slow torch_compile_test torch_export_test
"""


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS.split():
        config.addinivalue_line("markers", f"{marker}: set by Transformers' own tests")
