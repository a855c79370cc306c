"""`ofa vectors build`, `dictionary`, `align`, `convert`, `info`, `evaluate` and `push`."""

from __future__ import annotations

import glob
import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    Json,
    Markdown,
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


if TYPE_CHECKING:
    from ..vectors import Dictionary, WordVectors
    from ..vectors.evaluation import Evaluation

app = typer.Typer(
    help="Make aligned word vectors from parallel text or dictionaries, convert and judge them.", no_args_is_help=True
)


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
    "--dictionary", "-d", metavar="FILE", help="Dictionary; may repeat.", show_default="none"
)
Pair = Annotated[
    str | None,
    typer.Option(metavar="A-B", help="Languages of two-column dictionaries.", show_default="by the file name"),
]
Rename = Annotated[
    list[str] | None,
    typer.Option(metavar="OLD=NEW", help="A dictionary's language code; may repeat.", show_default="none"),
]
HeldOut = Annotated[
    float,
    typer.Option(metavar="X", help="Share of the dictionary's words to judge by.", min=0, max=0.9),
]
Language = Annotated[
    str | None,
    typer.Option(metavar="CODE", help="Of VECTORS, if it is one.", show_default="by keys or file name"),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Of what is drawn.", min=0)]


@app.command("build")
def build(
    texts: Texts,
    output: Output,
    exclude: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Segment ids to leave out, one a line.", show_default="none")
    ] = None,
    dim: Annotated[int, typer.Option(metavar="N", help="Dimensions.", min=1)] = 200,
    min_count: Annotated[int, typer.Option(metavar="N", help="Leave out rarer words.", min=1)] = 2,
    segmentation: Annotated[
        Segmentation, typer.Option(metavar="NAME", help="Scripts without spaces: words, characters or auto.")
    ] = Segmentation.auto,
    keep_case: Annotated[bool, typer.Option("--keep-case", help="Do not count words in lower case.")] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Make word vectors from text whose segments have the same ids in all languages.

    Example: ofa vectors build eng_Latn.tsv deu_Latn.tsv --exclude test-ids.txt -o vectors
    """
    from ..vectors import WordVectors

    quiet_unless_interactive()
    sources = _texts(texts)
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
    )
    _save(vectors, output, overwrite)


@app.command("dictionary")
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
        int | None, typer.Option(metavar="N", help="Dimensions, without --vectors.", min=1, show_default="200")
    ] = None,
    steps: Annotated[
        int, typer.Option(metavar="N", help="Translations between a new word and an old one.", min=1)
    ] = 2,
    pair: Pair = None,
    rename: Rename = None,
    held_out: HeldOut = 0.0,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Make word vectors from dictionaries, or add their words to vectors that exist.

    Example: ofa vectors dictionary zul-eng.txt --vectors vectors -o vectors-zul
    """
    from ..vectors import WordVectors

    quiet_unless_interactive()
    reserve_output(output, overwrite, inputs=[*dictionaries, *([base] if base else [])])
    entries = _dictionary(dictionaries, pair, rename)
    if held_out:
        entries, _ = entries.split(held_out, seed=seed)
    vectors = None if base is None else WordVectors.load(base)
    made = WordVectors.from_dictionaries(entries, vectors, dim=dim, languages=language or None, steps=steps, seed=seed)
    _save(made, output, overwrite)


@app.command("align")
def align(
    vectors: Vectors,
    space: Annotated[str, typer.Argument(metavar="SPACE", help="The vectors to join: a file, a folder, a Hub id.")],
    dictionaries: Annotated[list[str], DictionaryOption],
    output: Output,
    language: Language = None,
    center: Annotated[bool, typer.Option("--center", help="Subtract each side's mean first.")] = False,
    refinements: Annotated[int, typer.Option(metavar="N", help="Further fits, with nearest words.", min=0)] = 0,
    max_words: Annotated[
        int, typer.Option(metavar="N", help="First words of a side that are searched.", min=1)
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
    from ..vectors import WordVectors

    quiet_unless_interactive()
    reserve_output(output, overwrite, inputs=[vectors, space, *dictionaries])
    entries = _dictionary(dictionaries, pair, rename)
    mapped = WordVectors.load(vectors, language=language).aligned_to(
        WordVectors.load(space),
        entries,
        center=center,
        refinements=refinements,
        held_out=held_out,
        max_words=max_words,
        seed=seed,
    )
    _save(mapped, output, overwrite)
    report = mapped.metadata["alignment"]
    typer.echo(
        f"{report['anchors']:,} entries; {report['held_out']:,} words held out, "
        f"{report['candidates']:,} {report['target']} candidates"
    )
    for score in report["scores"]:
        shares = (f"{name} {score[f'{name}_top1']:.1%} / {score[f'{name}_top5']:.1%}" for name in ("cosine", "csls"))
        typer.echo(f"{score['step']}: top 1 / top 5 by {', '.join(shares)}")


@app.command("convert")
def convert(
    vectors: Vectors,
    output: Output,
    language: Language = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="word2vec, word2vec-binary, glove, fasttext, gensim, torch.",
            show_default="by content",
        ),
    ] = None,
    filename: Annotated[
        str | None, typer.Option(metavar="FILE", help="Of a folder or repository, this one.", show_default="all")
    ] = None,
    default_language: Annotated[str, typer.Option(metavar="CODE", help="Of words without a lng: prefix.")] = "eng",
    frequencies: Annotated[
        Frequencies, typer.Option(metavar="NAME", help="Where there are none: auto, rank, wordfreq or none.")
    ] = Frequencies.auto,
    extra_words: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Words to make of fastText's subwords, one a line.", show_default="none"),
    ] = None,
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Unpickle, which can run any code.")] = False,
    on_bad_words: Annotated[
        str, typer.Option(metavar="NAME", help="Words that can't be taken: error, or skip and count them.")
    ] = "error",
    overwrite: Overwrite = False,
) -> None:
    """Write word vectors of any format as a folder that opens at once.

    Example: ofa vectors convert wiki.multi.de.vec -o german
    """
    from ..text.lines import numbered_lines
    from ..vectors import WordVectors

    quiet_unless_interactive()
    reserve_output(output, overwrite, inputs=[vectors, *([extra_words] if extra_words else [])])
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
    _save(loaded, output, overwrite)


