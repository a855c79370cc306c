"""Continued pretraining from arguments to saved model: what `run_mlm.py`, `run_clm.py` and `ofa pretrain` do."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path

from transformers import TrainerCallback, set_seed
from transformers.utils import CONFIG_NAME, logging

from ..scoring.language_removal import remove_languages
from ..utils.files import reserved
from ..utils.progress import stage
from ..utils.targets import check_space, check_workspace, follow_umask, writing_to
from .arguments import DataArguments, ModelArguments, PretrainingArguments
from .checkpoints import last_checkpoint, saved_steps
from .evaluation import retrieval
from .head import fit_head
from .objective import check_weights
from .progress import PREFIX, RETRIEVAL, evaluations
from .setup import prepare
from .trainer import PretrainingTrainer


# Bytes a parameter: weight, and two states of AdamW, float32.
CHECKPOINT_BYTES = 12
# Bytes of a checkpoint that are written a second.
WRITING = 6e8
_WEIGHT_BYTES = 4
# Of each, to see what tells languages apart.
LINES_OF_LANGUAGE = 400

logger = logging.get_logger(__name__)


def pretrain(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    training_arguments: PretrainingArguments,
    *,
    causal: bool = False,
    callbacks: list[TrainerCallback] | None = None,
    display: TrainerCallback | None = None,
) -> dict[str, float]:
    """Continue the pretraining of a masked LM (or, with `causal`, of a decoder), and write model and tokenizer.

    A run whose output folder has a checkpoint is resumed from the last one, or from `resume_from_checkpoint`. With
    validation text, the checkpoint with the fewest bits per character (or another `metric_for_best_model`) is kept, and
    with `load_best_model_at_end` it is what is written at the end.

    Args:
        model_arguments, data_arguments, training_arguments: what to train, on what, and how.
        causal: a decoder; else a masked LM.
        callbacks, display: see `PretrainingTrainer`.

    Returns:
        Trainer's metrics; with validation text those of the model that was written (`eval_...`), its step (`step`) and
        those of the model before the first step (`start_...`), where they were taken.

    Raises:
        FileNotFoundError, FileExistsError, ValueError, ImportError: something is missing, empty or doesn't fit; before
            the work starts.
        FloatingPointError: a loss that is no number.
        OSError: a checkpoint could not be written; the last good one is still there. Or the disk has too little room,
            which is found before the work.
        Busy: another process writes there.
    """
    args = training_arguments
    output = check_workspace(args.output_dir)
    with reserved(output) if args.process_index == 0 else nullcontext():
        return _pretrain(model_arguments, data_arguments, args, output, causal, callbacks, display)


def _pretrain(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    args: PretrainingArguments,
    output: Path,
    causal: bool,
    callbacks: list[TrainerCallback] | None,
    display: TrainerCallback | None,
) -> dict[str, float]:
    resume = args.resume_from_checkpoint or last_checkpoint(output)
    if not resume and args.process_index == 0:
        check_output(output)
    set_seed(args.seed)
    with stage("Reading model and text"):
        setup = prepare(
            model_arguments,
            data_arguments,
            causal=causal,
            seed=args.sample_seed,
            loader_options=args.loader_options,
            passes=(
                args.per_device_train_batch_size * args.world_size,
                max(args.max_steps, 0) * args.gradient_accumulation_steps,
            ),
        )
    check_space(output, bytes_to_write(args, setup.model.num_parameters(), len(saved_steps(output))))
    if setup.new_weights and not resume:
        fit_head(setup, args.sample_seed)
    trainer = PretrainingTrainer(setup, args, callbacks, display)
    result = trainer.train(resume_from_checkpoint=resume).metrics
    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    check_weights(trainer.model, trainer.state.global_step, args.output_dir)
    removed = free_of_languages(trainer)
    with writing_to(output):
        trainer.save_model()
    if args.process_index == 0:
        follow_umask(*output.glob("*.safetensors"))
    if setup.held_out:
        result |= held_out(trainer) | removed
    with writing_to(output):
        trainer.save_state()
        if trainer.is_world_process_zero():
            trainer.save_metrics("all", result)
    return result


def interval(steps: float, max_steps: int) -> int:
    """Steps between two checkpoints or evaluations, which Trainer takes as a number or as a share of all."""
    return int(steps) if steps >= 1 else math.ceil(max_steps * steps)


def bytes_to_write(args: PretrainingArguments, parameters: int, saved: int = 0) -> int:
    """About what a run writes at most: checkpoints to keep, one more while it is written, and the model.

    Args:
        args: of the run; without `save_total_limit` two checkpoints count.
        parameters: of the model.
        saved: checkpoints that are there already.
    """
    every = interval(args.save_steps, args.max_steps)
    most = min((args.save_total_limit or 1) + 1, math.ceil(args.max_steps / every))
    return (CHECKPOINT_BYTES * max(most - saved, 1) + _WEIGHT_BYTES) * parameters


def free_of_languages(trainer: PretrainingTrainer) -> dict[str, float]:
    """Takes what tells languages apart out of a sentence encoder's vectors, unless that costs retrieval.

    Returns:
        The measures with it, as `PretrainingTrainer.evaluate` has them; none where nothing was taken out or measured.
    """
    setup = trainer.setup
    if setup.sentence_modules is None or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return {}
    plain = setup.sentence_modules
    with stage("Comparing languages"):
        setup.sentence_modules = remove_languages(
            plain, trainer.model, setup.tokenizer, setup.lines_by_language(LINES_OF_LANGUAGE)
        )
    pairs = setup.validation_pairs
    if not pairs or not setup.sentence_modules.has_projection:
        return {}
    before, after = (
        retrieval(trainer.model, setup.tokenizer, pairs, setup.measured_layer, modules=modules)
        for modules in (plain, setup.sentence_modules)
    )
    kept = after[RETRIEVAL] >= before[RETRIEVAL]
    logger.warning(
        f"Directions between languages {'are' if kept else 'would be'} taken out of sentence vectors: held-out retrieval "
        f"{before[RETRIEVAL]:.1%} -> {after[RETRIEVAL]:.1%}{'' if kept else '; they are left in'}."
    )
    if not kept:
        setup.sentence_modules = plain
        return {}
    return {f"{PREFIX}{name}": value for name, value in after.items()}


def held_out(trainer: PretrainingTrainer) -> dict[str, float]:
    """Measures of the model that a run ends with, of its step and of the start; measured now if they never were."""
    state, args = trainer.state, trainer.args
    loaded = args.load_best_model_at_end and state.best_model_checkpoint is not None
    step = state.best_global_step if loaded else state.global_step
    measured = evaluations(state.log_history)
    last = measured.get(step) or trainer.evaluate()
    start = {f"start_{name.removeprefix(PREFIX)}": value for name, value in measured.get(0, {}).items()}
    before, after = (
        each.get(PREFIX + args.metric_for_best_model.removeprefix(PREFIX)) for each in (measured.get(0, {}), last)
    )
    if step and before is not None and (after <= before if args.greater_is_better else after >= before):
        logger.warning(
            f"The model of step {step:,} is no better on held-out text than the one that the run started from: "
            f"{args.metric_for_best_model} {after:.4f}, before {before:.4f}. Try a lower learning rate, or more text."
        )
    return {**last, **start, "step": step}


def check_output(output: Path) -> None:
    """That a run without checkpoints to resume from would replace no model.

    Raises:
        FileExistsError: there is one in the folder.
    """
    if Path(output, CONFIG_NAME).exists():
        raise FileExistsError(f"The output folder {output} holds a model, but no checkpoint; name another folder.")
