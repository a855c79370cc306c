"""What a run that goes on from a checkpoint may change: each setting takes effect and is named, or is refused by name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import PreTrainedModel
from transformers.utils import logging


if TYPE_CHECKING:
    from .setup import Setup

logger = logging.get_logger(__name__)

# Of the arguments of both loops; those that say nothing of the result are left out.
_ARGUMENTS = (
    "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate",
    "embedding_learning_rate", "weight_decay", "embedding_weight_decay", "warmup_steps", "freeze_body_steps",
    "lr_scheduler_type", "optim", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "bf16", "fp16", "seed",
)  # fmt: skip
# What can't change, and why.
_FIXED = {
    "model": "the weights are the checkpoint's, so that it would have no effect",
    "tokenizer": "the embeddings were trained with the other one",
    "causal": "the checkpoint was trained for the other objective",
    "seed": "all samples, masks and dropout depend on it",
    "sample_seed": "all samples and masks depend on it",
    "optim": "the other one's state is in the checkpoint",
    "lr_scheduler_type": "the other one's state is in the checkpoint",
    "held-out text": "measures of the other one could not be compared",
}
# What schedules with a state of their own, and DeepSpeed, take from the checkpoint.
_RATES = ("learning_rate", "embedding_learning_rate", "weight_decay", "embedding_weight_decay", "warmup_steps")
_STATEFUL = ("reduce_lr_on_plateau", "greedy")


def settings_of(setup: Setup, args: Any, processes: int) -> dict[str, Any]:
    """What decides the result of a run, as plain values, to compare when it is resumed.

    Args:
        setup: model, tokenizer and text.
        args: of the loop.
        processes: that share each step's samples.
    """
    values = {name: getattr(args, name) for name in _ARGUMENTS if hasattr(args, name)}
    values = {name: getattr(value, "value", value) for name, value in values.items()}
    return {**values, "processes": processes, **setup.settings}


def check_settings(checkpoint: Path, before: dict[str, Any], now: dict[str, Any], deepspeed: bool = False) -> None:
    """That a run may go on from a checkpoint with the settings of now; a warning names those that are others.

    Args:
        checkpoint: for messages.
        before: the settings of the run that wrote it.
        now: those of this run; None for what isn't known.
        deepspeed: whether DeepSpeed holds optimizer and schedule.

    Raises:
        ValueError: a setting that can't change, or fewer steps than were done.
    """
    unknown = ("model", "held-out text")
    changed = [
        name
        for name in now
        if name in before and before[name] != now[name] and not (name in unknown and None in (before[name], now[name]))
    ]
    stateful = deepspeed or now.get("lr_scheduler_type") in _STATEFUL
    reasons = _FIXED | (dict.fromkeys(_RATES, "the schedule's state is in the checkpoint") if stateful else {})
    for name in changed:
        if name in reasons:
            shown = "" if name in ("model", "tokenizer", "held-out text") else f" ({now[name]}, before {before[name]})"
            raise ValueError(
                f"{checkpoint} was written with another {name}{shown}, which can't change within a run: "
                f"{reasons[name]}. Go on with the same, or name a new output folder."
            )
    if changed:
        listed = ", ".join(
            name if name == "text" else f"{name} {now[name]} (before {before[name]})" for name in changed
        )
        logger.warning(f"Going on from {checkpoint} with other settings, which hold from here on: {listed}.")


def check_steps(checkpoint: Path, done: int, max_steps: int) -> None:
    """Raises `ValueError` for fewer steps than a checkpoint has."""
    if max_steps < done:
        raise ValueError(
            f"max_steps={max_steps} (--steps) is less than the {done} steps that {checkpoint} has; give at least as many, "
            "resume from an earlier checkpoint, or name a new output folder."
        )


def fingerprint(model: PreTrainedModel, without: list[str]) -> str | None:
    """A hash of some values of each parameter, but for those named; None where they aren't here (dry runs, ZeRO-3)."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if name in without:
            continue
        if parameter.is_meta or not parameter.numel():
            return None
        values = parameter.detach().flatten()
        values = values[:: max(1, len(values) // 64)]
        digest.update(repr((name, tuple(parameter.shape), values.float().cpu().tolist())).encode())
    return digest.hexdigest()[:16]


def hyperparameters(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Of each parameter group, all but the parameters."""
    return [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]


def apply_hyperparameters(
    optimizer: torch.optim.Optimizer, scheduler: LRScheduler, wanted: list[dict[str, Any]]
) -> None:
    """Puts hyperparameters back that a checkpoint's state has replaced: learning rates, weight decay and so on.

    Args:
        optimizer, scheduler: with the state of the checkpoint.
        wanted: what `hyperparameters` gave before that was loaded.
    """
    follows = isinstance(scheduler, LambdaLR)
    for number, (group, new) in enumerate(zip(optimizer.param_groups, wanted, strict=True)):
        group.update({name: value for name, value in new.items() if name not in ("lr", "initial_lr")})
        if follows:
            rate = scheduler.base_lrs[number] = group["initial_lr"] = new["initial_lr"]
            group["lr"] = rate * scheduler.lr_lambdas[number](scheduler.last_epoch)
    if follows:
        scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]
