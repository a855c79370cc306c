"""Registration of the Ofa classes with the Auto classes of Transformers, done when it is first needed.

The Ofa classes take seconds to import, with torch and Transformers' own models before them, and so do the Auto classes
that they are registered with. So nothing is imported here. Once the modules of the Auto classes have been imported, by
whomever, their mappings are told to ask us before they look something up; at the first look-up the classes are imported
and registered as usual. Importing the classes together with the Auto classes would not do: Transformers' own model
modules import those, and ours import theirs.
"""

import functools
import threading
from collections.abc import Callable, Iterator, MutableMapping
from types import ModuleType
from typing import Any

from wrapt import when_imported


_LOCK = threading.RLock()


def _once(register: Callable[[], None]) -> Callable[[], None]:
    """`register`, for the first caller only: others wait until it is done, and what it calls itself passes by."""
    started = False

    @functools.wraps(register)
    def wrapper() -> None:
        nonlocal started
        with _LOCK:
            if started:
                return
            started = True
            try:
                register()
            except BaseException:
                started = False
                raise

    return wrapper


@_once
def register_configurations() -> None:
    """Registers the configurations with `AutoConfig`."""
    from transformers import AutoConfig

    from .configuration_ofa import CONFIG_CLASSES

    for config_class in CONFIG_CLASSES:
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)


@_once
def register_models() -> None:
    """Registers the models with `AutoModel` and the Auto classes of the heads."""
    import transformers

    from .modeling_ofa import FAMILIES

    for family in FAMILIES:
        for name, model_class in family.auto_classes.items():
            getattr(transformers, name).register(family.config_class, model_class, exist_ok=True)


class _RegisteredEntries(MutableMapping):
    """What is registered with an Auto class, in place of the dictionary it keeps this in; calls `register` before use."""

    def __init__(self, entries: dict[Any, Any], register: Callable[[], None]) -> None:
        self._entries = entries
        self._register = register

    def _registered(self) -> dict[Any, Any]:
        self._register()
        return self._entries

    def __getitem__(self, key: Any) -> Any:
        return self._registered()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._registered()[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._registered()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._registered())

    def __len__(self) -> int:
        return len(self._registered())


@when_imported("transformers.models.auto.configuration_auto")
def _defer_configurations(module: ModuleType) -> None:
    mapping = module.CONFIG_MAPPING
    mapping._extra_content = _RegisteredEntries(mapping._extra_content, register_configurations)


@when_imported("transformers.models.auto.modeling_auto")
def _defer_models(module: ModuleType) -> None:
    for mapping in vars(module).values():
        if isinstance(mapping, module._LazyAutoMapping) and not isinstance(mapping._extra_content, _RegisteredEntries):
            mapping._extra_content = _RegisteredEntries(mapping._extra_content, register_models)
