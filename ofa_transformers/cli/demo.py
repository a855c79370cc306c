"""`ofa demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..utils.progress import stage
from .options import STARTING, Overwrite, reserve_output, work_begins


if TYPE_CHECKING:
    from rich.console import Console

    from ..demo import DemoResult


def demo(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Folder for the checkpoints.",
            show_default="ofa-demo, or the first free ofa-demo-N",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Draw random rows and masks with it.", min=0)] = 0,
    embedding_size: Annotated[int, typer.Option(metavar="N", help="Size of the factorized embeddings.", min=1)] = 64,
    steps: Annotated[int, typer.Option(metavar="N", help="Train so many steps of 2,048 tokens.", min=0)] = 60,
    overwrite: Overwrite = False,
) -> None:
    """Adapt a small English model to twelve languages, offline, and measure it.

    Example: ofa demo --output my-demo
    """
    import sys

    with stage(STARTING):
        from rich.console import Console
        from transformers.utils import logging

        from ..demo import DemoSettings, run_demo
        from ..utils.files import free_name

    work_begins()
    if output is None:
        output = free_name("ofa-demo")
    reserve_output(output, overwrite)
    console = Console()
    interactive = sys.stderr.isatty()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    settings = DemoSettings(seed=seed, embedding_size=embedding_size, steps=steps)
    result = run_demo(output, settings, overwrite=overwrite, show_progress=interactive)
    show(console, result)


def show(console: Console, result: DemoResult) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from ..demo.data import ENGLISH

    arms = result.arms
    targets = [language for language in arms[0].before.masked_lm if language != ENGLISH]
    # Eighty columns have to do: figures before and after stand close, and nothing wraps.
    look = {"box": box.SIMPLE_HEAD, "title_justify": "left", "pad_edge": False, "padding": (0, 1, 0, 0)}
    overall = Table(
        title=f"Held-out text of {len(targets)} languages, before → after {result.settings.steps} steps", **look
    )
    overall.add_column("initialisation", no_wrap=True)
    for heading in ("params", "embed.", "MLM loss", "bits/char", "top-1 %"):
        overall.add_column(heading, justify="right", no_wrap=True)
    for arm in arms:
        overall.add_row(
            arm.name,
            f"{arm.parameters / 1e6:.2f} M",
            f"{arm.embedding_parameters / 1e6:.2f} M",
            f"{arm.before.overall.loss:.2f}→{arm.after.overall.loss:.2f}",
            f"{arm.before.overall.bits_per_character:.2f}→{arm.after.overall.bits_per_character:.2f}",
            f"{100 * arm.before.mean_retrieval:.1f}→{100 * arm.after.mean_retrieval:.1f}",
        )
    per_language = Table(title="Each language: bits per character, and retrieval top-1 in %", **look)
    per_language.add_column("language", no_wrap=True)
    per_language.add_column("words", justify="right", no_wrap=True)
    for arm in arms:
        per_language.add_column(arm.name.split(",")[0] + " bits", justify="right", no_wrap=True)
        per_language.add_column("top-1", justify="right", no_wrap=True)
    for language in arms[0].before.masked_lm:
        row = [language, f"{result.train_words[language]:,}"]
        for arm in arms:
            bits = [scores.masked_lm[language].bits_per_character for scores in (arm.before, arm.after)]
            row.append(f"{bits[0]:.2f}→{bits[1]:.2f}")
            if language == ENGLISH:
                row.append("")
            else:
                hits = [scores.retrieval[language] for scores in (arm.before, arm.after)]
                row.append(f"{100 * hits[0]:.0f}→{100 * hits[1]:.0f}")
        per_language.add_row(*row)
    counts = ", ".join(f"{count:,} {kind}" for kind, count in result.token_counts.items())
    console.print()
    console.print(overall)
    console.print(per_language)
    console.print(
        f"Parameters in all and of the embeddings. Words: those of the text trained on. Tokens of the target vocabulary by OFA: {counts}. Trained on {result.segments[0]} segments of the Universal "
        f"Declaration of Human Rights a language, measured on {result.segments[1]} others.\n"
        "Trained on running text and on pairs of translations in turn. Masked-LM loss: nats a token, each token masked "
        "once, with the rest of its word. Bits per character: that sum in bits, divided by the characters of the text. Top-1, English → X: the translation has the highest cosine (mean of the "
        f"hidden states after layer {result.retrieval_layer}); chance is {result.chance:.1%}. One seed; the numbers of "
        "so little text vary from seed to seed.",
        highlight=False,
    )
    console.print(f"\nCheckpoints and results.json, written in {result.seconds:.0f} s:", highlight=False)
    for arm in arms:
        console.print(f"  {escape(str(arm.folder))}", highlight=False, soft_wrap=True)
    folder = str(arms[-1].folder)
    console.print("Load one:", highlight=False)
    for line in (
        "import ofa_transformers",
        "from transformers import pipeline",
        f"fill = pipeline('fill-mask', {folder!r})",
    ):
        console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
