"""What the package uses of wrapt, without waiting: the module is imported, and the function called at once."""

import importlib
from collections.abc import Callable


def when_imported(name: str) -> Callable[[Callable], Callable]:
    def now(function: Callable) -> Callable:
        function(importlib.import_module(name))
        return function

    return now
