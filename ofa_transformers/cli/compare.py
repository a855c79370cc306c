"""`ofa compare`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..utils.progress import stage
from .config import DryRun
from .options import STARTING, duration, keep_workspace, quiet_unless_interactive


if TYPE_CHECKING:
    from rich.console import Console

    from ..workflows import Board


def compare(
    source: Annotated[str, typer.Argument(help="The pretrained model: a folder or a Hub id.", show_default=False)],
    target_tokenizer: Annotated[
        str, typer.Option("--tokenizer", "-t", metavar="NAME", help="The new tokenizer: a folder or a Hub id.")
    ],
    text: Annotated[list[Path], typer.Option(metavar="PATH", help="Hold out a part of this text; may repeat.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="Folder to write, or to go on with.")],
    word_vectors: Annotated[
        str | None,
        typer.Option(
            "--vectors", "-v", metavar="NAME", help="Word vectors: a file, a folder or a Hub id.", show_default="none"
        ),
    ] = None,
    parallel: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Files of id and text by language; may repeat.", show_default="none"),
    ] = None,
    donor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another model, for omp.", show_default="none")
    ] = None,
    methods: Annotated[
        str, typer.Option(metavar="NAMES", help="Compare these, as ofa,focus; all that can run.")
    ] = "all",
    method_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--method-setting",
            metavar="METHOD.NAME=VALUE",
            help="Set something of a method, as fitted.start=fvt; may repeat.",
            show_default="the methods'",
        ),
    ] = None,
    arms: Annotated[
        list[str] | None,
        typer.Option(
            "--arm",
            metavar="NAME:SETTING=VALUE,...",
            help="Compare other settings of adapt, too; may repeat.",
            show_default="none",
        ),
    ] = None,
    sizes: Annotated[str, typer.Option(metavar="NAMES", help="Compare embedding sizes, as full,200.")] = "full",
    steps: Annotated[str, typer.Option(metavar="NAMES", help="Measure after so many training steps, as 0,100.")] = "0",
    seeds: Annotated[int, typer.Option(metavar="N", help="Repeat with so many seeds.", min=1)] = 1,
    source_languages: Annotated[
        list[str] | None,
        typer.Option(
            "--source-language",
            metavar="CODE",
            help="What the source was trained on, as eng or eng,fra.",
            show_default="any",
        ),
    ] = None,
    max_texts: Annotated[int, typer.Option(metavar="N", help="Hold out so many lines a language.", min=1)] = 16,
    max_pairs: Annotated[int, typer.Option(metavar="N", help="Hold out so many translations a language.", min=2)] = 60,
    dry_run: DryRun = False,
) -> None:
    """Compare initialisations on your own text: which to choose, and how sure.

    Example: ofa compare my-model -t my-tokenizer -v vectors --text text --parallel bible -o board
    """
    with stage(STARTING):
        from rich.console import Console

        from ..initialization.settings import codes_of, pivot_of_source
        from ..text.held_out import read_held_out
        from ..text.parallel import read_segments_by_id
        from ..workflows import Comparison
        from ..workflows import compare as run
        from ..workflows.costs import comparison_seconds

    quiet_unless_interactive()
    keep_workspace(output, dry_run)
    known = codes_of(source_languages)
    pivot = pivot_of_source(known)
    comparison = Comparison(
        source,
        target_tokenizer,
        read_held_out(text)[0],
        read_segments_by_id(parallel, pivot=pivot) if parallel else (),
        word_vectors,
        donor,
        methods=None if methods == "all" else [name for name in methods.split(",") if name],
        method_settings=settings_by_method(method_settings or ()),
        arms=dict(map(named_arm, arms or ())),
        sizes=[None if size == "full" else whole(size, "sizes") for size in sizes.split(",")],
        steps=[whole(number, "steps") for number in steps.split(",")],
        seeds=range(seeds),
        source_languages=known,
        max_texts=max_texts,
        max_pairs=max_pairs,
        files={
            "text": [str(path) for path in text],
            "parallel": [str(path) for path in parallel or ()],
            "pivot": pivot,
        },
    )
    console = Console(highlight=False, markup=False, soft_wrap=True)
    cells = len(comparison.candidates) * seeds
    console.print(
        f"{cells} cells ({', '.join(comparison.candidates)}), about {duration(comparison_seconds(comparison))}"
    )
    if dry_run:
        comparison.check_folder(output)
        console.print("Nothing was written.")
        return
    show(console, run(comparison, output, show_progress=sys.stderr.isatty()))
    console.print(f"board.html, board.json and board.csv are in {output}")


def named_arm(given: str) -> tuple[str, dict[str, Any]]:
    """Name and settings of NAME:SETTING=VALUE,..."""
    from ..initialization.settings import named_value

    name, colon, settings = given.partition(":")
    if not colon or not name.strip():
        raise ValueError(f"--arm {given!r} must be NAME:SETTING=VALUE, for example 'no offset:language_offset=0'.")
    return name.strip(), dict(named_value(setting.strip()) for setting in settings.split(",") if setting.strip())


def settings_by_method(given: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Method -> name -> value, of METHOD.NAME=VALUE."""
    from ..initialization.settings import named_value

    found: dict[str, dict[str, Any]] = {}
    for setting in given:
        method, dot, rest = setting.partition(".")
        if not dot or "=" in method:
            raise ValueError(f"--method-setting {setting!r} must be METHOD.NAME=VALUE, for example fitted.start=fvt.")
        name, value = named_value(rest)
        found.setdefault(method, {})[name] = value
    return found


def whole(text: str, option: str) -> int:
    """A number of an option's list."""
    if not text.strip().isdecimal() or len(text) > 18:
        raise ValueError(f"--{option} has {text!r:.60}, but takes whole numbers separated by commas.")
    return int(text)


def show(console: Console, board: Board) -> None:
    from ..workflows.board import shown_score
    from .tables import print_table

    steps = board.steps[-1]
    rows = []
    for name in board.ranked(board.measures[0], steps):
        scores = (shown_score(measure, board.score(name, measure, steps)) for measure in board.measures)
        rows.append([name, *scores, f"{board.seconds(name):.0f}"])
    console.print(f"Held-out text of {len(board.languages)} languages, {steps} steps; ± half the 95 % interval")
    print_table(console, ["method", *board.measures, "seconds"], rows)
    for verdict in board.verdicts():
        console.print(str(verdict))
