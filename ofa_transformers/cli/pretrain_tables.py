"""What `ofa pretrain` prints: the plan of a run, and the measures at its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .options import about, duration, gibibytes, millions


if TYPE_CHECKING:
    from rich.console import Console

    from ..training.planning import PretrainingPlan


def show_plan(console: Console, plan: PretrainingPlan, output: Path) -> None:
    from rich.table import Table

    from .tables import print_table

    rows = []
    for row in plan.languages:
        drawn = row.share * plan.tokens
        counts = map(about, (row.characters, row.lines, row.tokens))
        rows.append(
            [row.language, f"{row.parts:,}", *counts, f"{row.share:.1%}", about(drawn), f"{drawn / row.tokens:.2f}"]
        )
    print_table(
        console,
        ["language", "files", "characters", "lines", "tokens", "share", "tokens drawn", "passes"],
        rows,
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    measuring = (
        f" and {duration(plan.evaluation_seconds)} for {plan.evaluations:,} evaluations"
        if plan.evaluation_seconds
        else ""
    )
    start = "starts anew" if plan.resumed is None else f"goes on from {plan.resumed}"
    for name, value in (
        ("run", start),
        (
            "steps",
            f"{plan.steps:,} of {plan.tokens_per_step:,} tokens, samples of up to {plan.max_length:,}: "
            f"{plan.tokens:,} tokens in all",
        ),
        ("model", f"{plan.model_class}, {millions(plan.parameters)} parameters, all trained in float32"),
        (
            "memory",
            f"about {gibibytes(plan.memory)}: weights, gradients, AdamW's state and activations; "
            f"{gibibytes(plan.available)} are free on {plan.device}",
        ),
        (
            "time",
            f"about {duration(plan.seconds)} for the steps{measuring}, as some of them took just now"
            if plan.seconds is not None
            else "not known: steps on a GPU, or in too little memory, aren't measured",
        ),
        ("held out", f"{plan.validation_lines:,} lines of {plan.validation_languages} languages"),
        (
            "would write",
            f"{output}, {gibibytes(plan.disk)} at most: checkpoints of {gibibytes(plan.checkpoint)}, model, tokenizer "
            "and ofa_run.yaml",
        ),
        ("cache", "none: text is streamed" if not plan.cache else f"{gibibytes(plan.cache)} of encoded text"),
    ):
        table.add_row(name, value)
    console.print(table)
    console.print("Characters, lines and tokens are estimates from parts of the text. Nothing was written.")


def show_measures(console: Console, result: dict[str, float]) -> None:
    """Held-out measures by language, with the bits per character of the model before the first step."""
    from rich.table import Table

    last = "_bits_per_byte"
    languages = [
        name[len("eval_") : -len(last)] for name in result if name.endswith(last) and name.startswith("eval_")
    ]
    languages = [language for language in languages if language]
    if not languages:
        return
    started = "start_bits_per_character" in result
    table = Table("language", "loss", "bits/character", *(["before"] if started else []), "bits/byte", "unknown")
    for name, prefix in [*((language, f"{language}_") for language in languages), ("mean", "")]:
        columns = ["eval_{}loss", "eval_{}bits_per_character", "eval_{}bits_per_byte"]
        columns[2:2] = ["start_{}bits_per_character"] if started else []
        row = [f"{result[column.format(prefix)]:.3f}" for column in columns]
        table.add_row(name, *row, f"{result[f'eval_{prefix}unknown_share']:.1%}")
    console.print(table)
