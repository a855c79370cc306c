"""Which data a number was measured on."""

from __future__ import annotations

from pathlib import Path

from .files import sha256


def named_with_checksum(path: Path) -> str:
    """The name of a file and the beginning of its SHA-256: `deu-eng.tsv.gz (sha256 1f0c0b5f7d3a)`."""
    return f"{path.name} (sha256 {sha256(path)[:12]})"
