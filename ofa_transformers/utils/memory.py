"""Whether the machine has the memory that a piece of work needs."""

import psutil


# Estimates are rough; only what is clearly too little is refused.
_MARGIN = 0.8


def available_memory() -> int:
    """Bytes that are free now."""
    return psutil.virtual_memory().available


def is_clearly_too_little(available: int, needed: int) -> bool:
    """Whether work that needs so many bytes, by a rough estimate, can't be done in what is available."""
    return available < _MARGIN * needed
