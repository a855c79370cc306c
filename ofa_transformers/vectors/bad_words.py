"""Words of a file that can't be taken: an error, or passed over, counted and named."""

import re

from transformers.utils import logging


logger = logging.get_logger(__name__)

ON_BAD_WORDS = ("error", "skip")
# Of those that are passed over, so many are named.
_NAMED = 5


class BadWords:
    """What becomes of words that can't be taken.

    Args:
        skip: pass them over; else the first is an error.
    """

    def __init__(self, skip: bool = False) -> None:
        self.skip = skip
        self._found: list[str] = []  # appended to by several threads

    @property
    def count(self) -> int:
        return len(self._found)

    def add(self, error: ValueError) -> None:
        """One more; raises the error unless they are passed over."""
        if not self.skip:
            raise error
        self._found.append(str(error).partition(";")[0])

    def tell(self, path: object) -> None:
        """A warning that counts those that were passed over, and names the first ones."""
        if not self.count:
            return
        # In the order of lines or words, whichever thread came first.
        first = sorted(self._found, key=lambda text: list(map(int, re.findall(r"(?:line|word) (\d+)", text))))[:_NAMED]
        more = f"; and {self.count - len(first)} more" if self.count > len(first) else ""
        logger.warning("%d words of %s are passed over: %s%s.", self.count, path, "; ".join(first), more)
