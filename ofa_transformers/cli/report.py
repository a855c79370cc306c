"""`ofa report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..utils.progress import stage


def report(
    folder: Annotated[Path, typer.Argument(help="A checkpoint that ofa adapt wrote.", show_default=False)],
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Show report.html in the browser, if run in a terminal.")
    ] = True,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Also draw figures into this folder.", show_default="none"),
    ] = None,
    format: Annotated[str, typer.Option(metavar="NAME", help="Draw figures as png (300 dpi), svg or pdf.")] = "png",
) -> None:
    """Write a checkpoint's report.html again and open it: where each row came from.

    Example: ofa report adapted --figures adapted-figures
    """
    from ..report import draw_figures, load_page, rewrite_page
    from ..utils.reading import reading

    drawn = []
    if figures is not None:
        report, columns = load_page(folder)
        with reading(f"The report in {folder} lacks what its figures show; adapt the model again"):
            drawn = draw_figures(report, columns, figures, format)
    with stage("Writing the report"):
        page = rewrite_page(folder)
    typer.echo(f"Report: {page}")
    for path in drawn:
        typer.echo(f"Figure: {path}")
    if open_page and sys.stdout.isatty():
        typer.launch(str(page))
