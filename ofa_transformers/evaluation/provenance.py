"""Which data a number was measured on."""

from __future__ import annotations

import hashlib
from pathlib import Path


def named_with_checksum(path: Path) -> str:
    """The name of a file and the beginning of its SHA-256: `deu-eng.tsv.gz (sha256 1f0c0b5f7d3a)`."""
    checksum = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            checksum.update(block)
    return f"{path.name} (sha256 {checksum.hexdigest()[:12]})"
