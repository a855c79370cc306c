"""`ofa evaluate retrieval` and `perplexity`: of models as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..options import RUN
from .options import (
    DATA,
    Card,
    Cpu,
    Datasets,
    Details,
    Head,
    Ids,
    Languages,
    Markdown,
    MaxLength,
    Models,
    Name,
    Output,
    Overwrite,
    RemoteCode,
    head_codes,
    name_of,
)
from .output import Destination, evaluation


def retrieval(
    models: Models,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Read deu-eng.tsv, x.deu-eng.deu, or folders.",
            show_default="none",
            rich_help_panel=DATA,
        ),
    ] = None,
    parallel: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH", help="Read files of id<TAB>text, or folders.", show_default="none", rich_help_panel=DATA
        ),
    ] = None,
    ids: Ids = None,
    dataset: Datasets = None,
    columns: Annotated[
        str, typer.Option(metavar="A,B", help="Read these columns of --dataset.", rich_help_panel=DATA)
    ] = "sentence1,sentence2",
    pivot: Annotated[
        str, typer.Option(metavar="CODE", help="Match the other languages with this one.", rich_help_panel=DATA)
    ] = "eng",
    languages: Languages = None,
    max_sentences: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Take so many a language at most.", min=2, show_default="all", rich_help_panel=DATA
        ),
    ] = None,
    name: Name = None,
    layer: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Take the states after so many layers.",
            min=0,
            show_default="two thirds; sentence encoders: last",
        ),
    ] = None,
    center: Annotated[
        bool | None,
        typer.Option(
            "--center/--no-center", help="Subtract each language's mean, or don't.", show_default="both side by side"
        ),
    ] = None,
    head: Head = None,
    max_length: MaxLength = 512,
    output: Output = None,
    overwrite: Overwrite = False,
    card: Card = False,
    cpu: Cpu = False,
    trust_remote_code: RemoteCode = False,
    markdown: Markdown = False,
    details: Details = False,
) -> None:
    """Retrieval of translations, top 1, 5 and 10 in both directions: Tatoeba (SR-T), Bible (SR-B), your own.

    Example: ofa evaluate retrieval adapted FacebookAI/xlm-roberta-base --parallel bible --ids test.tsv -o results
    """
    from ...evaluation import evaluate_retrieval
    from ...text.languages import language_name
    from ...text.parallel import read_pair_datasets, read_pairs, read_segments_by_id

    given = [option for option in (pairs, parallel, dataset) if option]
    if len(given) != 1:
        raise ValueError("Name the sentences with one of --pairs, --parallel and --dataset.")
    if ids is not None and not parallel:
        raise ValueError("--ids are of --parallel text; leave them out.")
    options = {"languages": languages, "max_sentences": max_sentences}
    with evaluation(
        models,
        Destination(output, overwrite, card, markdown, details),
        [*(pairs or ()), *(parallel or ()), *([ids] if ids else [])],
    ) as found:
        head_languages = head_codes(head)
        if pairs:
            texts = read_pairs(pairs, pivot=pivot, **options)
        elif parallel:
            texts = read_segments_by_id(parallel, pivot=pivot, ids=ids, **options)
        else:
            texts = read_pair_datasets(
                _datasets(dataset, languages), columns=_two(columns), max_sentences=max_sentences
            )
        evaluate_retrieval(
            models,
            texts,
            name=name or name_of(given[0]),
            pivot=language_name(pivot.partition("_")[0]),
            layer=layer,
            center=center,
            head_languages=head_languages,
            max_length=max_length,
            device="cpu" if cpu else None,
            trust_remote_code=trust_remote_code,
            on_results=found.extend,
        )


def perplexity(
    models: Models,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            metavar="TEXT",
            help="Read files named by language, LANGUAGE=FILE, or folders.",
            show_default="none",
            rich_help_panel=DATA,
        ),
    ] = None,
    ids: Ids = None,
    dataset: Datasets = None,
    column: Annotated[
        str, typer.Option(metavar="NAME", help="Read this column or field.", rich_help_panel=DATA)
    ] = "text",
    split: Annotated[
        str, typer.Option(metavar="NAME", help="Read this split of --dataset.", rich_help_panel=DATA)
    ] = "test",
    max_texts: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Take the first lines of each language.", min=1, show_default="all", rich_help_panel=DATA
        ),
    ] = None,
    name: Name = None,
    scheme: Annotated[
        Literal["word", "token"],
        typer.Option(metavar="word|token", help="Mask the rest of the word, too, or the token alone."),
    ] = "word",
    stride: Annotated[int, typer.Option(metavar="N", help="Mask one token of N at a time.", min=2)] = 7,
    head: Head = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Score windows of so many tokens.",
            min=3,
            show_default="the model's",
            rich_help_panel=RUN,
        ),
    ] = None,
    output: Output = None,
    overwrite: Overwrite = False,
    card: Card = False,
    cpu: Cpu = False,
    trust_remote_code: RemoteCode = False,
    markdown: Markdown = False,
    details: Details = False,
) -> None:
    """Bits per character and byte, and perplexity of (masked) tokens, of masked language models and decoders.

    Example: ofa evaluate perplexity adapted continued --text heldout/ --max-texts 200 -o results
    """
    from ...evaluation import evaluate_perplexity
    from ...text.held_out import read_held_out

    if not text and not dataset:
        raise ValueError("Name text with --text or --dataset.")
    with evaluation(
        models, Destination(output, overwrite, card, markdown, details), [*(text or ()), *([ids] if ids else [])]
    ) as found:
        head_languages = head_codes(head)
        texts, data = read_held_out(
            text or (), dataset or (), ids=ids, column=column, split=split, max_texts=max_texts
        )
        evaluate_perplexity(
            models,
            texts,
            name=name or name_of(text or dataset),
            data=data,
            scheme=scheme,
            stride=stride,
            head_languages=head_languages,
            max_length=max_length,
            device="cpu" if cpu else None,
            trust_remote_code=trust_remote_code,
            on_results=found.extend,
        )


def _datasets(values: Sequence[str], languages: Sequence[str] | None) -> dict[str, str]:
    named = {}
    for value in values:
        language, _, identifier = value.partition("=")
        if not language or not identifier:
            raise ValueError(f"The data set {value!r} has no language; write LANGUAGE=ID or LANGUAGE=ID:CONFIG.")
        if languages is None or language in languages:
            named[language] = identifier
    return named


def _two(columns: str) -> tuple[str, str]:
    names = columns.split(",")
    if len(names) != 2 or not all(names):
        raise ValueError(f"--columns is {columns!r}, but must name two, as sentence1,sentence2.")
    return names[0], names[1]
