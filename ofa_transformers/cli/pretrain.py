"""`ofa pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pretrain(
    model: Annotated[str, typer.Argument(help="The model to continue: a folder or a Hub id.")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT]...",
            help="Text files (.txt, .tsv, .jsonl, optionally .gz or .zst) or Parquet files whose names begin with the "
            "language, LANGUAGE=FILE, or folders of them.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for checkpoints and model. A run there is resumed.")
    ] = ...,
    max_steps: Annotated[int, typer.Option("--steps", "-n", help="Optimizer steps.", min=1)] = ...,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="LANGUAGE=ID or LANGUAGE=ID:CONFIG of a data set on the Hub. Repeatable.", show_default=False
        ),
    ] = None,
    validation: Annotated[
        list[str] | None,
        typer.Option("--validation", "-v", help="Held-out text, a file or a folder. Repeatable.", show_default=False),
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Default: the model's own.")] = None,
    column: Annotated[str, typer.Option(help="The column or field with the text.")] = "text",
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Encode while training, keeping nothing on disk.")
    ] = False,
    alpha: Annotated[float, typer.Option(help="Languages are drawn with p ~ characters^alpha.", min=0, max=1)] = 0.3,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens of a sample.", min=1, show_default="what the model takes, at most 512")
    ] = None,
    line_by_line: Annotated[
        bool, typer.Option("--line-by-line", help="A sample for each line, instead of packing them.")
    ] = False,
    mask: Annotated[float, typer.Option(help="Share of tokens that are masked.", min=0, max=1)] = 0.15,
    whole_words: Annotated[bool, typer.Option("--whole-words", help="Mask all tokens of a word or none.")] = False,
    causal: Annotated[bool, typer.Option("--causal", help="The model is a decoder.")] = False,
    batch_size: Annotated[int, typer.Option(help="Samples of a process and a forward pass.", min=1)] = 8,
    accumulation: Annotated[int, typer.Option(help="Forward passes of a step.", min=1)] = 1,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--lr")] = 5e-5,
    embedding_learning_rate: Annotated[
        float | None, typer.Option("--embedding-lr", help="Of both factors of the embeddings.", show_default="--lr")
    ] = None,
    weight_decay: Annotated[float, typer.Option(help="AdamW's.", min=0)] = 0.0,
    warmup: Annotated[float, typer.Option(help="Steps, or their share if under 1.", min=0)] = 0.1,
    freeze_body: Annotated[int, typer.Option(help="Steps in which only the embeddings are trained.", min=0)] = 0,
    save_steps: Annotated[int, typer.Option(help="Steps between checkpoints.", min=1)] = 1000,
    eval_steps: Annotated[
        int | None, typer.Option(help="Steps between evaluations.", min=1, show_default="--save-steps")
    ] = None,
    keep: Annotated[int, typer.Option(help="Checkpoints to keep; the best is among them.", min=1)] = 2,
    load_best: Annotated[bool, typer.Option("--load-best", help="Write the best checkpoint at the end.")] = False,
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16; the weights stay float32.")] = False,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory for more time.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes that prepare batches.", min=0)] = 0,
    report_to: Annotated[
        list[str] | None,
        typer.Option(help="tensorboard, trackio, codecarbon, ... Repeatable.", show_default="nothing"),
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Don't use a GPU.")] = False,
    seed: Annotated[int, typer.Option(help="Of samples, masks and dropout.", min=0)] = 42,
) -> None:
    """Continue the pretraining of a model on text of many languages.

    Started again with the same arguments, an interrupted run goes on from its last checkpoint.

    Example: ofa pretrain adapted text/ -v heldout/ -o continued -n 10000 --batch-size 32 --lr 1e-4 --bf16
    """
    from rich.console import Console
    from rich.table import Table
    from transformers.utils import logging

    from ..training import DataArguments, ModelArguments, PretrainingArguments
    from ..training import pretrain as run
    from ..training.arguments import CHECKPOINTING_ARGUMENT
    from .adapt import quiet_unless_interactive

    quiet_unless_interactive()
    logging.set_verbosity_warning()
    model_arguments = ModelArguments(model, tokenizer_name=tokenizer)
    data_arguments = DataArguments(
        train=texts,
        train_datasets=dataset,
        validation=validation,
        text_column=column,
        streaming=streaming,
        alpha=alpha,
        max_seq_length=max_length,
        line_by_line=line_by_line,
        mlm_probability=mask,
        whole_word_masking=whole_words,
    )
    eval_steps = eval_steps or save_steps
    if load_best and not validation:
        raise ValueError("--load-best needs held-out text: name it with --validation.")
    training_arguments = PretrainingArguments(
        output_dir=str(output),
        max_steps=max_steps,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        learning_rate=learning_rate,
        embedding_learning_rate=embedding_learning_rate,
        weight_decay=weight_decay,
        warmup_steps=warmup,
        freeze_body_steps=freeze_body,
        save_steps=save_steps,
        eval_strategy="steps" if validation else "no",
        eval_steps=eval_steps,
        save_total_limit=keep,
        load_best_model_at_end=load_best,
        metric_for_best_model="bits_per_character" if validation else None,
        greater_is_better=False,
        bf16=bf16,
        dataloader_num_workers=workers,
        report_to=report_to or "none",
        disable_tqdm=not logging.is_progress_bar_enabled(),
        use_cpu=cpu,
        seed=seed,
        **{CHECKPOINTING_ARGUMENT: gradient_checkpointing},
    )
    try:
        result = run(model_arguments, data_arguments, training_arguments, causal=causal)
    except (ImportError, FloatingPointError) as error:
        raise ValueError(str(error)) from error
    if training_arguments.process_index:
        return
    console = Console()
    last = "_bits_per_byte"
    languages = [name[len("eval_") : -len(last)] for name in result if name.endswith(last) and name != f"eval{last}"]
    if languages:
        table = Table("language", "loss", "bits/character", "bits/byte")
        for name, prefix in [*((language, f"eval_{language}_") for language in languages), ("mean", "eval_")]:
            row = (result[prefix + measure] for measure in ("loss", "bits_per_character", "bits_per_byte"))
            table.add_row(name, *(f"{value:.3f}" for value in row))
        console.print(table)
    console.print(f"Model and tokenizer are in {output}", highlight=False, soft_wrap=True)
