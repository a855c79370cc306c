"""Whether bfloat16 is worth computing in."""

from __future__ import annotations

import torch
from transformers.utils import logging


logger = logging.get_logger(__name__)

# As PyTorch names them: of x86, and the last one of ARM. Its older releases have a function for each instead.
_CAPABILITIES = ("avx512_bf16", "amx_bf16", "bf16")
_PROBES = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def cpu_multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16; without them they take many times float32's."""
    if not torch.backends.mkldnn.is_available():
        return False
    found = getattr(torch.cpu, "get_capabilities", dict)()
    return any(found.get(name) for name in _CAPABILITIES) or any(getattr(torch.cpu, name, bool)() for name in _PROBES)


def multiplies_bfloat16(use_cpu: bool = False) -> bool:
    """As `cpu_multiplies_bfloat16`, of what a model would be trained on: the GPU, where there is one, unless `use_cpu`."""
    if use_cpu or not torch.accelerator.is_available():
        return cpu_multiplies_bfloat16()
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return False


def cpu_bfloat16(asked: str) -> bool:
    """As `cpu_multiplies_bfloat16`; where it doesn't, a warning says that what was `asked` for is done in float32."""
    if found := cpu_multiplies_bfloat16():
        return found
    logger.warning_once(
        f"{asked}: this processor has no bfloat16 arithmetic, so that it would be many times slower; float32 is used."
    )
    return found
