"""`ofa evaluate retrieval`, `perplexity`, `classification`, `tagging` and `table`."""

from __future__ import annotations

import typer

from . import fine_tuned, language_models, output


app = typer.Typer(
    help="Measure models side by side: retrieval, perplexity, classification, tagging.", no_args_is_help=True
)
app.command("retrieval")(language_models.retrieval)
app.command("perplexity")(language_models.perplexity)
app.command("classification")(fine_tuned.classification)
app.command("tagging")(fine_tuned.tagging)
app.command("table")(output.table)
