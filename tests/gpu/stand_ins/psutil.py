"""What the package and its benchmarks use of psutil, on Linux."""

import os
from pathlib import Path
from types import SimpleNamespace


def virtual_memory() -> SimpleNamespace:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return SimpleNamespace(available=1024 * kibibytes)


class Process:
    def memory_info(self) -> SimpleNamespace:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return SimpleNamespace(rss=pages * os.sysconf("SC_PAGE_SIZE"))
