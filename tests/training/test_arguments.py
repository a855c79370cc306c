"""What the arguments of a run make of themselves, before it starts."""

import pytest


pytest.importorskip("datasets")

from ofa_transformers.training import PretrainingArguments
from ofa_transformers.utils import precision


@pytest.mark.parametrize("able", [True, False])
@pytest.mark.parametrize("asked", ["option", "accelerate"])
@pytest.mark.parametrize("use_cpu", [True, False])
def test_bfloat16_on_a_processor(tmp_path, monkeypatch, caplog, able, asked, use_cpu):
    """A run in it where the processor multiplies it, one in float32 and a line about it elsewhere."""
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    monkeypatch.setattr(precision, "cpu_multiplies_bfloat16", lambda: able)
    precision.logger.warning_once.cache_clear()
    if asked == "accelerate":
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    arguments = PretrainingArguments(output_dir=str(tmp_path), bf16=asked == "option", use_cpu=use_cpu)
    assert arguments.mixed_precision == ("bf16" if able else "no")
    assert arguments.bf16 == (able and asked == "option")
    said = [record.getMessage() for record in caplog.records if "no bfloat16 arithmetic" in record.getMessage()]
    assert len(said) == (not able) and all("float32" in line for line in said)


def test_bfloat16_on_a_gpu_is_left_to_it(monkeypatch):
    from ofa_transformers.training.arguments import configured_precision

    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    monkeypatch.setattr(precision, "cpu_multiplies_bfloat16", lambda: False)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert configured_precision(use_cpu=False) is None and configured_precision(use_cpu=True) == "no"
