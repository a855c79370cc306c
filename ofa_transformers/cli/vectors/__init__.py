"""`ofa vectors build`, `dictionary`, `align`, `convert`, `info`, `evaluate` and `push`."""

from __future__ import annotations

import typer

from . import judge, keep, make


app = typer.Typer(
    help="Make aligned word vectors from parallel text or dictionaries, convert and judge them.", no_args_is_help=True
)
app.command("build")(make.build)
app.command("dictionary")(make.dictionary)
app.command("align")(make.align)
app.command("convert")(keep.convert)
app.command("info")(keep.info)
app.command("evaluate")(judge.evaluate)
app.command("push")(keep.push)
