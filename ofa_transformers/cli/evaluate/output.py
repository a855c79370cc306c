"""Where results of `ofa evaluate` go: files, cards, the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options import quiet_unless_interactive, reserve_output
from .options import Card, Details, Markdown, Output, Overwrite


if TYPE_CHECKING:
    from ...evaluation import Measurement


@dataclass(frozen=True)
class Destination:
    """The options of where results go, and how they are shown."""

    output: Path | None
    overwrite: bool
    card: bool
    markdown: bool
    details: bool


@contextlib.contextmanager
def evaluation(
    models: Sequence[str], destination: Destination, data: Sequence[str | Path]
) -> Iterator[list[Measurement]]:
    """Checks where results shall go; inside, they are put into the list; then writes and shows them.

    Where the work breaks off, what is in the list is written beside the output folder, or shown if there is none.
    """
    from ...evaluation.card import check_card, write_card_results
    from ...utils.files import free_name

    quiet_unless_interactive()
    output = destination.output
    if output is not None:
        reserve_output(
            output, destination.overwrite, inputs=[*models, *(str(path).partition("=")[2] or path for path in data)]
        )
    for model in models if destination.card else ():
        check_card(model)
    found: list[Measurement] = []
    try:
        yield found
    except BaseException as error:
        if found and output is not None:
            kept = free_name(output.with_name(f"{output.name}-unfinished"))
            _write(found, kept)
            typer.echo(
                f"Results until then: {kept} (`ofa evaluate table` joins them with those of the rest)", err=True
            )
        elif found:
            _show(found, destination)
        if isinstance(error, FloatingPointError):
            raise ValueError(str(error)) from error
        raise
    if output is not None:
        _write(found, output, destination.overwrite)
        typer.echo(f"Results: {output}", err=True)
    for model in models if destination.card else ():
        path = write_card_results(model, [item for item in found if item.model == model])
        typer.echo(f"Card: {path}", err=True)
    _show(found, destination)


def _write(measured: Sequence[Measurement], output: Path, overwrite: bool = False) -> None:
    from ...evaluation import to_csv, to_json, to_markdown
    from ...utils.files import new_folder

    with new_folder(output, overwrite) as folder:
        for ending, text in (("json", to_json(measured)), ("csv", to_csv(measured)), ("md", to_markdown(measured))):
            (folder / f"results.{ending}").write_text(text, encoding="utf-8")


def _show(measured: Sequence[Measurement], destination: Destination) -> None:
    from ...evaluation.results import GROUPS
    from ...evaluation.tables import tables, to_markdown

    if destination.markdown or not sys.stdout.isatty():
        typer.echo(to_markdown(measured, details=destination.details))
        return
    from rich.console import Console

    from ..tables import print_table

    console = Console(highlight=False, markup=False)
    for item in tables(measured, details=destination.details):
        console.print(f"\n{item.title}", style="bold")
        first = [number for number, (language, _) in enumerate(item.rows) if language in GROUPS][:1]
        rows = [[language, *cells] for language, cells in item.rows]
        print_table(console, ["language", *item.columns], rows, names=item.models, sections=first)
        console.print(item.note, style="dim")


def table(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS...", help="The results.json of other runs, or their folders.", show_default=False
        ),
    ],
    output: Output = None,
    overwrite: Overwrite = False,
    card: Card = False,
    markdown: Markdown = False,
    details: Details = False,
) -> None:
    """Results of several runs side by side: other models, other seeds, other tasks.

    Example: ofa evaluate table results-xlm-r results-adapted --markdown
    """
    from ...evaluation import read_json

    measured = list(
        dict.fromkeys(item for path in results for item in read_json(path / "results.json" if path.is_dir() else path))
    )
    models = sorted({item.model for item in measured})
    with evaluation(models, Destination(output, overwrite, card, markdown, details), results) as found:
        found += measured
