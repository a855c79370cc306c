"""`ofa vectors build`, `dictionary` and `align`: make word vectors, or join them to others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import (
    Output,
    Overwrite,
    quiet_unless_interactive,
    reserve_output,
)
from .options import (
    Dictionaries,
    DictionaryOption,
    HeldOut,
    Language,
    Pair,
    Rename,
    Seed,
    Segmentation,
    Texts,
    Vectors,
    read_dictionary,
    read_texts,
    save,
)


def build(
    texts: Texts,
    output: Output,
    exclude: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Leave out these segment ids, one a line.", show_default="none")
    ] = None,
    dim: Annotated[int, typer.Option(metavar="N", help="Make vectors of so many dimensions.", min=1)] = 200,
    min_count: Annotated[int, typer.Option(metavar="N", help="Leave out rarer words.", min=1)] = 2,
    segmentation: Annotated[
        Segmentation, typer.Option(metavar="NAME", help="Cut scripts without spaces: words, characters, auto.")
    ] = Segmentation.auto,
    keep_case: Annotated[bool, typer.Option("--keep-case", help="Do not count words in lower case.")] = False,
    alignment_weight: Annotated[
        float, typer.Option(metavar="X", help="Weigh aligned words so, beside segments.", min=0)
    ] = 1.0,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Make word vectors from text whose segments have the same ids in all languages.

    Example: ofa vectors build eng_Latn.tsv deu_Latn.tsv --exclude test-ids.txt -o vectors
    """
    from ...vectors import WordVectors

    quiet_unless_interactive()
    sources = read_texts(texts)
    read = [path for files in sources.values() for path in files]
    reserve_output(output, overwrite, inputs=[*read, *([exclude] if exclude else [])])
    vectors = WordVectors.from_parallel(
        sources,
        dim=dim,
        min_count=min_count,
        lowercase=not keep_case,
        segmentation=segmentation.value,
        exclude=exclude,
        seed=seed,
        alignment_weight=alignment_weight,
    )
    save(vectors, output, overwrite)


def dictionary(
    dictionaries: Dictionaries,
    output: Output,
    base: Annotated[
        str | None,
        typer.Option("--vectors", "-v", metavar="NAME", help="Add words to these.", show_default="make new ones"),
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Add its words only; may repeat.", show_default="all")
    ] = None,
    dim: Annotated[
        int | None, typer.Option(metavar="N", help="Make vectors of so many dimensions.", min=1, show_default="200")
    ] = None,
    steps: Annotated[int, typer.Option(metavar="N", help="Go so many translations from an old word.", min=1)] = 2,
    pair: Pair = None,
    rename: Rename = None,
    held_out: HeldOut = 0.0,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Make word vectors from dictionaries, or add their words to vectors that exist.

    Example: ofa vectors dictionary zul-eng.txt --vectors vectors -o vectors-zul
    """
    from ...utils.targets import check_space
    from ...vectors import WordVectors

    quiet_unless_interactive()
    reserve_output(output, overwrite, inputs=[*dictionaries, *([base] if base else [])])
    entries = read_dictionary(dictionaries, pair, rename)
    if held_out:
        entries, _ = entries.split(held_out, seed=seed)
    vectors = None if base is None else WordVectors.load(base)
    if vectors is not None:
        check_space(output, vectors.bytes_to_write)
    made = WordVectors.from_dictionaries(entries, vectors, dim=dim, languages=language or None, steps=steps, seed=seed)
    save(made, output, overwrite)


def align(
    vectors: Vectors,
    space: Annotated[str, typer.Argument(metavar="SPACE", help="The vectors to join: a file, a folder, a Hub id.")],
    dictionaries: Annotated[list[str], DictionaryOption],
    output: Output,
    language: Language = None,
    center: Annotated[bool, typer.Option("--center", help="Subtract each side's mean first.")] = False,
    refinements: Annotated[
        int, typer.Option(metavar="N", help="Fit so many times more, with nearest words.", min=0)
    ] = 0,
    max_words: Annotated[
        int, typer.Option(metavar="N", help="Search the first so many words a side.", min=1)
    ] = 20_000,
    pair: Pair = None,
    rename: Rename = None,
    held_out: HeldOut = 0.1,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Turn vectors of one language into the space of others with a dictionary (orthogonal Procrustes).

    Example: ofa vectors align cc.de.300.vec.gz aligned -d de-en.txt -o german
    """
    from ...utils.targets import check_space
    from ...vectors import WordVectors

    quiet_unless_interactive()
    reserve_output(output, overwrite, inputs=[vectors, space, *dictionaries])
    entries = read_dictionary(dictionaries, pair, rename)
    joined = WordVectors.load(vectors, language=language)
    check_space(output, joined.bytes_to_write)
    mapped = joined.aligned_to(
        WordVectors.load(space),
        entries,
        center=center,
        refinements=refinements,
        held_out=held_out,
        max_words=max_words,
        seed=seed,
    )
    save(mapped, output, overwrite)
    report = mapped.metadata["alignment"]
    typer.echo(
        f"{report['anchors']:,} entries; {report['held_out']:,} words held out, "
        f"{report['candidates']:,} {report['target']} candidates"
    )
    for score in report["scores"]:
        shares = (f"{name} {score[f'{name}_top1']:.1%} / {score[f'{name}_top5']:.1%}" for name in ("cosine", "csls"))
        typer.echo(f"{score['step']}: top 1 / top 5 by {', '.join(shares)}")
