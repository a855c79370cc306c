"""The `ofa` command."""

import json
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


def test_demo_prints_the_table_and_how_to_load(tmp_path, monkeypatch):
    """The real seed model and all languages, without continued pretraining."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "ofa-demo").mkdir()
    result = runner.invoke(app, ["demo", "--steps", "2", "--embedding-size", "32"])
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "ofa-demo-2" / "results.json").read_text(encoding="utf-8"))
    for arm in results["arms"]:
        assert arm["name"] in result.stdout
        assert f"{arm['parameters']:,}" in result.stdout
        assert f"{arm['before']['loss']:.2f} → {arm['after']['loss']:.2f}" in result.stdout
    for language in results["train_words"]:
        assert language in result.stdout
    assert "ofa-demo-2/ofa-32" in result.stdout
    lines = result.stdout.rsplit("Load one:", 1)[1].strip().splitlines()
    assert len(lines) == 3
    names = {}
    exec("\n".join(line.strip() for line in lines), names)
    assert names["fill"]("Everyone has the right to <mask>.")[0]["token_str"]
