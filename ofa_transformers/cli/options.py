"""What several commands share: options, and how they speak."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from ..utils.progress import stage
from .errors import hold, work_begins


# Panel of `--help` for what says how a command runs rather than what it makes.
RUN = "Run"
# While torch and Transformers are imported, which takes seconds.
STARTING = "Starting"
_noted: set[str] = set()

Output = Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="Folder to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what the folder holds.")]
Json = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the figures to this file, too.", show_default="none"),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print tables as Markdown.")]
Revision = Annotated[
    str | None, typer.Option(metavar="NAME", help="Push to this branch, made if need be.", show_default="main")
]
Private = Annotated[
    bool | None,
    typer.Option(
        "--private/--public", help="Make a new repository private or public.", show_default="as the account is set"
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        help="Log in to the Hub with it; it must write.",
        envvar="HF_TOKEN",
        show_envvar=True,
        show_default="that of hf auth login",
    ),
]
Message = Annotated[str, typer.Option("--message", "-m", metavar="TEXT", help="Say this in the commit.")]
Repository = Annotated[
    str, typer.Argument(metavar="USER/NAME", help="Repository on the Hub, created if need be.", show_default=False)
]


def quiet_unless_interactive() -> None:
    """Progress bars for people, not for log files. Called when a command has imported what it needs."""
    with stage(STARTING):
        from transformers.utils import logging as transformers_logging

    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()
    hold(_warnings_as_notes())
    work_begins()


def reserve_output(
    output: Path,
    overwrite: bool = False,
    *,
    inputs: Iterable[str | os.PathLike] = (),
    needed: int = 0,
    dry_run: bool = False,
) -> None:
    """Makes sure that a folder can be written and loses nothing, and keeps it for this command until it ends.

    A dry run only looks.

    Raises:
        Busy: another process writes there.
        FileExistsError, ValueError, OSError: as `check_output_folder`.
    """
    from ..utils.files import check_output_folder, reserved
    from ..utils.targets import check_target

    if not dry_run:
        check_target(output, needed)  # before folders are made for it
        hold(reserved(output))
    check_output_folder(output, overwrite, inputs=inputs, needed=needed)


def keep_workspace(output: Path, dry_run: bool = False) -> None:
    """Makes sure that a command can write into a folder and go on there, and keeps it for it until it ends.

    A dry run only looks.

    Raises:
        Busy: another process writes there.
        ValueError, OSError: as `check_workspace`.
    """
    from ..utils.files import reserved
    from ..utils.targets import check_workspace

    check_workspace(output)
    if not dry_run:
        hold(reserved(output))


@contextlib.contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """While the command runs, what the package warns of is a note, and what has been noted isn't said again."""

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage())

    handler = Notes(logging.WARNING)
    logger = logging.getLogger(__package__.partition(".")[0])
    logger.addHandler(handler)
    _noted.clear()
    try:
        yield
    finally:
        logger.removeHandler(handler)


def note(text: str) -> None:
    """Says on stderr what a person should know, once a command."""
    if text not in _noted:
        _noted.add(text)
        typer.echo(f"{typer.style('Note:', fg='yellow')} {text}", err=True)


def millions(count: int) -> str:
    return f"{count / 1e6:,.1f} M"


def about(count: float) -> str:
    """A number that is an estimate, with three digits: 9,120, 34.9 k, 1.25 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= 9999.5 and count >= size * 0.9995:
            value = count / size
            return f"{value:,.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"
    return f"{count:,.0f}"


def gibibytes(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 0.1 * 2**30 else f"{size / 2**20:,.1f} MiB"


def duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{max(seconds, 1):,.0f} s"
