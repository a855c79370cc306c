"""The registry of initialisations: one function a method, which fills M from what it needs."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from ..mapping import TokenMapping
from .inputs import NEEDS


# Packages of others register theirs by an entry point of this group, whose name is the method's and whose object is
# the function, with `register_method` applied or not.
ENTRY_POINTS = "ofa_transformers.methods"

MethodFunction = Callable[..., TokenMapping]
BuiltOn = Callable[[Mapping[str, Any]], Mapping[str, Mapping[str, Any]]]
TrainedLines = Callable[[Mapping[str, Any]], int]


def _nothing(settings: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return {}


def _none(settings: Mapping[str, Any]) -> int:
    return 0


@dataclass(frozen=True)
class Method:
    """One way to fill M.

    Attributes:
        name: what users call it.
        function: of [`MethodInputs`] and the settings, which are its keyword arguments.
        needs: what must be given, of `NEEDS`; a tuple means any one of its members.
        fallback: how rows that M cannot make are filled, where the user doesn't say; see `TokenMapping.apply`.
        published: where the method comes from.
        built_on: of the settings, the methods whose rows this one goes on from -> their settings.
        text_seconds: of a processor core for a million characters of target_text, to predict how long it takes.
        trained_lines: of the settings, how many lines go forward and back through the model, likewise.
    """

    name: str
    function: MethodFunction
    needs: tuple[str | tuple[str, ...], ...]
    fallback: str
    published: str
    built_on: BuiltOn = _nothing
    text_seconds: float = 0.0
    trained_lines: TrainedLines = _none

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def settings(self) -> dict[str, Any]:
        """Setting -> its default."""
        parameters = list(inspect.signature(self.function).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}

    def fallback_with(self, settings: Mapping[str, Any]) -> str:
        """The fallback of the method itself, or of the one that it is built on first."""
        names = list(self.built_on(settings))
        return find_method(names[0]).fallback_with({}) if names else self.fallback

    def check(self, given: set[str], settings: Mapping[str, Any]) -> None:
        """That all is there before any work is done.

        Args:
            given: which of `NEEDS` the user has given.
            settings: of the method.

        Raises:
            ValueError: something is missing, or a setting is unknown.
        """
        for need in self.needs:
            choices = (need,) if isinstance(need, str) else need
            if not given & set(choices):
                wanted = " or ".join(f"{choice} ({NEEDS[choice]})" for choice in choices)
                raise ValueError(f"method={self.name!r} needs {wanted}; pass it, or choose another method.")
        unknown = sorted(set(settings) - set(self.settings))
        if unknown:
            known = ", ".join(self.settings) or "none"
            raise ValueError(f"method={self.name!r} has no setting {', '.join(unknown)}; it has {known}.")
        for name, others in self.built_on(settings).items():
            if name == self.name:
                raise ValueError(f"method={self.name!r} can't be built on itself; name other methods.")
            find_method(name).check(given, others)


_METHODS: dict[str, Method] = {}


def register_method(
    name: str,
    *,
    needs: tuple[str | tuple[str, ...], ...] = (),
    fallback: str = "normal",
    published: str = "",
    built_on: BuiltOn = _nothing,
    text_seconds: float = 0.0,
    trained_lines: TrainedLines = _none,
) -> Callable[[MethodFunction], MethodFunction]:
    """Makes a function a method: `OfaInitializer.from_pretrained(..., method=name)`.

        @register_method("nearest", needs=("word_vectors",))
        def nearest(inputs: MethodInputs, *, count: int = 1) -> TokenMapping:
            \"\"\"Each new token takes the mean of its `count` nearest source tokens.\"\"\"

    Args:
        name: a new one.
        needs: of `NEEDS`; a tuple among them means any one of its members.
        fallback: "normal", "mean", "multivariate_normal" or "zeros", for rows that M cannot make.
        published: the reference.
        built_on: a function of the method's settings: other methods that it calls -> their settings. What they need is
            checked, too.
        text_seconds: of a processor core for a million characters of target_text, for predictions.
        trained_lines: a function of the method's settings: how many lines it trains on, for predictions.

    Raises:
        ValueError: the name is taken or no identifier, an unknown need, a function whose settings have no defaults.
    """

    def register(function: MethodFunction) -> MethodFunction:
        if name in _METHODS and _METHODS[name].function is not function:
            raise ValueError(f"A method {name!r} is registered already, by {_METHODS[name].function.__module__}.")
        if not name.replace("-", "_").isidentifier():
            raise ValueError(f"{name!r} can't be a method's name; use letters, digits and hyphens.")
        for need in needs:
            unknown = {need} - set(NEEDS) if isinstance(need, str) else set(need) - set(NEEDS)
            if unknown:
                raise ValueError(f"needs has {', '.join(sorted(unknown))}, but must be of {', '.join(NEEDS)}.")
        method = Method(name, function, needs, fallback, published, built_on, text_seconds, trained_lines)
        missing = [setting for setting, default in method.settings.items() if default is inspect.Parameter.empty]
        if missing:
            raise ValueError(f"The settings {', '.join(missing)} of method {name!r} need defaults.")
        _METHODS[name] = method
        return function

    return register


def find_method(name: str) -> Method:
    """The method of a name.

    Raises:
        ValueError: there is none; names those that there are.
    """
    found = methods().get(name)
    if found is None:
        raise ValueError(f"method is {name!r}, but must be one of {', '.join(map(repr, methods()))}.")
    return found


def methods() -> dict[str, Method]:
    """All methods by name: ours first, then those of installed packages."""
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name not in _METHODS:
            function = entry.load()
            if entry.name not in _METHODS:  # else loading has registered it
                register_method(entry.name)(function)
    return dict(_METHODS)
