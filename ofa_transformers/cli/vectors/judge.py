"""`ofa vectors evaluate`: word vectors by retrieval and lexicon induction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options import (
    Json,
    Markdown,
    quiet_unless_interactive,
)


if TYPE_CHECKING:
    from ...vectors.evaluation import Evaluation

from .options import DictionaryOption, HeldOut, Pair, Rename, Seed, Vectors, read_dictionary, read_texts, write_json


def evaluate(
    vectors: Vectors,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="Retrieve in this parallel text, as for build.", show_default=False),
    ] = None,
    segments: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Judge by these segment ids.", show_default="all shared ones"),
    ] = None,
    pivot: Annotated[str, typer.Option(metavar="CODE", help="Match the other languages with this one.")] = "eng",
    dictionaries: Annotated[list[str] | None, DictionaryOption] = None,
    max_words: Annotated[int, typer.Option(metavar="N", help="Let the first so many words compete.", min=1)] = 50_000,
    pair: Pair = None,
    rename: Rename = None,
    held_out: HeldOut = 0.0,
    seed: Seed = 0,
    json_file: Json = None,
    markdown: Markdown = False,
) -> None:
    """Judge word vectors by retrieval of parallel text and by lexicon induction, per language.

    Example: ofa vectors evaluate vectors eng_Latn.tsv deu_Latn.tsv --segments test-ids.txt
    """
    from ...text.segmentation import method_of
    from ...utils.targets import check_output_file
    from ...vectors import WordVectors
    from ...vectors.evaluation import lexicon_induction, segment_retrieval

    quiet_unless_interactive()
    if not texts and not dictionaries:
        raise ValueError("nothing to judge by: name parallel text, or a dictionary with --dictionary")
    if json_file is not None:
        check_output_file(json_file)
    entries = read_dictionary(dictionaries, pair, rename) if dictionaries else None
    if held_out and entries is not None:
        _, entries = entries.split(held_out, seed=seed)
    loaded = WordVectors.load(vectors)
    results: dict[str, Evaluation] = {}
    if texts:
        # words are cut as they were for the vectors, where that is known
        segmentation = method_of(loaded.metadata)
        results["retrieval"] = segment_retrieval(
            loaded, read_texts(texts), pivot=pivot, segments=segments, segmentation=segmentation
        )
    if entries is not None:
        results["lexicon induction"] = lexicon_induction(loaded, entries, max_words=max_words)
    write_json(json_file, {name: evaluation.to_dict() for name, evaluation in results.items()})
    for name, evaluation in results.items():
        typer.echo(f"{name}, per cent\n")
        typer.echo(evaluation.to_markdown() if markdown else str(evaluation))
        typer.echo()
    if json_file is not None:
        typer.echo(f"Written: {json_file}")
