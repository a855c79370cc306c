"""Whether the machine has the memory that a piece of work needs."""

from collections.abc import Iterator
from pathlib import Path

import psutil


# Estimates are rough; only what is clearly too little is refused.
_MARGIN = 0.8


def available_memory() -> int:
    """Bytes that are free now, within the limits of the container that this process runs in."""
    return min(
        [psutil.virtual_memory().available, *_room_in_groups(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))]
    )


def _room_in_groups(mounted: Path, own: Path) -> Iterator[int]:
    """Of each control group with a limit, from the process's own upwards, what is left of it; files can be dropped."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, limit, usage, cached = mounted, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            base = mounted / "memory"
            limit, usage, cached = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        folder = base / path.strip("/")
        for group in (folder, *folder.parents):
            if base not in (group, *group.parents):
                break
            try:
                most, used = (group / limit).read_text().strip(), int((group / usage).read_text())
                dropped = dict(row.split() for row in (group / "memory.stat").read_text().splitlines())
            except OSError:
                continue
            if most != "max":
                yield int(most) - used + int(dropped.get(cached, 0))


def is_clearly_too_little(available: int, needed: int) -> bool:
    """Whether work that needs so many bytes, by a rough estimate, can't be done in what is available."""
    return available < _MARGIN * needed
