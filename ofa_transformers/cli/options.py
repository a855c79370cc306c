"""What several commands share: options, and how they speak."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..utils.progress import stage


# Panel of `--help` for what says how a command runs rather than what it makes.
RUN = "Run"
# While torch and Transformers are imported, which takes seconds.
STARTING = "Starting"

Output = Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="Folder to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what the folder holds.")]
Json = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the figures to this file, too.", show_default="none"),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print tables as Markdown.")]
Revision = Annotated[str | None, typer.Option(metavar="NAME", help="Branch, created if need be.", show_default="main")]
Private = Annotated[
    bool | None,
    typer.Option("--private/--public", help="Of a new repository.", show_default="as the account is set"),
]
Token = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        help="Of the Hub, with write access.",
        envvar="HF_TOKEN",
        show_envvar=True,
        show_default="that of hf auth login",
    ),
]
Message = Annotated[str, typer.Option("--message", "-m", metavar="TEXT", help="Of the commit.")]
Repository = Annotated[
    str, typer.Argument(metavar="USER/NAME", help="Repository on the Hub, created if need be.", show_default=False)
]


def quiet_unless_interactive() -> None:
    """Progress bars for people, not for log files."""
    with stage(STARTING):
        from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()


def millions(count: int) -> str:
    return f"{count / 1e6:,.1f} M"


def gibibytes(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 0.1 * 2**30 else f"{size / 2**20:,.1f} MiB"


def duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{max(seconds, 1):,.0f} s"
