"""Continued pretraining from arguments to saved model: what `run_mlm.py`, `run_clm.py` and `ofa pretrain` do."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from transformers import TrainerCallback, set_seed
from transformers.utils import CONFIG_NAME

from ..utils.files import reserved
from ..utils.progress import stage
from ..utils.targets import check_space, check_target, follow_umask
from .arguments import DataArguments, ModelArguments, PretrainingArguments
from .checkpoints import last_checkpoint
from .head import fit_head
from .setup import prepare
from .trainer import PretrainingTrainer


# Bytes a parameter: weight, and two states of AdamW, float32.
CHECKPOINT_BYTES = 12
BEST = "bits_per_character"


def pretrain(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    training_arguments: PretrainingArguments,
    *,
    causal: bool = False,
    callbacks: list[TrainerCallback] | None = None,
) -> dict[str, float]:
    """Continue the pretraining of a masked LM (or, with `causal`, of a decoder), and write model and tokenizer.

    A run whose output folder has a checkpoint is resumed from the last one, or from `resume_from_checkpoint`. With
    validation text, the checkpoint with the fewest bits per character is kept, and with `load_best_model_at_end` it is
    what is written at the end.

    Returns:
        Trainer's metrics, and those of the last evaluation.

    Raises:
        FileNotFoundError, FileExistsError, ValueError, ImportError: something is missing, empty or doesn't fit; before
            the work starts.
        FloatingPointError: a loss that is no number.
        OSError: a checkpoint could not be written; the last good one is still there. Or the disk has too little room
            for one, which is found before the work.
        Busy: another process writes there.
    """
    args = training_arguments
    output = check_target(args.output_dir)
    with reserved(output) if args.process_index == 0 else nullcontext():
        return _pretrain(model_arguments, data_arguments, args, output, causal, callbacks)


def _pretrain(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    args: PretrainingArguments,
    output: Path,
    causal: bool,
    callbacks: list[TrainerCallback] | None,
) -> dict[str, float]:
    resume = args.resume_from_checkpoint or last_checkpoint(output)
    if not resume and args.process_index == 0:
        check_output(output)
    set_seed(args.seed)
    with stage("Reading model and text"):
        setup = prepare(
            model_arguments, data_arguments, causal=causal, seed=args.sample_seed, loader_options=args.loader_options
        )
    if setup.validation and args.eval_strategy != "no" and args.metric_for_best_model is None:
        args.metric_for_best_model, args.greater_is_better = BEST, False
    check_space(output, CHECKPOINT_BYTES * setup.model.num_parameters())
    if setup.new_weights and not resume:
        fit_head(setup, args.sample_seed)
    trainer = PretrainingTrainer(setup, args, callbacks)
    result = trainer.train(resume_from_checkpoint=resume).metrics
    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model()
    trainer.save_state()
    if args.process_index == 0:
        follow_umask(*output.glob("*.safetensors"))
    if setup.validation:
        result |= trainer.evaluate()
    if trainer.is_world_process_zero():
        trainer.save_metrics("all", result)
    return result


def check_output(output: Path) -> None:
    """That a run without checkpoints to resume from would replace no model.

    Raises:
        FileExistsError: there is one in the folder, or it is a file.
    """
    if output.is_file():
        raise FileExistsError(f"The output folder {output} is a file; name a folder.")
    if Path(output, CONFIG_NAME).exists():
        raise FileExistsError(f"The output folder {output} holds a model, but no checkpoint; name another folder.")
