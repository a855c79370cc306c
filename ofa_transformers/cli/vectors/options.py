"""Arguments and options that several commands on word vectors take, and what they read and write."""

from __future__ import annotations

import glob
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer


if TYPE_CHECKING:
    from ...vectors import Dictionary, WordVectors


class Segmentation(str, Enum):
    auto = "auto"
    words = "words"
    characters = "characters"


class Frequencies(str, Enum):
    auto = "auto"
    rank = "rank"
    wordfreq = "wordfreq"
    none = "none"


Vectors = Annotated[str, typer.Argument(metavar="VECTORS", help="A file, a folder or a Hub id.", show_default=False)]
Texts = Annotated[
    list[str],
    typer.Argument(
        metavar="TEXT...",
        help="Files of lines id<TAB>text, plain, .gz or .zst, or quoted patterns; the language is what the name begins "
        "with (deu_Latn.tsv.gz), or is written before it: deu=file.tsv.",
        show_default=False,
    ),
]
Dictionaries = Annotated[
    list[str],
    typer.Argument(
        metavar="DICTIONARY...",
        help="Files: language word language word, or word word (see --pair).",
        show_default=False,
    ),
]
DictionaryOption = typer.Option(
    "--dictionary", "-d", metavar="FILE", help="Read this dictionary; may repeat.", show_default="none"
)
Pair = Annotated[
    str | None,
    typer.Option(
        metavar="A-B", help="Name the languages of two-column dictionaries.", show_default="by the file name"
    ),
]
Rename = Annotated[
    list[str] | None,
    typer.Option(metavar="OLD=NEW", help="Read a dictionary's code as another; may repeat.", show_default="none"),
]
HeldOut = Annotated[
    float,
    typer.Option(metavar="X", help="Judge by this share of the dictionary's words.", min=0, max=0.9),
]
Language = Annotated[
    str | None,
    typer.Option(
        metavar="CODE", help="Name the language, if VECTORS are of one.", show_default="by keys or file name"
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Draw what is drawn with it.", min=0)]


def save(vectors: WordVectors, output: Path, overwrite: bool) -> None:
    vectors.save(output, overwrite=overwrite)
    languages = len(vectors.language_counts())
    typer.echo(
        f"{len(vectors):,} words of {languages} language{'s' * (languages != 1)}, {vectors.dimension} dimensions: "
        f"{output}"
    )


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    from ...utils.strict_json import write

    if path is not None:
        write(path, content, indent=2, ensure_ascii=False)


def read_texts(values: list[str]) -> dict[str, list[Path]]:
    """language -> files, from names, `deu=name`, and patterns."""
    from ...text.file_names import named
    from ...text.segments import texts_by_language

    files: list[str] = []
    for value in values:
        language, path = named(value)
        if path.exists() or not glob.has_magic(str(path)):
            files.append(value)
            continue
        found = sorted(glob.glob(str(path), recursive=True))
        if not found:
            raise FileNotFoundError(f"No file matches {path}.")
        files += [f"{language}={name}" for name in found] if language else found
    return texts_by_language(files)


def read_dictionary(files: list[str], pair: str | None, rename: list[str] | None) -> Dictionary:
    from ...vectors import Dictionary

    languages = None
    if pair is not None:
        first, dash, second = pair.partition("-")
        if not (first and dash and second):
            raise ValueError(f"--pair {pair}: write two languages like deu-eng")
        languages = (first, second)
    names = {}
    for value in rename or ():
        old, equals, new = value.partition("=")
        if not (old and equals and new):
            raise ValueError(f"--rename {value}: write OLD=NEW, like swa=swh")
        names[old] = new
    loaded = Dictionary.load(files, languages=languages)
    return loaded.renamed(names) if names else loaded
