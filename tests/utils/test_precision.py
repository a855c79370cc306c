"""Which processors multiply bfloat16."""

import pytest
import torch

from ofa_transformers.utils import precision
from ofa_transformers.utils.precision import cpu_multiplies_bfloat16, multiplies_bfloat16


@pytest.mark.parametrize(
    ("capabilities", "able"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({"neon": True, "bf16": False}, False),
    ],
)
def test_by_what_pytorch_says_of_the_processor(monkeypatch, capabilities, able):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda: False, raising=False)
    assert cpu_multiplies_bfloat16() is able


def test_older_pytorch_is_asked_by_its_own_names(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert cpu_multiplies_bfloat16() is True


@pytest.mark.parametrize("cpu", [True, False])
def test_a_gpu_is_asked_where_there_is_one(monkeypatch, cpu):
    monkeypatch.setattr(precision, "cpu_multiplies_bfloat16", lambda: cpu)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert multiplies_bfloat16() is cpu
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for able in (True, False):  # an older card emulates it
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, able=able: able)
        assert multiplies_bfloat16() is able and multiplies_bfloat16(use_cpu=True) is cpu
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not multiplies_bfloat16()  # another kind of card
