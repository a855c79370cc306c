"""`--config`: a command's options from a YAML or JSON file; and `--dry-run`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ..utils.reading import in_one_line


# Where a file that a run wrote has what isn't an option.
RECORD = "record"
# Options that say nothing of the result. `overwrite` among them: a run that is repeated shall replace nothing unasked.
_NOT_RECORDED = ("config", "dry_run", "overwrite", "help")


def _read_config(context: typer.Context, value: Path | None) -> Path | None:
    """Makes the file's values the defaults of the command's options, checked as if they were on the command line."""
    if value is None or context.resilient_parsing:
        return value
    values = _load(value)
    context.meta[RECORD] = _check_record(values.pop(RECORD, None), value, context.info_name)
    parameters = dict(_parameters(context))
    defaults = {}
    for key, given in values.items():
        parameter = parameters.get(str(key).replace("-", "_"))
        if parameter is None:
            near = difflib.get_close_matches(str(key).replace("-", "_"), parameters, n=1, cutoff=0)
            raise _error(f"{value}: {key!r} is no option of ofa {context.info_name}; the nearest is {near[0]!r}.")
        if given is None:  # as if it were left out
            continue
        defaults[parameter.name] = text = _as_on_the_command_line(parameter, given, f"{value}: {key}")
        try:
            parameter.process_value(context, text)
        except typer.BadParameter as error:
            raise _error(f"{value}: {key}: {error.message}") from error
    context.default_map = defaults
    return value


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="YAML or JSON of these options; given ones win.",
        show_default="none",
        is_eager=True,
        callback=_read_config,
        rich_help_panel="Run",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show sizes, memory and time; write nothing.",
        rich_help_panel="Run",
    ),
]


def options_of(context: typer.Context) -> dict[str, Any]:
    """The command's options under the names that `--config` takes, defaults included, as plain values.

    Left out are those that say nothing of the result.
    """
    first_names = {parameter.name: key for key, parameter in reversed(list(_parameters(context)))}
    return {
        key: _plain(context.params[name])
        for name, key in reversed(first_names.items())
        if name not in _NOT_RECORDED and name in context.params
    }


def _parameters(context: typer.Context) -> Iterator[tuple[str, Any]]:
    """(name in the file, parameter); an option with several long names has as many."""
    for parameter in context.command.params:
        if parameter.param_type_name == "argument":
            yield parameter.name, parameter
        elif parameter.name not in ("config", "dry_run", "help"):
            for name in parameter.opts:
                if name.startswith("--"):
                    yield name[2:].replace("-", "_"), parameter


def _load(file: Path) -> dict[Any, Any]:
    import yaml

    if not file.is_file():
        raise _error(f"{file} is not a file.")
    try:
        text = file.read_text(encoding="utf-8")
        values = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except RecursionError as error:
        raise _error(f"{file} is nested too deeply; write options and their values, like `size: 200`.") from error
    except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:  # of JSON, UTF-8, dates; YAML's
        kind = "JSON" if file.suffix == ".json" else "YAML"
        mark = getattr(error, "problem_mark", None)
        reason = in_one_line(error) if mark is None else f"line {mark.line + 1}: {error.problem}"
        raise _error(f"{file} is no {kind}: {reason}; correct it.") from error
    if not isinstance(values, dict):
        raise _error(f"{file} must hold options and their values, like `size: 200`, but holds {values!r:.60}.")
    return values


def _check_record(record: Any, file: Path, command: str) -> dict[str, Any] | None:
    if record is None:
        return None
    if not isinstance(record, dict) or "command" not in record:
        raise _error(f"{file}: {RECORD} is what a run wrote of itself, but has no command here; leave it out.")
    for name, kind in (("inputs", dict), ("versions", str)):
        values = record.get(name, {})
        if not isinstance(values, dict) or not all(isinstance(value, kind) for value in values.values()):
            raise _error(f"{file}: {name} of {RECORD} is not what a run wrote of itself; leave {RECORD} out.")
    if record["command"] != command:
        raise _error(f"{file} records a run of ofa {record['command']}, not of ofa {command}.")
    return record


def _as_on_the_command_line(parameter: Any, value: Any, where: str) -> Any:
    """Text, so that a value passes the same checks; a list of it for options that may repeat."""
    if getattr(parameter, "is_flag", False):
        if not isinstance(value, bool):
            raise _error(f"{where}: {value!r} is neither true nor false.")
        return value
    if getattr(parameter, "multiple", False) or parameter.nargs == -1:
        return [_text(item, where) for item in (value if isinstance(value, list) else [value])]
    return _text(value, where)


def _text(value: Any, where: str) -> str:
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    hint = "; write it in quotes" if isinstance(value, bool) else ""
    raise _error(f"{where}: {value!r:.60} is no text or number{hint}.")


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    value = getattr(value, "value", value)  # of an Enum
    return str(value) if isinstance(value, Path) else value


def _error(message: str) -> ValueError:
    return ValueError(f"--config: {message}")
