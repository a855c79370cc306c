"""JSON as its standard has it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from .files import new_file


def dumps(value: Any, **options: Any) -> str:
    """As `json.dumps`, with null for numbers that are NaN or infinite, which JSON can't say and other readers refuse."""
    return json.dumps(_finite(value), allow_nan=False, **options)


def write(path: Path, value: Any, **options: Any) -> None:
    """Writes a file that is whole or as it was; the options are those of `json.dumps`."""
    with new_file(path) as temporary:
        temporary.write_text(dumps(value, **options) + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value
