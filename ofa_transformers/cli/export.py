"""`ofa convert` and `ofa export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..utils.progress import stage
from .options import STARTING, Output, Overwrite, note, quiet_unless_interactive, reserve_output


def convert(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint of the authors of OFA: a folder or a Hub id.")],
    output: Output,
    overwrite: Overwrite = False,
) -> None:
    """Write a checkpoint of the authors of OFA in the layout that AutoModel loads.

    Example: ofa convert yihongLiu/ofa-multi-100 -o ofa-multi-100
    """
    with stage(STARTING):
        from ..models.modeling_ofa import OfaForMaskedLM

    quiet_unless_interactive()
    resave(OfaForMaskedLM, checkpoint, output, overwrite, dense=False)


def export(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint: a folder or a Hub id.")],
    output: Output,
    format: Annotated[
        Literal["safetensors", "onnx", "gguf", "sentence-transformers"],
        typer.Option(
            metavar="NAME",
            help="Write safetensors, onnx (any head), gguf (decoders), or sentence-transformers (masked LMs).",
        ),
    ] = "safetensors",
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="Take out of sentence vectors what tells the languages of this text apart; may repeat.",
            show_default="none",
        ),
    ] = None,
    layer: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Keep the lower layers for sentence vectors.", min=1, show_default="two thirds"
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Multiply the factors out: a stock Transformers checkpoint, or a file for ONNX or llama.cpp, of the same outputs.

    Or make a sentence encoder of a masked language model: --format sentence-transformers.

    Example: ofa export adapted -o adapted-dense
    """
    with stage(STARTING):
        from ..models.checkpoints import load_config, model_class

    quiet_unless_interactive()
    if format == "sentence-transformers":
        export_sentence_encoder(checkpoint, output, overwrite, text or [], layer)
        return
    if text or layer:
        given = "--text" if text else "--layer"
        raise ValueError(f"{given} is of --format sentence-transformers, not of {format}; leave it out.")
    if format != "safetensors":
        export_file(checkpoint, output, overwrite, format)
        return
    resave(
        model_class(checkpoint, load_config(checkpoint, {}, "checkpoint")), checkpoint, output, overwrite, dense=True
    )


def export_file(checkpoint: str, output: Path, overwrite: bool, format: str) -> None:
    """Writes model.onnx or model.gguf, with configuration and tokenizer beside."""
    import torch

    from ..models.checkpoints import count_bytes, load_config, load_tokenizer, model_class, reading_weights
    from ..tokenization import save_tokenizer
    from ..utils.files import new_folder
    from ..workflows.export.gguf import export_gguf
    from ..workflows.export.onnx import export_onnx, load_whole

    reserve_output(output, overwrite, inputs=[checkpoint])
    config = load_config(checkpoint, {}, "checkpoint")
    tokenizer = load_tokenizer(checkpoint, "checkpoint")
    with stage("Loading the checkpoint"), reading_weights("checkpoint", checkpoint):
        dtype = torch.float32 if format == "onnx" else None
        model = load_whole(model_class(checkpoint, config), checkpoint, dtype)
    with new_folder(output, overwrite, needed=count_bytes(model)) as folder, stage(f"Writing {format}"):
        said = ""
        if format == "onnx":
            difference = export_onnx(model, tokenizer, folder / "model.onnx")
            said = f", outputs within {difference:.0e} of PyTorch's"
        else:
            export_gguf(model, tokenizer, folder / "model.gguf")
        model.config.save_pretrained(folder)
        save_tokenizer(tokenizer, folder)
    typer.echo(f"{type(model).__name__} in {output / f'model.{format}'}{said}")


def export_sentence_encoder(
    checkpoint: str, output: Path, overwrite: bool, text: list[str], layer: int | None
) -> None:
    """Writes a folder that SentenceTransformer loads."""
    from ..models.checkpoints import load_config, load_tokenizer, model_class, reading_weights
    from ..models.sentence_modules import SentenceModules
    from ..text.corpus import find_text
    from ..workflows.export.sentences import check_encoder, save_sentence_encoder, sentence_encoder

    reserve_output(output, overwrite, inputs=[checkpoint, *text])
    config = load_config(checkpoint, {}, "checkpoint")
    if SentenceModules.read(checkpoint) is not None:
        raise ValueError(f"{checkpoint} is a sentence encoder already; leave --format out, and its modules are kept.")
    check_encoder(config, layer)
    tokenizer = load_tokenizer(checkpoint, "checkpoint")
    texts = find_text(text) if text else {}
    if len(texts) < 2:
        note("Sentence vectors keep what tells languages apart: --text with two or more languages takes it out.")
    with stage("Loading the checkpoint"), reading_weights("checkpoint", checkpoint):
        model = model_class(checkpoint, config).from_pretrained(checkpoint, trust_remote_code=False)
    with stage("Comparing languages"):
        encoder, modules = sentence_encoder(model, tokenizer, texts, layer=layer)
    with stage("Writing the encoder"):
        save_sentence_encoder(encoder, tokenizer, modules, output, overwrite=overwrite)
    removed = f"; what tells {len(texts)} languages apart is taken out" if modules.has_projection else ""
    layers = f"{encoder.config.num_hidden_layers} of {config.num_hidden_layers} layers"
    typer.echo(f"Sentence encoder of the lower {layers} in {output}{removed}")


def resave(model_class: type, checkpoint: str, output: Path, overwrite: bool, dense: bool) -> None:
    """Loads a checkpoint and writes it again, with its tokenizer where it has one."""
    from ..models.checkpoints import (
        check_finite,
        check_saved,
        count_bytes,
        has_tokenizer,
        load_config,
        load_tokenizer,
        reading_weights,
    )
    from ..models.modeling_ofa import OfaPreTrainedMixin
    from ..models.sentence_modules import SentenceModules
    from ..tokenization import save_tokenizer
    from ..utils.files import new_folder

    reserve_output(output, overwrite, inputs=[checkpoint])
    load_config(checkpoint, {}, "checkpoint")
    tokenizer = load_tokenizer(checkpoint, "checkpoint") if has_tokenizer(checkpoint) else None
    with stage("Loading the checkpoint"), reading_weights("checkpoint", checkpoint):
        model = model_class.from_pretrained(checkpoint, trust_remote_code=False)
    modules = SentenceModules.read(checkpoint)
    if not isinstance(model, OfaPreTrainedMixin):
        raise ValueError(f"{checkpoint} is a {type(model).__name__} and has nothing to multiply out.")
    check_finite(model, "checkpoint", checkpoint)
    written = model.to_dense() if dense else model
    with new_folder(output, overwrite, needed=count_bytes(written)) as folder, stage("Writing the model"):
        written.save_pretrained(folder)
        check_saved(written, folder)
        if tokenizer is not None:
            save_tokenizer(tokenizer, folder)
        if modules is not None:
            modules.save(folder)
    typer.echo(
        f"{'Model and tokenizer' if tokenizer is not None else 'The model (it came without tokenizer)'} in {output}"
    )
