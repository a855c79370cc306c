"""`Run`: where an initialisation computes, how long each phase takes, and what several sizes or methods have in common."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..utils.progress import stage


Made = TypeVar("Made")

_SHOWN = {
    "load": "Loading source and tokenizers",
    "word vectors": "Reading word vectors",
    "mapping": "Mapping tokens",
    "factorization": "Factorizing embeddings",
    "rows": "Making rows",
    "report": "Measuring rows",
    "fitting": "Fitting rows",
    "model": "Putting the model together",
    "head bias": "Calibrating the head",
}


class Run:
    """One initialisation on its way.

    Args:
        device: where neighbours and factorization are computed; a GPU if there is one by default.
        largest_size: of several embedding sizes, so that the smaller ones are cut from its factors.
        output: where the result goes, if that is known: there must be room for it before the long work.

    Attributes:
        seconds: wall time of each phase so far.
    """

    def __init__(
        self,
        device: torch.device | str | None = None,
        largest_size: int | None = None,
        output: Path | None = None,
    ) -> None:
        self.device, self.largest_size, self.output = device, largest_size, output
        self.seconds: dict[str, float] = {}
        self._made: dict[str, Any] = {}
        self._read: dict[str, Any] = {}

    def again(self) -> "Run":
        """The run of another size, which has what this one has made, but its own time."""
        other = Run(self.device, self.largest_size)
        other._made, other._read = self._made, self._read
        return other

    def other_method(self) -> "Run":
        """The run of another method on the same tokenizer and text, which are not read again."""
        other = Run(self.device, self.largest_size)
        other._read = self._read
        return other

    def read_once(self, name: str, read: Callable[[], Made]) -> Made:
        """What `read` returns, read by the first of several methods."""
        if name not in self._read:
            self._read[name] = read()
        return self._read[name]

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """What `make` returns, made by the first of several sizes."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Times a phase, and shows that it runs."""
        start = time.perf_counter()
        with stage(_SHOWN[phase]):
            yield
        self.seconds[phase] = round(self.seconds.get(phase, 0.0) + time.perf_counter() - start, 3)
