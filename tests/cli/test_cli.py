"""The `ofa` command."""

import os
import re

import pytest
from typer.testing import CliRunner

from ofa_transformers.cli import app, main


runner = CliRunner()


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_help_lists_the_commands():
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "demo" in plain(result.stdout)
    result = runner.invoke(app, ["demo", "--help"])
    assert result.exit_code == 0
    for option in ("--output", "--seed", "--embedding-size", "--steps", "--overwrite"):
        assert option in plain(result.stdout)


def test_wrong_usage_is_exit_code_2():
    assert runner.invoke(app, ["demo", "--seed", "many"]).exit_code == 2
    assert runner.invoke(app, ["no-such-command"]).exit_code == 2


def test_users_error_is_one_line_and_exit_code_1(tmp_path, monkeypatch, capsys):
    (tmp_path / "kept.txt").write_text("mine")
    monkeypatch.setattr("sys.argv", ["ofa", "demo", "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("Error: ") and captured.err.count("\n") == 1 and "not empty" in captured.err
    assert os.listdir(tmp_path) == ["kept.txt"]
