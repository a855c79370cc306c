"""`ofa tokenizer train`, `extend`, `trim` and `fertility`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Json, Markdown, Output, Overwrite, note, quiet_unless_interactive, reserve_output


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from transformers import PreTrainedTokenizerBase

    from ..text.corpus import LanguageText

app = typer.Typer(help="Train a target tokenizer, extend or trim an existing one, measure them.", no_args_is_help=True)


class Algorithm(str, Enum):
    unigram = "unigram"
    bpe = "bpe"
    wordpiece = "wordpiece"


Texts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TEXT]...",
        help="Files of lines, .tsv (text after the first tab) or .jsonl, plain, .gz or .zst, .parquet, or folders. The language is what the "
        "name begins with (deu_Latn.tsv.gz), or is written before it: deu=file.txt.",
        show_default=False,
    ),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset", metavar="SET", help="Stream LANGUAGE=ID[:CONFIG] of the Hub; may repeat.", show_default="none"
    ),
]
Column = Annotated[str, typer.Option(metavar="NAME", help="Read this column or field.")]
Split = Annotated[str, typer.Option(metavar="NAME", help="Read this split of the data sets.")]
Alpha = Annotated[float, typer.Option(metavar="X", help="Draw languages by characters^X.", min=0, max=1)]


@app.command("train")
def train(
    texts: Texts = None,
    output: Output = ...,
    vocab_size: Annotated[
        int, typer.Option("--vocab-size", "-n", metavar="N", help="Make so many tokens, special ones included.", min=1)
    ] = ...,
    algorithm: Annotated[
        Algorithm | None,
        typer.Option(
            metavar="NAME", help="Train unigram, bpe or wordpiece.", show_default="that of --like, else unigram"
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Take normalisation, special tokens and class of it.", show_default="XLM-R's"
        ),
    ] = None,
    alpha: Alpha = 0.3,
    max_characters: Annotated[
        int | None, typer.Option(metavar="N", help="Read at most so many.", min=1, show_default="all")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Draw languages with it.", min=0)] = 0,
    same_normalizer: Annotated[
        bool, typer.Option("--same-normalizer", help="Strip accents and fold case where --like does.")
    ] = False,
    dataset: Datasets = None,
    column: Column = "text",
    split: Split = "train",
    overwrite: Overwrite = False,
) -> None:
    """Train a new tokenizer on text of many languages.

    Example: ofa tokenizer train deu_Latn.txt swh_Latn.txt --vocab-size 30000 --output my-tokenizer
    """
    from ..tokenization import save_tokenizer, train_tokenizer
    from ..tokenization.saving import tokenizer_bytes
    from ..utils.files import new_folder

    quiet_unless_interactive()
    reserve_output(
        output, overwrite, inputs=[*_paths(texts), *([like] if like else [])], needed=tokenizer_bytes(vocab_size)
    )
    text = _texts(texts, dataset, column, split)
    tokenizer = train_tokenizer(
        text,
        vocab_size,
        algorithm=None if algorithm is None else algorithm.value,
        like=like,
        alpha=alpha,
        max_characters=max_characters,
        seed=seed,
        same_normalizer=same_normalizer,
    )
    with new_folder(output, overwrite) as folder:
        save_tokenizer(tokenizer, folder, text=text)
    typer.echo(f"A tokenizer of {len(tokenizer):,} tokens: {output}")


@app.command("extend")
def extend(
    tokenizer: Annotated[str, typer.Argument(help="A fast tokenizer: folder or Hub id.", show_default=False)],
    texts: Texts = None,
    output: Output = ...,
    num_new_tokens: Annotated[
        int, typer.Option("--num-new-tokens", "-n", metavar="N", help="Add so many tokens.", min=1)
    ] = ...,
    alpha: Alpha = 0.3,
    character_coverage: Annotated[
        float, typer.Option(metavar="X", help="Give this share of characters a token.", min=0.5, max=1)
    ] = 0.9999,
    compare: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Say how much of this old text changes; may repeat.", show_default="none"),
    ] = None,
    dataset: Datasets = None,
    column: Column = "text",
    split: Split = "train",
    overwrite: Overwrite = False,
) -> None:
    """Add the most useful new pieces to an existing tokenizer; all old ids stay.

    Example: ofa tokenizer extend FacebookAI/xlm-roberta-base zul_Latn.txt --num-new-tokens 5000 --output xlmr-zul
    """
    from transformers.utils import logging

    from ..tokenization import extend_tokenizer, measure_changes, save_tokenizer
    from ..tokenization.backend import load_fast_tokenizer
    from ..tokenization.saving import tokenizer_bytes
    from ..utils.files import new_folder
    from ..utils.targets import check_space

    quiet_unless_interactive()
    reserve_output(output, overwrite, inputs=[tokenizer, *_paths(texts), *_paths(compare)])
    new_text = _texts(texts, dataset, column, split)
    old_text = _texts(compare, None, column, split) if compare else {}
    old = load_fast_tokenizer(tokenizer)
    check_space(output, tokenizer_bytes(len(old) + num_new_tokens))
    extended = extend_tokenizer(old, new_text, num_new_tokens, alpha=alpha, character_coverage=character_coverage)
    with new_folder(output, overwrite) as folder:
        save_tokenizer(extended, folder, text=new_text)
    # a line longer than the model is no news here
    logging.set_verbosity_error()
    changes = measure_changes(old, extended, old_text) if old_text else {}
    first = len(extended) - _added(old, extended)
    typer.echo(f"{len(extended) - first:,} new tokens, ids {first:,} to {len(extended) - 1:,}: {output}")
    for language, change in changes.items():
        typer.echo(
            f"{language}: {change.words_changed:,} of {change.words:,} words cut otherwise ({change.share_changed:.2%}; "
            f"{change.words_changed_without_new_piece:,} without a new piece), "
            f"{change.tokens_before:,} tokens before, {change.tokens_after:,} after; "
            f"{change.lines_decoded_otherwise:,} of {change.lines:,} lines decode otherwise"
        )


@app.command("trim")
def trim(
    tokenizer: Annotated[str, typer.Argument(help="A fast tokenizer: folder or Hub id.", show_default=False)],
    texts: Texts = None,
    output: Output = ...,
    keep_languages: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="Read only these of the text, as deu,swh.", show_default="all"),
    ] = None,
    multiple_of: Annotated[int, typer.Option(metavar="N", help="Keep more, up to a multiple of N tokens.", min=1)] = 1,
    extend: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Add pieces for this text; may repeat.", show_default="none"),
    ] = None,
    num_new_tokens: Annotated[
        int | None,
        typer.Option("--num-new-tokens", "-n", metavar="N", help="Add so many with --extend.", show_default="none"),
    ] = None,
    dataset: Datasets = None,
    column: Column = "text",
    split: Split = "train",
    overwrite: Overwrite = False,
) -> None:
    """Leave out the pieces that a text has no use for; the text is cut as before.

    Example: ofa tokenizer trim FacebookAI/xlm-roberta-base deu_Latn.txt swh_Latn.txt --output trimmed
    """
    from ..tokenization import save_tokenizer
    from ..tokenization.backend import load_fast_tokenizer
    from ..tokenization.saving import tokenizer_bytes
    from ..utils.files import new_folder

    quiet_unless_interactive()
    reserve_output(output, overwrite, inputs=[tokenizer, *_paths(texts), *_paths(extend)])
    old = load_fast_tokenizer(tokenizer)
    text = _texts(texts, dataset, column, split)
    made = trimmed_and_extended(
        old,
        text,
        [code for value in keep_languages or () for code in value.replace(",", " ").split()] or None,
        multiple_of,
        _texts(extend, None, column, split) if extend else None,
        num_new_tokens,
    )
    with new_folder(output, overwrite, needed=tokenizer_bytes(len(made))) as folder:
        save_tokenizer(made, folder, text=text)
    typer.echo(f"{len(old):,} -> {len(made):,} tokens ({len(made) / len(old):.1%}): {output}")


def trimmed_and_extended(
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, Iterable[str]],
    keep_languages: list[str] | None,
    multiple_of: int,
    new_texts: Mapping[str, Iterable[str]] | None,
    num_new_tokens: int | None,
) -> PreTrainedTokenizerBase:
    """A tokenizer without what `texts` don't need, and with pieces of `new_texts`.

    Raises:
        ValueError: one of --extend and --num-new-tokens without the other; and as `trim_tokenizer`, `extend_tokenizer`.
    """
    from ..tokenization import extend_tokenizer, trim_tokenizer

    if (new_texts is None) != (num_new_tokens is None):
        raise ValueError("--extend names text that --num-new-tokens pieces are made of: give both, or neither.")
    made = trim_tokenizer(tokenizer, texts, keep_languages=keep_languages, multiple_of=multiple_of)
    return made if new_texts is None else extend_tokenizer(made, new_texts, num_new_tokens)


@app.command("fertility")
def fertility(
    texts: Texts = None,
    tokenizers: Annotated[
        list[str],
        typer.Option(
            "--tokenizer", "-t", metavar="NAME", help="Measure this folder or Hub id, or NAME=it; may repeat."
        ),
    ] = ...,
    json_file: Json = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw a picture: .png, .svg, .pdf.", show_default="none")
    ] = None,
    markdown: Markdown = False,
    dataset: Datasets = None,
    column: Column = "text",
    split: Split = "train",
) -> None:
    """Tokens per word, characters per token, unknown and byte tokens, of one or more tokenizers.

    Example: ofa tokenizer fertility deu_Latn.txt zul_Latn.txt -t FacebookAI/xlm-roberta-base -t my-tokenizer
    """
    from rich.console import Console

    from ..tokenization import measure_fertility
    from ..tokenization.fertility import check_picture
    from ..utils.files import new_file
    from ..utils.targets import check_output_file
    from .tables import print_table

    quiet_unless_interactive()
    for path in (json_file, plot):
        if path is not None:
            check_output_file(path)
    if plot is not None:
        check_picture(plot)
    named = dict(_named_tokenizer(value) for value in tokenizers)
    if len(named) < len(tokenizers):
        raise ValueError("two of --tokenizer have the same name; write NAME=folder")
    report = measure_fertility(named, _texts(texts, dataset, column, split))
    if json_file is not None:
        with new_file(json_file) as temporary:
            temporary.write_text(report.to_json() + "\n", encoding="utf-8")
    if plot is not None:
        report.plot(plot)
    if markdown:
        typer.echo(report.to_markdown())
    else:
        headings, rows = report.cells()
        size = len(named)
        rows = [row if number % size == 0 else ["", "", *row[2:]] for number, row in enumerate(rows)]
        starts = range(size, len(rows), size) if size > 1 else [len(rows) - size]
        print_table(Console(), headings, rows, left=(0, 2), names=report.tokenizers, sections=starts)
        for merged in report.notes():
            note(merged)
    for path in (json_file, plot):
        if path is not None:
            typer.echo(f"Written: {path}")


def _added(old, extended) -> int:
    return len(extended) - 1 - max(old.get_vocab().values())


def _named_tokenizer(value: str) -> tuple[str, str]:
    name, equals, path = value.partition("=")
    if equals and name and path and not Path(value).exists():
        return name, path
    return Path(value).name or value, value


def _paths(values: list[str] | None) -> list[Path]:
    from ..text.file_names import named

    return [named(value)[1] for value in values or ()]


def _texts(files: list[str] | None, datasets: list[str] | None, column: str, split: str) -> dict[str, LanguageText]:
    from ..text.corpus import find_text

    return find_text(files or (), datasets or (), column=column, split=split)
