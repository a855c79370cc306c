"""The `ofa` command. Thin: parses, calls the library, prints. The library is imported when a command runs.

Commands live in one module each and are registered here.
"""

from __future__ import annotations

import typer

from . import adapt, compare, demo, evaluate, export, pretrain, push, report, run, tokenizer, vectors
from .errors import Commands, open_closed_streams, stop_at_once, work_is_over


app = typer.Typer(
    name="ofa",
    cls=Commands,
    help="Adapt pretrained Transformers models to many languages with OFA.\n\nExample: ofa demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.command("demo")(demo.demo)
app.command("run")(run.run)
app.command("adapt")(adapt.adapt)
app.command("methods")(adapt.methods)
app.command("compare")(compare.compare)
app.command("convert")(export.convert)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("push")(push.push)
app.command("pretrain")(pretrain.pretrain)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(tokenizer.app, name="tokenizer")
app.add_typer(vectors.app, name="vectors")


def main() -> None:
    """Entry point of the console script: one line and exit code 1 for a user's error, 2 for wrong usage."""
    open_closed_streams()
    stop_at_once()
    try:
        app()
    finally:
        work_is_over()
