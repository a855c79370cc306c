"""How a command ends: one line and an exit code in place of a traceback."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

import typer
from typer.core import TyperGroup


# Shows developers where an error came from.
TRACEBACK = "OFA_TRACEBACK"
# What a user can do something about; ImportError is an extra that isn't installed.
USER_ERRORS = (ValueError, OSError, ImportError, MemoryError)
# Seconds in which a signal is handled, unless compiled code is at work; and in which what was begun is then put away.
_PATIENCE = 1.0
_PATIENCE_WITH_CLEANING = 10.0


class Terminated(KeyboardInterrupt):
    """SIGTERM, which cleans up as Ctrl-C does."""


class Commands(TyperGroup):
    """Commands that end with 0, 1 (a user's error), 2 (wrong usage), 130 (Ctrl-C) or 143 (SIGTERM)."""

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            _say_stopped()
            raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None
        except BrokenPipeError:
            raise  # whoever read the output has gone: nothing to say
        except USER_ERRORS as error:
            if os.environ.get(TRACEBACK):
                raise
            typer.echo(f"Error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(1) from error


def stop_at_once() -> None:
    """Lets SIGTERM end a command as Ctrl-C does, and both of them end one that is in the midst of compiled code.

    Python handles a signal when that code returns, which takes minutes where tokenizers are trained. So a thread that
    hears of a signal waits a moment, and then ends the process itself.
    """
    if os.name != "posix":
        return
    handled = threading.Event()

    def stop(number: int, _: Any) -> None:
        handled.set()
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def watch() -> None:
        number = os.read(reader, 1)[0]
        while number not in (signal.SIGINT, signal.SIGTERM):
            number = os.read(reader, 1)[0]
        if handled.wait(_PATIENCE):
            time.sleep(_PATIENCE_WITH_CLEANING)
        from ..utils.files import remove_unfinished

        remove_unfinished()
        _say_stopped()
        os._exit(128 + number)

    def reset() -> None:  # a data worker's signals are none of the main process
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # a job in the background ignores Ctrl-C
            signal.signal(number, stop)
    threading.Thread(target=watch, daemon=True).start()
    os.register_at_fork(after_in_child=reset)


def _say_stopped() -> None:
    # The terminal has shown ^C, or half a progress bar.
    typer.echo("\nStopped." if sys.stderr.isatty() else "Stopped.", err=True)
