"""What `--help` of every command shows."""

import re
import shlex

import pytest
import typer
from typer.testing import CliRunner

from ofa_transformers.cli import app


def _leaves(command, path=()):
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, member in command.commands.items():
        yield from _leaves(member, (*path, name))


COMMANDS = dict(_leaves(typer.main.get_command(app)))


def help_of(path, columns):
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": str(columns), "TERMINAL_WIDTH": str(columns)})
    assert result.exit_code == 0, result.output
    return re.sub(r"\x1b\[[0-9;]*m", "", result.stdout).strip()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_fits_a_screen_and_its_example_parses(path):
    shown = help_of(path, 100)
    assert len(shown.splitlines()) <= 50
    text = " ".join(re.sub(r"[│╭╮╰╯─]", "", help_of(path, 200)).split())
    example = re.search(r"Example: (ofa .*?) (?:Arguments|Options|\*)", text)[1]
    words = shlex.split(example)
    assert words[: len(path) + 1] == ["ofa", *path]
    COMMANDS[path].make_context(path[-1], words[len(path) + 1 :])  # exits with 2 where an option is wrong


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_is(path):
    for parameter in COMMANDS[path].params:
        if parameter.name != "help":
            assert re.match(r"[A-Z].+ .+\.$", parameter.help), f"{parameter.name}: {parameter.help}"
            assert not re.match(r"(Of|In|By|As) ", parameter.help), parameter.name
            required = parameter.required or parameter.param_type_name == "argument"
            assert required or getattr(parameter, "is_flag", False) or parameter.show_default, parameter.name


def test_the_commands_are_listed():
    listed = help_of([], 100)
    assert "Example: ofa demo" in listed
    assert all(name in listed for name in {path[0] for path in COMMANDS}) and len(listed.splitlines()) <= 50
