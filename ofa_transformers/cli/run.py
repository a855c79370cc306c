"""`ofa run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..utils.progress import stage
from .config import DryRun
from .options import RUN, STARTING, duration, gibibytes, keep_workspace, quiet_unless_interactive


if TYPE_CHECKING:
    from rich.console import Console

    from ..workflows import Outcome
    from ..workflows.route_plan import RoutePlan


def run(
    source: Annotated[str, typer.Argument(help="The pretrained model: a folder or a Hub id.", show_default=False)],
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT...",
            help="Files named by language, LANGUAGE=FILE, folders; id<TAB>line for translations.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="PATH", help="Write to this folder; a run that broke off goes on."),
    ],
    held_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measure on these ids.", show_default="100 of all languages")
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Never use these ids.", show_default="none")
    ] = None,
    word_vectors: Annotated[
        str | None,
        typer.Option(
            "--vectors", "-v", metavar="NAME", help="Take these word vectors.", show_default="of the translations"
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            "-t",
            metavar="NAME",
            help="Use train, extend, or a folder or Hub id.",
            show_default="as fits",
        ),
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(metavar="N", help="Train a tokenizer of this size.", min=1, show_default="measured")
    ] = None,
    num_new_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Extend one by this many tokens.", min=1, show_default="measured")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", "-n", metavar="N", help="Train so many steps.", min=1, show_default="one pass"),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", "--lr", metavar="X", help="Train at this peak rate.", show_default="by width"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="STAGE.NAME=VALUE",
            help="Set options of vectors, tokenizer, adapt, train; may repeat.",
            show_default="none",
        ),
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Use no GPU.", rich_help_panel=RUN)] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed all draws.", min=0, rich_help_panel=RUN)] = 0,
    dry_run: DryRun = False,
) -> None:
    """From a model and text to a trained model: vectors, tokenizer, adaptation, training, evaluation.

    Example: ofa run sentence-transformers/all-MiniLM-L6-v2 bible/ -o out
    """
    with stage(STARTING):
        from rich.console import Console

        from ..workflows import Route, adapt_and_train
        from ..workflows.route_plan import plan_route
        from .display import training_display

    quiet_unless_interactive()
    keep_workspace(output, dry_run)
    console = Console(highlight=False, markup=False, soft_wrap=True)  # names may have brackets
    options: dict[str, Any] = {
        "held_out": held_out,
        "exclude": exclude,
        "tokenizer": tokenizer,
        "vocab_size": vocab_size,
        "num_new_tokens": num_new_tokens,
        "word_vectors": word_vectors,
        "steps": steps,
        "learning_rate": learning_rate,
        "overrides": read_overrides(settings or []),
        "cpu": cpu,
        "seed": seed,
    }
    if dry_run:
        show_plan(console, plan_route(Route(source, texts, **options), output), output)
        return
    outcome = adapt_and_train(source, texts, output, say=console.print, display=training_display(), **options)
    show(console, outcome)


def read_overrides(values: list[str]) -> dict[str, dict[str, Any]]:
    """STAGE.NAME=VALUE to stage -> name -> value, which is read as YAML."""
    import yaml

    found: dict[str, dict[str, Any]] = {}
    for text in values:
        name, equals, value = text.partition("=")
        part, dot, option = name.partition(".")
        if not (equals and dot and part and option):
            raise ValueError(f"--set has {text!r}, but takes STAGE.NAME=VALUE, as train.learning_rate=0.0001.")
        try:
            found.setdefault(part, {})[option.replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"--set: the value of {name} can't be read: {value!r}.") from error
    return found


def show_plan(console: Console, plan: RoutePlan, output: Path) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), width=80)
    for heading in ("stage", "what", "time", "memory", "disk"):
        number = heading not in ("stage", "what")
        table.add_column(heading, justify="right" if number else "left", no_wrap=number or heading == "stage")
    for each in plan.stages:
        time = "there" if each.done else duration(each.seconds)
        table.add_row(each.name, each.what, time, gibibytes(each.memory), gibibytes(each.disk))
    console.print(table)
    console.print(
        f"All: {duration(sum(each.seconds for each in plan.left))}, an estimate for two cores; "
        f"{gibibytes(max((each.memory for each in plan.left), default=0))} of memory,\nof which "
        f"{gibibytes(plan.available)} are free; {gibibytes(plan.disk)} in {output}.\n"
        "Nothing was written."
    )


def show(console: Console, outcome: Outcome) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    made = [Path(name) for name in outcome.models]
    names = [path.name if path.parent == outcome.model.parent else "source" for path in made]
    for heading in ("language", "measure", *names):
        number = heading not in ("language", "measure")
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in outcome.table:
        table.add_row(*row)
    console.print(table)
    console.print(f"Model, tokenizer, report and card are in {outcome.model}, after {duration(outcome.seconds)}")
    if outcome.encoder is not None:
        console.print(f"What SentenceTransformer loads is in {outcome.encoder}")
