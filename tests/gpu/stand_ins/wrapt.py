"""What the package uses of wrapt, without waiting: the module is imported, and the function called at once."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any


def when_imported(name: str) -> Callable[[Callable], Callable]:
    def now(function: Callable) -> Callable:
        function(importlib.import_module(name))
        return function

    return now


def wrap_function_wrapper(module: ModuleType, name: str, wrapper: Callable) -> None:
    owner, _, attribute = name.rpartition(".")
    holder = getattr(module, owner)
    original = getattr(holder, attribute)

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        return wrapper(original.__get__(self), self, args, kwargs)

    setattr(holder, attribute, wrapped)
