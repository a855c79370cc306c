"""Options that several of the `ofa evaluate` commands have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..options import RUN


# Panels of the help.
DATA, TRAINING = "Data", "Fine-tuning"

Models = Annotated[
    list[str],
    typer.Argument(metavar="MODEL...", help="Folders or Hub ids, side by side in the tables.", show_default=False),
]
Languages = Annotated[
    list[str] | None,
    typer.Option(
        "--language",
        metavar="CODE",
        help="Measure this one only; may repeat.",
        show_default="all",
        rich_help_panel=DATA,
    ),
]
Ids = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Use these segments, one id a line.", show_default="all", rich_help_panel=DATA),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        metavar="SET",
        help="Take LANGUAGE=ID[:CONFIG] of the Hub; may repeat.",
        show_default="none",
        rich_help_panel=DATA,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="Call the data so in results.", show_default="its folder's", rich_help_panel=DATA
    ),
]
Head = Annotated[
    str | None,
    typer.Option(
        "--head-languages",
        metavar="CODES",
        help="Add means of these (head) and others (tail): xlm-r, deu,fra, or a file.",
        show_default="none",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Write results.json, .csv and .md here.",
        show_default="none",
        rich_help_panel=RUN,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what the folder holds.", rich_help_panel=RUN)]
Card = Annotated[bool, typer.Option("--card", help="Add the results to the models' README.md.", rich_help_panel=RUN)]
Cpu = Annotated[bool, typer.Option("--cpu", help="Don't use a GPU.", rich_help_panel=RUN)]
RemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with a model.", rich_help_panel=RUN)
]
Details = Annotated[
    bool, typer.Option("--details", help="Show all metrics; files have them anyway.", rich_help_panel=RUN)
]
Markdown = Annotated[
    bool,
    typer.Option("--markdown", help="Print Markdown, as into files and pipes.", rich_help_panel=RUN),
]
LabelledFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        "-d",
        metavar="PATH",
        help="Files named like deu.train.tsv, or folders.",
        show_default="none",
        rich_help_panel=DATA,
    ),
]
TrainSplit = Annotated[str, typer.Option(metavar="NAME", help="Fine-tune on this split.", rich_help_panel=DATA)]
Seeds = Annotated[
    list[int] | None,
    typer.Option(
        "--seed", metavar="N", help="Run with this seed; may repeat.", show_default="42", rich_help_panel=TRAINING
    ),
]
Epochs = Annotated[
    float, typer.Option(metavar="N", help="Pass so often over the training split.", rich_help_panel=TRAINING)
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--learning-rate",
        "--lr",
        metavar="X",
        help="Set AdamW's rate at its peak.",
        show_default="by the model's width",
        rich_help_panel=TRAINING,
    ),
]
BatchSize = Annotated[
    int, typer.Option(metavar="N", help="Take so many sentences a step.", min=1, rich_help_panel=TRAINING)
]
MaxLength = Annotated[
    int, typer.Option(metavar="N", help="Cut sentences at so many tokens.", min=1, rich_help_panel=RUN)
]


def head_codes(value: str | None) -> list[str] | None:
    """Codes of head languages: from a list with commas, or a file of them; None for none."""
    from ...text.language_groups import head_languages

    if value is None or value == "none":
        return None
    if Path(value).is_file():
        value = Path(value).read_text(encoding="utf-8")
    codes = value.replace(",", " ").split()
    head_languages(codes)  # or its error, before work begins
    return codes


def name_of(paths: Sequence[Any]) -> str:
    """What the data are called: the folder that they lie in, or the data set."""
    first = str(paths[0]).partition("=")[2] or str(paths[0])
    path = Path(first).resolve()
    if not path.exists():
        return first
    return path.name if path.is_dir() else path.parent.name
