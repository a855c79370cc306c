"""How a command ends: one line and an exit code in place of a traceback."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import typer
from typer.core import TyperGroup


# Shows developers where an error came from.
TRACEBACK = "OFA_TRACEBACK"
# What a user can do something about; ImportError is an extra that isn't installed.
USER_ERRORS = (ValueError, OSError, ImportError, MemoryError)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which cleans up as Ctrl-C does."""


class Commands(TyperGroup):
    """Commands that end with 0, 1 (a user's error), 2 (wrong usage), 130 (Ctrl-C) or 143 (SIGTERM)."""

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            # The terminal has shown ^C, or half a progress bar.
            typer.echo("\nStopped." if sys.stderr.isatty() else "Stopped.", err=True)
            raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None
        except BrokenPipeError:
            raise  # whoever read the output has gone: nothing to say
        except USER_ERRORS as error:
            if os.environ.get(TRACEBACK):
                raise
            typer.echo(f"Error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(1) from error


def stop_on_sigterm() -> None:
    def terminate(*_: Any) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
