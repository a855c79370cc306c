"""`ofa vectors convert`, `info` and `push`: word vectors from file to file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..options import (
    Json,
    Message,
    Output,
    Overwrite,
    Private,
    Repository,
    Revision,
    Token,
    quiet_unless_interactive,
    reserve_output,
)
from .options import Frequencies, Language, Vectors, save, write_json


def convert(
    vectors: Vectors,
    output: Output,
    language: Language = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Read as word2vec, word2vec-binary, glove, fasttext, gensim, torch.",
            show_default="by content",
        ),
    ] = None,
    filename: Annotated[
        str | None, typer.Option(metavar="FILE", help="Read this file of a folder or repository.", show_default="all")
    ] = None,
    default_language: Annotated[
        str, typer.Option(metavar="CODE", help="Take words without a lng: prefix for this.")
    ] = "eng",
    frequencies: Annotated[
        Frequencies, typer.Option(metavar="NAME", help="Estimate missing ones: auto, rank, wordfreq or none.")
    ] = Frequencies.auto,
    extra_words: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Make these words of fastText's subwords, one a line.", show_default="none"),
    ] = None,
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Unpickle, which can run any code.")] = False,
    on_bad_words: Annotated[
        str, typer.Option(metavar="NAME", help="End with an error where a word can't be read, or skip it.")
    ] = "error",
    overwrite: Overwrite = False,
) -> None:
    """Write word vectors of any format as a folder that opens at once.

    Example: ofa vectors convert wiki.multi.de.vec -o german
    """
    from ...text.lines import numbered_lines
    from ...vectors import WordVectors

    quiet_unless_interactive()
    # Numbers take three bytes and more as text, four here.
    least = os.path.getsize(vectors) // 3 if os.path.isfile(vectors) else 0
    read = [vectors, *([extra_words] if extra_words else [])]
    reserve_output(output, overwrite, inputs=read, needed=least)
    if extra_words is not None and not extra_words.is_file():
        raise FileNotFoundError(f"The file of extra words, {extra_words}, is not there.")
    loaded = WordVectors.load(
        vectors,
        language=language,
        format=file_format,
        filename=filename,
        default_language=default_language,
        frequencies=None if frequencies is Frequencies.none else frequencies.value,
        extra_words=() if extra_words is None else [line for _, line in numbered_lines(extra_words)],
        allow_pickle=allow_pickle,
        on_bad_words=on_bad_words,
    )
    save(loaded, output, overwrite)


def info(
    vectors: Vectors,
    verify: Annotated[bool, typer.Option("--verify", help="Compare with the checksums, which reads all.")] = False,
    json_file: Json = None,
) -> None:
    """Show size, languages and origin of word vectors.

    Example: ofa vectors info vectors
    """
    from ...utils.strict_json import dumps
    from ...utils.targets import check_output_file
    from ...vectors import WordVectors

    quiet_unless_interactive()
    if json_file is not None:
        check_output_file(json_file)
    loaded = WordVectors.load(vectors, verify=verify)
    counts = loaded.language_counts()
    write_json(
        json_file,
        {"words": len(loaded), "dimension": loaded.dimension, "languages": counts, "metadata": loaded.metadata},
    )
    typer.echo(f"{len(loaded):,} words, {loaded.dimension} dimensions, {len(counts)} languages")
    for key, value in loaded.metadata.items():
        typer.echo(f"{key}: {value if isinstance(value, str) else dumps(value, ensure_ascii=False)}")
    typer.echo("words: " + ", ".join(f"{language} {count:,}" for language, count in counts.items()))


def push(
    vectors: Vectors,
    repo_id: Repository,
    license_name: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="NAME",
            help="Name the license as the Hub does: cc-by-4.0.",
            show_default="the metadata's",
        ),
    ] = None,
    private: Private = None,
    revision: Revision = None,
    token: Token = None,
    message: Message = "Word vectors",
) -> None:
    """Upload word vectors to the Hub, with a card.

    Example: ofa vectors push vectors me/my-vectors --license cc-by-4.0
    """
    from ...vectors import WordVectors

    quiet_unless_interactive()
    loaded = WordVectors.load(vectors)
    if license_name is not None:
        loaded.metadata["license"] = license_name
    address = loaded.push_to_hub(repo_id, private=private, token=token, revision=revision, commit_message=message)
    typer.echo(f"Pushed: {address}")
