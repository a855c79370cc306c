"""`ofa adapt`, `ofa convert` and `ofa export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


Output = Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="Folder to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what the folder holds.")]
Languages = list[str] | None


def adapt(
    source: Annotated[str, typer.Argument(help="The pretrained model: a folder or a Hub id.")],
    target_tokenizer: Annotated[
        str, typer.Option("--tokenizer", "-t", metavar="NAME", help="Tokenizer: folder or Hub id.")
    ],
    word_vectors: Annotated[
        str,
        typer.Option("--vectors", "-v", metavar="NAME", help="File, folder or Hub id."),
    ],
    output: Output,
    embedding_size: Annotated[
        int | None,
        typer.Option("--size", metavar="N", help="Rank of factorized embeddings.", show_default="full size"),
    ] = None,
    source_languages: Annotated[
        Languages,
        typer.Option("--source-language", metavar="CODE", help="ISO 639-3; may be repeated.", show_default="all"),
    ] = None,
    target_languages: Annotated[
        Languages,
        typer.Option("--target-language", metavar="CODE", help="ISO 639-3; may be repeated.", show_default="all"),
    ] = None,
    num_neighbors: Annotated[int, typer.Option(metavar="N", help="Neighbours of a new row.")] = 10,
    temperature: Annotated[float, typer.Option(metavar="X", help="Of the softmax over cosines.")] = 0.1,
    fallback: Annotated[str, typer.Option(metavar="NAME", help="normal, mean or zeros.")] = "normal",
    max_words: Annotated[
        int | None, typer.Option(metavar="N", help="Use the first so many words.", show_default="all")
    ] = None,
    word_weighting: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="uniform or sqrt_frequency.", show_default="best possible"),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Copy all or used_by_source.",
            show_default="best possible",
        ),
    ] = None,
    language_offset: Annotated[float, typer.Option(metavar="X", help="Share of the rows' mean norm.")] = 0.0,
    target_text: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="For the head's bias; may repeat.", show_default="source's bias"),
    ] = None,
    authors_compatible: Annotated[
        bool, typer.Option("--authors-compatible", help="As the published code has it.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Of fallback rows and offsets.", min=0)] = 114514,
    overwrite: Overwrite = False,
) -> None:
    """Give a pretrained model the vocabulary of another tokenizer, with OFA.

    Example: ofa adapt FacebookAI/xlm-roberta-base -t my-tokenizer -v vectors.txt.gz --size 200 -o adapted
    """
    from rich.console import Console

    from ..files import check_output_folder
    from ..initializer import OfaInitializer
    from ..tokenization.corpus import Chain, TextFile

    quiet_unless_interactive()
    check_output_folder(output, overwrite)
    adapted = OfaInitializer.from_pretrained(
        source,
        target_tokenizer=target_tokenizer,
        word_vectors=word_vectors,
        embedding_size=embedding_size,
        source_languages=source_languages or None,
        target_languages=target_languages or None,
        num_neighbors=num_neighbors,
        temperature=temperature,
        fallback=fallback,
        max_words=max_words,
        word_weighting=word_weighting,
        overlap=overlap,
        language_offset=language_offset,
        target_text=Chain([TextFile(path) for path in target_text]) if target_text else None,
        authors_compatible=authors_compatible,
        seed=seed,
    )
    adapted.save_pretrained(output, overwrite=overwrite)
    console = Console()
    console.print(str(adapted.report), highlight=False, soft_wrap=True)
    for warning in adapted.report.warnings:
        console.print(f"[yellow]Note:[/] {warning}", highlight=False)
    console.print(f"Model, tokenizer and report are in {output}", highlight=False, soft_wrap=True)


def convert(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint of the authors of OFA: a folder or a Hub id.")],
    output: Output,
    overwrite: Overwrite = False,
) -> None:
    """Write a checkpoint that the authors of OFA published in the layout that AutoModel loads.

    Example: ofa convert yihongLiu/ofa-multi-100 -o ofa-multi-100
    """
    from ..modeling_ofa import OfaForMaskedLM

    quiet_unless_interactive()
    resave(OfaForMaskedLM, checkpoint, output, overwrite, dense=False)


def export(
    checkpoint: Annotated[str, typer.Argument(help="A factorized checkpoint: a folder or a Hub id.")],
    output: Output,
    overwrite: Overwrite = False,
) -> None:
    """Multiply the factors out: a stock Transformers checkpoint with the same outputs, which needs nothing of ours.

    Example: ofa export adapted -o adapted-dense
    """
    from transformers import AutoConfig

    from ..surgery import model_class

    quiet_unless_interactive()
    resave(model_class(checkpoint, AutoConfig.from_pretrained(checkpoint)), checkpoint, output, overwrite, dense=True)


def resave(model_class: type, checkpoint: str, output: Path, overwrite: bool, dense: bool) -> None:
    """Loads a checkpoint and writes it again, with its tokenizer where it has one."""
    from transformers import AutoTokenizer

    from ..files import check_output_folder, new_folder
    from ..modeling_ofa import OfaPreTrainedMixin
    from ..surgery import is_empty

    check_output_folder(output, overwrite)
    model = model_class.from_pretrained(checkpoint)
    if not isinstance(model, OfaPreTrainedMixin):
        raise ValueError(f"{checkpoint} is a {type(model).__name__} and has nothing to multiply out.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    except (OSError, ValueError):
        tokenizer = None
    if tokenizer is not None and is_empty(tokenizer):
        tokenizer = None
    with new_folder(output, overwrite) as folder:
        (model.to_dense() if dense else model).save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
    typer.echo(
        f"{'Model and tokenizer' if tokenizer is not None else 'The model (it came without tokenizer)'} in {output}"
    )


def quiet_unless_interactive() -> None:
    """Progress bars for people, not for log files."""
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
