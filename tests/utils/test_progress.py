"""The line for work without steps."""

import contextlib
import io
import time

import pytest
from transformers.utils import logging

from ofa_transformers.utils import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def shown(monkeypatch):
    """What a terminal shows while a block of so many seconds runs."""
    monkeypatch.setattr(progress, "DELAY", 0.05)
    monkeypatch.setattr(progress, "_INTERVAL", 0.05)
    logging.enable_progress_bar()  # commands that ran before, outside a terminal, disabled it

    def shown(seconds: float, error: Exception | None = None) -> str:
        terminal = Terminal()
        with contextlib.redirect_stderr(terminal), progress.stage("Reading"):
            time.sleep(seconds)
            if error is not None:
                raise error
        return terminal.getvalue()

    return shown


def test_long_work_is_named_and_the_line_goes_away(shown):
    text = shown(0.4)
    assert "Reading: 00:00" in text and text.endswith("\r")


def test_short_work_log_files_and_disabled_bars_show_nothing(shown, monkeypatch):
    assert shown(0) == ""
    logging.disable_progress_bar()
    try:
        assert shown(0.2) == ""
    finally:
        logging.enable_progress_bar()
    monkeypatch.setattr(Terminal, "isatty", lambda self: False)
    assert shown(0.2) == ""


def test_errors_pass_through(shown):
    with pytest.raises(ValueError, match="as it was"):
        shown(0, ValueError("as it was"))
