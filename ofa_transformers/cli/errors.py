"""How a command ends: one line and an exit code in place of a traceback."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Container
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException


# Shows developers where an error came from.
TRACEBACK = "OFA_TRACEBACK"
# What a user can do something about; ImportError is an extra that isn't installed.
USER_ERRORS = (ValueError, OSError, ImportError, MemoryError)
# Typer's own, wrong usage among them.
_ENDS = (typer.Exit, typer.Abort, TyperException)
# Seconds in which a signal is handled, unless compiled code is at work; and in which what was begun is then put away.
_PATIENCE = 1.0
_PATIENCE_WITH_CLEANING = 10.0
# Seconds until a signal is sent again that came where Python raises nothing.
_PAUSE = 0.01
# Says so in the pipe of signals, as no signal does.
_LOST = 255


class Terminated(KeyboardInterrupt):
    """SIGTERM, which cleans up as Ctrl-C does."""


class _Signals:
    """What has been heard of Ctrl-C and SIGTERM.

    Attributes:
        heard: the number of the first one, or None.
        work: whether there may be something to tidy up: from the end of the imports to that of the command.
        taken: the main thread knows of it.
        lost: the exception was raised where Python ignores them, as in a `__del__`.
        resources: what the running command holds until it ends.
    """

    def __init__(self) -> None:
        self.heard: int | None = None
        self.work = False
        self.taken = threading.Event()
        self.lost = False
        self.resources = contextlib.ExitStack()


_signals = _Signals()


class Commands(TyperGroup):
    """Commands that end with 0, 1 (a user's error), 2 (wrong usage), 130 (Ctrl-C) or 143 (SIGTERM)."""

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            _check_arguments(sys.argv[1:])
            with contextlib.ExitStack() as _signals.resources:
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            _say_stopped()
            raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None
        except Exception as error:
            if _signals.heard is not None:  # libraries make other errors of an interrupt
                _say_stopped()
                raise typer.Exit(128 + _signals.heard) from None
            if isinstance(error, _ENDS) or os.environ.get(TRACEBACK):
                raise
            typer.echo(f"Error: {message_of(error)}", err=True)
            raise typer.Exit(1) from error


def message_of(error: BaseException) -> str:
    """One line that is never empty."""
    said = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return (
            said or "the machine has too little memory for this; end other programs, or give the command less to do."
        )
    # Where a disk fills up beside an output: libraries' caches, temporary files.
    targets = sys.modules.get("ofa_transformers.utils.targets")
    if targets is not None and (remedy := targets.remedy_of(error)) is not None:
        return f"{said or type(error).__name__}; {remedy}."
    if isinstance(error, USER_ERRORS) and said:
        return said
    return (
        f"{type(error).__name__}{': ' * bool(said)}{said}. This is a fault of ofa itself, or of what it was given; "
        f"{TRACEBACK}=1 shows where it happened. Please report it."
    )


def _check_arguments(arguments: list[str]) -> None:
    """Names of files that aren't UTF-8 can't be written into reports and records, nor into messages."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            shown = os.fsencode(argument).decode("utf-8", "backslashreplace")
            raise ValueError(f"The argument {shown} is not valid UTF-8; rename the file, or name another.") from error


def hold(resource: contextlib.AbstractContextManager[Any]) -> None:
    """Enters a context for as long as the command runs."""
    _signals.resources.enter_context(resource)


def work_begins() -> None:
    """The imports are done: from here on an interrupt is an exception, so that what was begun is tidied up."""
    _signals.work = True
    _outlive_readers()


def open_closed_streams() -> None:
    """Gives standard streams that are closed somewhere to go, so that no file of ours gets their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def stop_at_once() -> None:
    """Lets SIGTERM end a command as Ctrl-C does, and both of them end one that is in the midst of compiled code.

    Python handles a signal when that code returns, which takes minutes where tokenizers are trained. So a thread that
    hears of a signal waits a moment, and then ends the process itself. And Python ignores what is raised in a `__del__`
    or in the callback of a weak reference: there the thread sends the signal again.
    """
    if os.name != "posix":
        return

    def stop(number: int, _: Any) -> None:
        again, _signals.lost = _signals.lost, False
        if not _signals.work or (_signals.heard is not None and not again):
            # While modules are imported there is nothing to tidy up, and an exception could become another one. Nor
            # shall a second signal break into the tidying up after the first.
            _end(_signals.heard or number)
        _signals.heard = number
        _signals.taken.set()
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def watch() -> None:
        number = read({signal.SIGINT, signal.SIGTERM})
        while _signals.taken.wait(_PATIENCE) and read({_LOST}, _PATIENCE_WITH_CLEANING):
            time.sleep(_PAUSE)
            _signals.taken.clear()
            signal.pthread_kill(main_thread, number)
        _end(number)

    def read(wanted: Container[int], seconds: float | None = None) -> int:
        """The next of these numbers in the pipe; 0 where none comes in time."""
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if end is None else max(end - time.monotonic(), 0)
            if not select.select([reader], [], [], left)[0]:
                return 0
            if (number := os.read(reader, 1)[0]) in wanted:
                return number

    def ignored(unraisable: sys.UnraisableHookArgs) -> None:
        if _signals.heard is not None and issubclass(unraisable.exc_type, KeyboardInterrupt):
            _signals.lost = True
            os.write(writer, bytes([_LOST]))
        else:
            report(unraisable)

    def reset() -> None:  # a data worker's signals are none of the main process
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.unraisablehook = report

    main_thread, report = threading.get_ident(), sys.unraisablehook
    sys.unraisablehook = ignored
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # a job in the background ignores Ctrl-C
            signal.signal(number, stop)
    threading.Thread(target=watch, daemon=True).start()
    os.register_at_fork(after_in_child=reset)


def work_is_over() -> None:
    """What a command has made is there: an interrupt on the way out ends the process, and nothing else."""
    _signals.work = False


def _end(number: int) -> None:
    # Nothing is imported here: this can be in the midst of an import. What isn't there yet has begun nothing.
    remove_unfinished = getattr(sys.modules.get("ofa_transformers.utils.files"), "remove_unfinished", None)
    if remove_unfinished is not None:
        remove_unfinished()
    _say_stopped()
    os._exit(128 + number)


def _say_stopped() -> None:
    # The terminal has shown ^C, or half a progress bar.
    said = "\nStopped.\n" if os.isatty(2) else "Stopped.\n"
    try:
        sys.stderr.flush()
        os.write(2, said.encode())
    except (OSError, ValueError, AttributeError):  # closed
        pass


class _Pipe(io.FileIO):
    """A pipe whose reader may go: what is written then goes nowhere, and the command goes on."""

    def write(self, data: Any) -> int | None:
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(data)


def _outlive_readers() -> None:
    """Lets a command finish its work where nobody reads what it says, and say what the terminal can't show."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            mode = os.fstat(stream.fileno()).st_mode
        except (AttributeError, OSError, ValueError):  # closed, or a test's
            continue
        stream.reconfigure(errors="backslashreplace")
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            stream.flush()
            raw = io.BufferedWriter(_Pipe(stream.fileno(), "w", closefd=False))
            lines = name == "stderr"
            made = io.TextIOWrapper(raw, stream.encoding, "backslashreplace", line_buffering=lines)
            setattr(sys, name, made)
