"""The `ofa` command."""

import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY
from typer.testing import CliRunner

from ofa_transformers.cli import app


runner = CliRunner()


def test_wrong_usage_is_exit_code_2():
    assert runner.invoke(app, ["demo", "--seed", "many"]).exit_code == 2
    assert runner.invoke(app, ["no-such-command"]).exit_code == 2


def test_users_error_is_one_line_and_exit_code_1(tmp_path, error_of):
    (tmp_path / "kept.txt").write_text("mine")
    assert "not empty" in error_of("demo", "--output", tmp_path)
    assert os.listdir(tmp_path) == ["kept.txt"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("needs 80 GiB"), "needs 80 GiB"),
        (OSError("no such repository\n  see\n  the Hub"), "no such repository see the Hub"),
        (ImportError("pip install 'ofa-transformers[plot]'"), "ofa-transformers[plot]"),
    ],
)
def test_what_a_user_can_mend_is_one_line(error, message, error_of, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("ofa_transformers.report.rewrite_page", fail)
    assert message in error_of("report", "folder")
    # Developers see where it came from.
    monkeypatch.setenv("OFA_TRACEBACK", "1")
    assert runner.invoke(app, ["report", "folder"]).exception is error


def test_a_reader_that_leaves_is_no_error():
    code = "import sys; sys.argv = ['ofa', '--help']; from ofa_transformers.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()  # as `head` does
    assert process.stderr.read() == b"" and process.wait(timeout=60) == 1


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("ofa ad", ["adapt"]),
        ("ofa adapt --dr", ["--dry-run"]),
        ("ofa vectors b", ["build"]),
        ("ofa tokenizer train --al", ["--algorithm", "--alpha"]),
    ],
)
def test_the_shell_completes_commands_and_options(words, completed):
    asked = {"_OFA_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    result = runner.invoke(app, [], env=asked, prog_name="ofa")
    assert (result.exit_code, result.stdout.split()) == (0, completed)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_have_a_script(shell):
    result = runner.invoke(app, [], env={"_OFA_COMPLETE": f"source_{shell}"}, prog_name="ofa")
    assert result.exit_code == 0 and "_OFA_COMPLETE" in result.stdout
