"""Whether the machine has the memory that a piece of work needs."""

import psutil


# Estimates are rough; only what is clearly too little is refused.
_MARGIN = 0.8


def available_memory() -> int:
    """Bytes that are free now."""
    return psutil.virtual_memory().available


def check_memory(needed: int, work: str, remedy: str, beside: str = "what it has now") -> None:
    """Raises MemoryError where the machine clearly hasn't `needed` bytes left.

    Args:
        needed: an estimate, in bytes.
        work: what needs them, the subject of the error's sentence.
        remedy: what to do beside freeing memory; ends the error.
        beside: what the estimate leaves out.
    """
    available = available_memory()
    if available < _MARGIN * needed:
        raise MemoryError(
            f"{work} needs about {needed / 2**30:.1f} GiB of memory beside {beside}, but only "
            f"{available / 2**30:.1f} GiB are available. Free some, use a machine with more, or {remedy}."
        )
