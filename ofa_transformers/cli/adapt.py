"""`ofa adapt` and `ofa methods`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..utils.progress import stage
from .config import Config, DryRun, options_of
from .options import (
    RUN,
    STARTING,
    Output,
    Overwrite,
    duration,
    gibibytes,
    millions,
    note,
    quiet_unless_interactive,
    reserve_output,
)


if TYPE_CHECKING:
    from rich.console import Console
    from transformers import PreTrainedTokenizerBase

    from ..initialization.planning import AdaptationPlan
    from ..initialization.settings import InitializationSettings

Languages = list[str] | None
# Panels of the help.
ROWS = "Rows of new tokens"


def adapt(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The pretrained model: a folder or a Hub id.", show_default=False)],
    output: Output,
    target_tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            "-t",
            metavar="NAME",
            help="A folder or a Hub id.",
            show_default="the source's",
        ),
    ] = None,
    trim: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Keep what this text needs.", show_default="all"),
    ] = None,
    new_languages: Annotated[
        list[str] | None,
        typer.Option(
            "--add-language", metavar="CODE", help="Add its token, as xyz_Latn:like=swh_Latn.", show_default="none"
        ),
    ] = None,
    word_vectors: Annotated[
        str | None,
        typer.Option(
            "--vectors",
            "-v",
            metavar="NAME",
            help="Word vectors: file or Hub id.",
            show_default="none",
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="See `ofa methods`.", show_default="ofa, or fvt")
    ] = "ofa",
    embedding_size: Annotated[
        int | None,
        typer.Option(
            "--embedding-size",
            "--size",
            metavar="N",
            help="Factorize to this size.",
            show_default="full size",
        ),
    ] = None,
    source_languages: Annotated[
        Languages,
        typer.Option(
            "--source-language",
            metavar="CODE",
            help="What the source knows, as eng,fra.",
            show_default="any",
        ),
    ] = None,
    target_languages: Annotated[
        Languages,
        typer.Option("--target-language", metavar="CODE", help="Use only these, as deu,swh.", show_default="all"),
    ] = None,
    target_text: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Fit to this text; may repeat.", show_default="none"),
    ] = None,
    parallel: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Translations for alignment.", show_default="none"),
    ] = None,
    donor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another model, for --method omp.", show_default="none")
    ] = None,
    method_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--method-setting",
            metavar="NAME=VALUE",
            help="Set something of the method; may repeat.",
            show_default="the method's",
            rich_help_panel=ROWS,
        ),
    ] = None,
    num_neighbors: Annotated[
        int, typer.Option(metavar="N", help="Source tokens that a row is made of.", rich_help_panel=ROWS)
    ] = 10,
    temperature: Annotated[
        float, typer.Option(metavar="X", help="Lower gives the nearest more weight.", rich_help_panel=ROWS)
    ] = 0.1,
    fallback: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Make others: normal, multivariate_normal, mean, zeros.",
            show_default="the method's; normal for ofa",
            rich_help_panel=ROWS,
        ),
    ] = None,
    max_words: Annotated[
        int | None,
        typer.Option(metavar="N", help="Use the first so many words.", show_default="all", rich_help_panel=ROWS),
    ] = None,
    word_weighting: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Count words uniform or by sqrt_frequency.",
            show_default="sqrt_frequency if known",
            rich_help_panel=ROWS,
        ),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Copy all common tokens, or those used_by_source.",
            show_default="used_by_source if it has one language",
            rich_help_panel=ROWS,
        ),
    ] = None,
    language_offset: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Shift each language by X mean norms.",
            show_default="0.2 for LMs with --source-language",
            rich_help_panel=ROWS,
        ),
    ] = None,
    primitives: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Fit the factors to source or target.", show_default="target", rich_help_panel=ROWS
        ),
    ] = None,
    authors_compatible: Annotated[
        bool, typer.Option("--authors-compatible", help="Do as the published code does.", rich_help_panel=ROWS)
    ] = False,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Draw fallback rows and offsets with it.", min=0, rich_help_panel=RUN)
    ] = 114514,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.", rich_help_panel=RUN)
    ] = False,
    config: Config = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
) -> None:
    """Give a pretrained model the vocabulary of another tokenizer, with OFA.

    Example: ofa adapt FacebookAI/xlm-roberta-base -t my-tokenizer -v vectors --size 200 -o adapted
    """
    with stage(STARTING):
        from rich.console import Console

        from ..initialization.initializer import OfaInitializer
        from ..initialization.planning import plan_adaptation
        from ..initialization.run import Run
        from ..initialization.settings import InitializationSettings
        from ..text.file_names import named
        from ..utils.files import new_folder
        from ..utils.targets import check_space
        from .run_record import RunRecord

    quiet_unless_interactive()
    files = [name for name in (word_vectors, donor, *(target_text or ()), *(parallel or ())) if name is not None]
    files += [path for text in trim or () for path in (named(text)[1],)]
    if target_tokenizer is None and not trim and not new_languages:
        raise typer.BadParameter(
            "name the new tokenizer; or --trim, or --add-language, to go on with the source's",
            param_hint="--tokenizer",
        )
    read = [source, *([] if target_tokenizer is None else [target_tokenizer]), *files]
    reserve_output(output, overwrite, inputs=read, dry_run=dry_run)
    console = Console(highlight=False, markup=False, soft_wrap=True)  # names may have brackets
    is_open = context.get_parameter_source("method").name == "DEFAULT"
    if (trim or new_languages) and word_vectors is None and is_open:
        context.params["method"] = "fvt"  # which needs nothing; recorded, too
    settings = InitializationSettings.from_dict(options_of(context))  # as ofa_run.yaml has them
    inputs = {
        "target_tokenizer": trimmed(target_tokenizer or source, trim) if trim else target_tokenizer or source,
        "word_vectors": word_vectors,
        "target_text": lines_of_text(target_text) if target_text else None,
        "parallel_text": translations(parallel, settings) if parallel else None,
        "donor": donor,
    }
    access = {"trust_remote_code": True} if trust_remote_code else {}
    if dry_run:
        plan = plan_adaptation(source, **inputs, hub_kwargs=access, **settings.arguments())
        check_space(output, plan.disk)
        show_plan(console, plan, output)
        return
    record = RunRecord(context, read)
    adapted = OfaInitializer.from_pretrained(
        source, **inputs, **access, **settings.arguments(), _run=Run(output=output)
    )
    with new_folder(output, overwrite) as folder:
        adapted.save_pretrained(folder)
        record.write(folder)
    console.print(str(adapted.report))
    for warning in adapted.report.warnings:
        note(warning)
    console.print(f"Model, tokenizer and report are in {output}")


def trimmed(tokenizer: str, texts: list[str]) -> PreTrainedTokenizerBase:
    """A tokenizer with what some text needs."""
    from ..text.corpus import find_text
    from ..tokenization import trim_tokenizer

    return trim_tokenizer(tokenizer, find_text(texts))


def lines_of_text(paths: list[Path]) -> Mapping[str, Iterable[str]] | Iterable[str]:
    """Lines by language where all files are named by one, or else all lines."""
    from ..text.corpus import Chain, TextFile, by_language
    from ..text.languages import to_iso639_3

    try:
        return {to_iso639_3(code, str(code)): lines for code, lines in by_language(paths).items()}
    except ValueError:
        return Chain([TextFile(path) for path in paths])


def translations(paths: list[Path], settings: InitializationSettings) -> Iterator[tuple[str, str]]:
    """(line of the source's language, its translation) from files by language with common ids."""
    from ..evaluation import read_segments_by_id
    from ..initialization.settings import pivot_of_source

    for text in read_segments_by_id(paths, pivot=pivot_of_source(settings.source_languages)):
        yield from zip(text.translations, text.texts)


def methods() -> None:
    """List the ways to make the rows of new tokens, and what each needs.

    Example: ofa methods
    """
    with stage(STARTING):
        from rich.console import Console
        from rich.table import Table

        from ..initialization.methods import methods as all_methods

    table = Table(box=None, pad_edge=False)
    for heading in ("method", "needs", "what it does"):
        table.add_column(heading, no_wrap=heading == "method")
    for method in all_methods().values():
        needs = ", ".join(need if isinstance(need, str) else " or ".join(need) for need in method.needs)
        table.add_row(method.name, needs or "nothing", method.summary)
    Console(highlight=False, markup=False).print(table)


def show_plan(console: Console, plan: AdaptationPlan, output: Path) -> None:
    from rich.table import Table

    before, after = plan.parameters
    old, new = plan.embedding_parameters
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    for name, value in (
        ("class", f"{plan.source_class} -> {plan.target_class}"),
        (
            "tokens",
            f"{plan.source_tokens:,} -> {plan.target_tokens:,}, of which the source has {plan.shared_tokens:,}",
        ),
        ("word vectors", f"{plan.words:,} words of {plan.languages:,} languages, {plan.dimension} dimensions"),
        ("settings", _as_yaml(plan.settings.to_dict())),
        (
            "parameters",
            f"{millions(before)} -> {millions(after)}, of them embeddings {millions(old)} -> {millions(new)}",
        ),
        (
            "memory",
            f"about {gibibytes(plan.memory)} at the peak and {gibibytes(plan.mapped)} of mapped word vectors; "
            f"{gibibytes(plan.available)} are free",
        ),
        ("time", f"about {duration(plan.seconds)}, an estimate for two cores (docs/performance.md)"),
        ("would write", f"{output}, {gibibytes(plan.disk)}: model, tokenizer, report, card and ofa_run.yaml"),
    ):
        table.add_row(name, value)
    console.print(table)
    for each in plan.notes:
        note(each)
    console.print("Nothing was written.")


def _as_yaml(settings: dict[str, Any]) -> str:
    """Settings that say something, on one line; what is left open isn't there."""
    import yaml

    said = {name: value for name, value in settings.items() if value is not None and value is not False}
    return yaml.safe_dump(said, default_flow_style=True, sort_keys=False, width=float("inf")).strip()
