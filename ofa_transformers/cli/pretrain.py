"""`ofa pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..utils.progress import stage
from .config import Config, DryRun
from .options import RUN, STARTING, keep_workspace, quiet_unless_interactive
from .pretrain_tables import show_measures, show_plan


if TYPE_CHECKING:
    from transformers import TrainerCallback

    from .run_record import RunRecord

# Panels of the help.
TRAINING = "Training"


def pretrain(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="The model to continue: a folder or a Hub id.", show_default=False)],
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT]...",
            help="Files named by language, LANGUAGE=FILE, folders.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="PATH", help="Write checkpoints and model here."),
    ] = ...,
    max_steps: Annotated[
        int, typer.Option("--steps", "-n", metavar="N", help="Train so many optimizer steps.", min=1)
    ] = ...,
    validation: Annotated[
        list[str] | None,
        typer.Option(
            "--validation",
            "-v",
            metavar="TEXT",
            help="Measure on this text; may repeat.",
            show_default="none",
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(metavar="SET", help="Train on LANGUAGE=ID of the Hub.", show_default="none"),
    ] = None,
    parallel: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Train on translations, too.", show_default="none"),
    ] = None,
    parallel_validation: Annotated[
        Path | None,
        typer.Option("--held-out", metavar="FILE", help="Retrieve among these ids.", show_default="none"),
    ] = None,
    parallel_exclude: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Never use these ids.", show_default="none", hidden=True)
    ] = None,
    distill: Annotated[
        bool | None,
        typer.Option(
            "--distill/--no-distill",
            help="Draw pairs to a teacher's vectors.",
            show_default="for sentence encoders",
            hidden=True,
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Take its vectors: a folder or Hub id.",
            show_default="the adapted source",
            hidden=True,
        ),
    ] = None,
    distillation_weight: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Weigh the error to these vectors so.",
            show_default="1, beside masks 0.3",
            min=0,
            hidden=True,
        ),
    ] = None,
    parallel_share: Annotated[
        float | None,
        typer.Option(metavar="X", help="Take so many batches from translations.", min=0, max=1, hidden=True),
    ] = None,
    joined_pairs: Annotated[
        bool, typer.Option("--joined-pairs", help="Put both sides in one sample, as decoders do.", hidden=True)
    ] = False,
    alignment_weight: Annotated[
        float, typer.Option(metavar="X", help="Weigh the contrastive loss so.", min=0, hidden=True)
    ] = 0.3,
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Use this tokenizer.", show_default="the model's"),
    ] = None,
    column: Annotated[str, typer.Option(metavar="NAME", help="Column or field with the text.")] = "text",
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Encode while training, keeping nothing on disk.")
    ] = False,
    alpha: Annotated[float, typer.Option(metavar="X", help="Draw languages by characters^X.", min=0, max=1)] = 0.3,
    max_length: Annotated[
        int | None,
        typer.Option(metavar="N", help="Cut samples at so many tokens.", min=1, show_default="up to 512"),
    ] = None,
    line_by_line: Annotated[
        bool, typer.Option("--line-by-line", help="Make each line a sample instead of packing them.")
    ] = False,
    mask: Annotated[float, typer.Option(metavar="X", help="Mask this share of the tokens.", min=0, max=1)] = 0.15,
    whole_words: Annotated[bool, typer.Option("--whole-words", help="Mask all tokens of a word or none.")] = False,
    causal: Annotated[bool, typer.Option("--causal", help="Train the model as a decoder.")] = False,
    batch_size: Annotated[
        int,
        typer.Option(metavar="N", help="Take so many samples a pass.", min=1, rich_help_panel=TRAINING),
    ] = 8,
    accumulation: Annotated[
        int, typer.Option(metavar="N", help="Add up so many passes a step.", min=1, rich_help_panel=TRAINING)
    ] = 1,
    learning_rate: Annotated[
        float,
        typer.Option(
            "--learning-rate", "--lr", metavar="X", help="Set AdamW's rate at its peak.", rich_help_panel=TRAINING
        ),
    ] = 5e-5,
    embedding_learning_rate: Annotated[
        float | None,
        typer.Option(
            "--embedding-lr",
            metavar="X",
            help="Set another rate for the embeddings.",
            show_default="--lr",
            hidden=True,
        ),
    ] = None,
    weight_decay: Annotated[
        float, typer.Option(metavar="X", help="Decay weights by it, as AdamW does.", min=0, rich_help_panel=TRAINING)
    ] = 0.0,
    warmup: Annotated[
        float,
        typer.Option(metavar="X", help="Warm up so many steps, or this share.", min=0, rich_help_panel=TRAINING),
    ] = 0.1,
    freeze_body: Annotated[
        int,
        typer.Option(metavar="N", help="Train embeddings alone for so many steps.", min=0, hidden=True),
    ] = 0,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Compute in bfloat16; weights stay float32.", rich_help_panel=TRAINING)
    ] = False,
    gradient_checkpointing: Annotated[
        bool,
        typer.Option("--gradient-checkpointing", help="Save memory at the cost of time.", rich_help_panel=TRAINING),
    ] = False,
    save_steps: Annotated[
        int, typer.Option(metavar="N", help="Save after every so many steps.", min=1, rich_help_panel=RUN)
    ] = 1000,
    eval_steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Measure after every so many steps.",
            min=1,
            show_default="--save-steps",
            rich_help_panel=RUN,
        ),
    ] = None,
    keep: Annotated[
        int, typer.Option(metavar="N", help="Keep so many checkpoints, the best included.", min=1, rich_help_panel=RUN)
    ] = 2,
    best: Annotated[
        str | None,
        typer.Option(
            metavar="MEASURE",
            help="Write the best by this, or the last.",
            show_default="bits_per_character",
            rich_help_panel=RUN,
        ),
    ] = None,
    patience: Annotated[
        int,
        typer.Option(
            metavar="N", help="Stop after so many without a better one; 0: never.", min=0, rich_help_panel=RUN
        ),
    ] = 3,
    workers: Annotated[
        int, typer.Option(metavar="N", help="Prepare batches in so many processes.", min=0, hidden=True)
    ] = 0,
    report_to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Log to tensorboard, trackio, ...; may repeat.",
            show_default="nothing",
            rich_help_panel=RUN,
        ),
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Don't use a GPU.", rich_help_panel=RUN)] = False,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Draw samples and masks with it.", min=0, rich_help_panel=RUN)
    ] = 42,
    config: Config = None,
    dry_run: DryRun = False,
) -> None:
    """Continue a model's pretraining on text of many languages, or a run that broke off.

    Example: ofa pretrain adapted text/ -v heldout/ -o continued -n 10000 --batch-size 32 --bf16
    """
    with stage(STARTING):
        from rich.console import Console
        from transformers.utils import logging

        from ..training import DataArguments, ModelArguments, PretrainingArguments
        from ..training import pretrain as run
        from ..training.arguments import CHECKPOINTING_ARGUMENT
        from ..training.planning import plan_pretraining
        from .display import training_display
        from .run_record import RunRecord

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
        parallel=parallel,
        parallel_exclude=str(parallel_exclude) if parallel_exclude else None,
        parallel_validation=str(parallel_validation) if parallel_validation else None,
        parallel_share=parallel_share,
        distill=distill,
        teacher=teacher,
        distillation_weight=distillation_weight,
        joined_pairs=joined_pairs or causal,
        alignment_weight=alignment_weight,
        mlm_probability=mask,
        whole_word_masking=whole_words,
    )
    eval_steps = eval_steps or save_steps
    load_best = bool(validation or parallel_validation) and best != "last"
    if load_best and save_steps % eval_steps:
        raise ValueError(
            f"--save-steps {save_steps} is no multiple of --eval-steps {eval_steps}, so that checkpoints would not be "
            "measured; make it one, or write the last model with --best last."
        )
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
        eval_strategy="steps" if validation or parallel_validation else "no",
        eval_steps=eval_steps,
        save_total_limit=keep,
        load_best_model_at_end=load_best,
        metric_for_best_model=None if best == "last" else best,
        early_stopping_patience=patience,
        bf16=bf16,
        dataloader_num_workers=workers,
        report_to=report_to or "none",
        disable_tqdm=not logging.is_progress_bar_enabled(),
        use_cpu=cpu,
        seed=seed,
        **{CHECKPOINTING_ARGUMENT: gradient_checkpointing},
    )
    console = Console(highlight=False, markup=False, soft_wrap=True)  # names may have brackets
    if dry_run:
        show_plan(
            console, plan_pretraining(model_arguments, data_arguments, training_arguments, causal=causal), output
        )
        return
    if training_arguments.process_index == 0:
        keep_workspace(output)
    existed = output.exists()
    record = None
    if training_arguments.process_index == 0:
        text = (
            value if Path(value).exists() else value.partition("=")[2]
            for value in (*(texts or ()), *(validation or ()), *(parallel or ()), *([teacher] if teacher else ()))
        )
        hub = (value.partition("=")[2].partition(":")[0] for value in dataset or ())
        record = RunRecord(context, [model, *([tokenizer] if tokenizer else []), *text], hub)
    try:
        result = run(
            model_arguments,
            data_arguments,
            training_arguments,
            causal=causal,
            callbacks=[recorder(record)] if record else None,
            display=training_display(),
        )
    except FloatingPointError as error:
        raise ValueError(str(error)) from error
    finally:
        if not existed and output.is_dir() and not any(output.iterdir()):
            output.rmdir()  # stopped before the first checkpoint
    if record is None:
        return
    record.write(output)
    show_measures(console, result)
    step = f", those of step {result['step']:,}" if "step" in result else ""
    console.print(f"Model and tokenizer are in {output}{step}")


def recorder(record: RunRecord) -> TrainerCallback:
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):
        """Writes the record as soon as a checkpoint is there."""

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            record.write(Path(args.output_dir))

    return Recorder()
