"""What files of the wrong content raise, made one kind of error that names them."""

import json
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar


Record = TypeVar("Record")


@contextmanager
def reading(problem: str, file: Path | None = None) -> Iterator[None]:
    """Makes one kind of error of what files of the wrong content raise, which is anything; OSError is left alone.

    Args:
        problem: which file it is, what is wrong with it, and what to do, without a full stop.
        file: a ValueError that names it already is left alone.

    Raises:
        ValueError: says the problem, and in parentheses what was raised.
    """
    try:
        yield
    except (OSError, ImportError, MemoryError):
        raise
    except Exception as error:
        if file is not None and isinstance(error, ValueError) and str(file) in str(error):
            raise
        raise ValueError(f"{problem.removesuffix('.')}. ({type(error).__name__}: {in_one_line(error)})") from error


def in_one_line(error: BaseException) -> str:
    """What an error of some library says, cut where it is long."""
    said = " ".join(str(error).split())
    return f"{said[:300]}{'...' * (len(said) > 300)}"


def parse_json(text: str | bytes, where: str, remedy: str) -> Any:
    """The value of JSON.

    Args:
        text: JSON; bytes are UTF-8.
        where: the file, and the line where there are several values in it.
        remedy: what to do about a file that holds none.

    Raises:
        ValueError: it is no JSON, is nested too deeply, or has numbers with thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{where}: JSON that is nested too deeply; {remedy}.") from error
    except ValueError as error:  # of UTF-8, JSON and digits
        raise ValueError(f"{where}: not valid JSON ({in_one_line(error)}); {remedy}.") from error


def read_json(path: Path, remedy: str) -> Any:
    """The value of a JSON file; see `parse_json`.

    Raises:
        FileNotFoundError: it isn't there, or is no file.
        ValueError: as `parse_json`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; {remedy}.")
    return parse_json(path.read_bytes(), str(path), remedy)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is what a type says: `float | None`, `dict[str, list[int]]`. A whole number is a float."""
    if hint is Any:
        return True
    kinds, inside = typing.get_origin(hint), typing.get_args(hint)
    if kinds in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in inside)
    if kinds is None:
        if isinstance(value, bool) or hint is bool:
            return hint is bool and isinstance(value, bool)
        return isinstance(value, (int, float) if hint is float else hint)
    if not isinstance(value, kinds):
        return False
    if isinstance(value, Mapping):
        return all(fits(key, inside[0]) and fits(item, inside[1]) for key, item in value.items())
    return all(fits(item, inside[0]) for item in value)


def record_of(kind: type[Record], values: Any, where: str, remedy: str) -> Record:
    """A dataclass from JSON; what it has no field for is left out, as newer versions may write it.

    Raises:
        ValueError: no object, a field without default that is missing, or a value of another type.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected an object, but found {values!r:.60}; {remedy}.")
    hints, given = typing.get_type_hints(kind), {}
    for field in fields(kind):
        if field.name not in values:
            if field.init and field.default is MISSING and field.default_factory is MISSING:
                raise ValueError(f"{where}: {field.name!r} is missing; {remedy}.")
            continue
        if not fits(values[field.name], hints[field.name]):
            raise ValueError(f"{where}: {field.name!r} is {values[field.name]!r:.60}, of the wrong kind; {remedy}.")
        given[field.name] = values[field.name]
    return kind(**given)