@app.command("info")
def info(
    vectors: Vectors,
    verify: Annotated[bool, typer.Option("--verify", help="Compare with the checksums, which reads all.")] = False,
    json_file: Json = None,
) -> None:
    """Show size, languages and origin of word vectors.

    Example: ofa vectors info vectors
    """
    from ..utils.targets import check_output_file
    from ..vectors import WordVectors

    quiet_unless_interactive()
    if json_file is not None:
        check_output_file(json_file)
    loaded = WordVectors.load(vectors, verify=verify)
    counts = loaded.language_counts()
    _write_json(
        json_file,
        {"words": len(loaded), "dimension": loaded.dimension, "languages": counts, "metadata": loaded.metadata},
    )
    typer.echo(f"{len(loaded):,} words, {loaded.dimension} dimensions, {len(counts)} languages")
    for key, value in loaded.metadata.items():
        typer.echo(f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    typer.echo("words: " + ", ".join(f"{language} {count:,}" for language, count in counts.items()))


@app.command("evaluate")
def evaluate(
    vectors: Vectors,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="Parallel text, as for build: retrieval.", show_default=False),
    ] = None,
    segments: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ids of the segments to judge by.", show_default="all shared ones"),
    ] = None,
    pivot: Annotated[str, typer.Option(metavar="CODE", help="Match the others with it.")] = "eng",
    dictionaries: Annotated[list[str] | None, DictionaryOption] = None,
    max_words: Annotated[
        int, typer.Option(metavar="N", help="First words of a language that compete.", min=1)
    ] = 50_000,
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
    from ..text.segmentation import method_of
    from ..utils.targets import check_output_file
    from ..vectors import WordVectors
    from ..vectors.evaluation import lexicon_induction, segment_retrieval

    quiet_unless_interactive()
    if not texts and not dictionaries:
        raise ValueError("nothing to judge by: name parallel text, or a dictionary with --dictionary")
    if json_file is not None:
        check_output_file(json_file)
    entries = _dictionary(dictionaries, pair, rename) if dictionaries else None
    if held_out and entries is not None:
        _, entries = entries.split(held_out, seed=seed)
    loaded = WordVectors.load(vectors)
    results: dict[str, Evaluation] = {}
    if texts:
        # words are cut as they were for the vectors, where that is known
        segmentation = method_of(loaded.metadata)
        results["retrieval"] = segment_retrieval(
            loaded, _texts(texts), pivot=pivot, segments=segments, segmentation=segmentation
        )
    if entries is not None:
        results["lexicon induction"] = lexicon_induction(loaded, entries, max_words=max_words)
    _write_json(json_file, {name: evaluation.to_dict() for name, evaluation in results.items()})
    for name, evaluation in results.items():
        typer.echo(f"{name}, per cent\n")
        typer.echo(evaluation.to_markdown() if markdown else str(evaluation))
        typer.echo()
    if json_file is not None:
        typer.echo(f"Written: {json_file}")


@app.command("push")
def push(
    vectors: Vectors,
    repo_id: Repository,
    license_name: Annotated[
        str | None,
        typer.Option("--license", metavar="NAME", help="As on the Hub: cc-by-4.0.", show_default="the metadata's"),
    ] = None,
    private: Private = None,
    revision: Revision = None,
    token: Token = None,
    message: Message = "Word vectors",
) -> None:
    """Upload word vectors to the Hub, with a card.

    Example: ofa vectors push vectors me/my-vectors --license cc-by-4.0
    """
    from ..vectors import WordVectors

    quiet_unless_interactive()
    loaded = WordVectors.load(vectors)
    if license_name is not None:
        loaded.metadata["license"] = license_name
    address = loaded.push_to_hub(repo_id, private=private, token=token, revision=revision, commit_message=message)
    typer.echo(f"Pushed: {address}")


def _save(vectors: WordVectors, output: Path, overwrite: bool) -> None:
    vectors.save(output, overwrite=overwrite)
    languages = len(vectors.language_counts())
    typer.echo(
        f"{len(vectors):,} words of {languages} language{'s' * (languages != 1)}, {vectors.dimension} dimensions: "
        f"{output}"
    )


def _write_json(path: Path | None, content: dict[str, Any]) -> None:
    if path is None:
        return
    from ..utils.files import new_file
    from ..utils.strict_json import dumps

    with new_file(path) as temporary:
        temporary.write_text(dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _texts(values: list[str]) -> dict[str, list[Path]]:
    """language -> files, from names, `deu=name`, and patterns."""
    from ..text.file_names import named
    from ..text.segments import texts_by_language

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


def _dictionary(files: list[str], pair: str | None, rename: list[str] | None) -> Dictionary:
    from ..vectors import Dictionary

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
