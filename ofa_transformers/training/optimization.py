"""Parameter groups: embeddings and body with learning rates of their own, and a body that starts later."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import PreTrainedModel


BODY, EMBEDDINGS = "body", "embeddings"


def embedding_names(model: PreTrainedModel) -> set[str]:
    """Names of the parameters of input and output embeddings: coordinates, primitives and the head's bias."""
    modules = [
        module for module in (model.get_input_embeddings(), model.get_output_embeddings()) if module is not None
    ]
    own = {id(parameter) for module in modules for parameter in module.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in own}


def parameter_groups(
    model: PreTrainedModel,
    decayed: Collection[str],
    *,
    learning_rate: float,
    weight_decay: float,
    embedding_learning_rate: float | None = None,
    embedding_weight_decay: float | None = None,
) -> list[dict[str, Any]]:
    """Groups for a torch optimizer, each with `name` ("body" or "embeddings").

    Args:
        model: not yet wrapped.
        decayed: names of the parameters with weight decay.
        learning_rate, weight_decay: of the body, and of the embeddings where theirs are None.
        embedding_learning_rate, embedding_weight_decay: of input and output embeddings, both factors.
    """
    embeddings = embedding_names(model)
    rates = {BODY: learning_rate, EMBEDDINGS: embedding_learning_rate}
    decays = {BODY: weight_decay, EMBEDDINGS: embedding_weight_decay}
    groups: dict[tuple[str, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part, decay = (EMBEDDINGS if name in embeddings else BODY), name in decayed
        if (part, decay) not in groups:
            rate = learning_rate if rates[part] is None else rates[part]
            amount = (weight_decay if decays[part] is None else decays[part]) if decay else 0.0
            groups[part, decay] = {"params": [], "name": part, "lr": rate, "weight_decay": amount}
        groups[part, decay]["params"].append(parameter)
    return list(groups.values())


def delay_body(scheduler: LRScheduler, steps: int, warmup_steps: int = 0) -> None:
    """Keeps the learning rate of the body at zero for `steps` steps, then lets it rise over `warmup_steps`.

    The gradients are still computed, so that this works alike under DDP, FSDP and ZeRO, and Adam knows their size when
    the body starts.

    Raises:
        ValueError: a scheduler or an optimizer of another make.
    """
    groups = scheduler.optimizer.param_groups
    if not isinstance(scheduler, LambdaLR) or not any(group.get("name") == BODY for group in groups):
        raise ValueError(
            "freeze_body_steps needs one of the schedules linear, cosine, polynomial, constant, constant_with_warmup or "
            "inverse_sqrt, and an optimizer that this run made."
        )
    for i, group in enumerate(groups):
        if group.get("name") == BODY:
            scheduler.lr_lambdas[i] = _delayed(scheduler.lr_lambdas[i], steps, warmup_steps)
        group["lr"] = scheduler.base_lrs[i] * scheduler.lr_lambdas[i](scheduler.last_epoch)
    scheduler._last_lr = [group["lr"] for group in groups]


def _delayed(schedule: Callable[[int], float], steps: int, warmup_steps: int) -> Callable[[int], float]:
    def delayed(step: int) -> float:
        return 0.0 if step < steps else schedule(step) * min((step - steps + 1) / max(warmup_steps, 1), 1.0)

    return delayed


def clip_gradients(
    accelerator: Accelerator, model: nn.Module, optimizer: torch.optim.Optimizer, max_norm: float, frozen: bool
) -> float:
    """Clips the gradients that are about to move weights, by their own norm.

    While the body is `frozen`, its gradients, which Adam only remembers, are clipped apart by theirs. DeepSpeed clips
    by itself, all together.

    Args:
        accelerator: of the run.
        model: as it was prepared.
        optimizer: with groups of `parameter_groups`, where something is frozen.
        max_norm: infinite to clip nothing.
        frozen: whether the body stays as it is in this step.

    Returns:
        The norm before; one that isn't finite if that of the frozen gradients isn't.
    """
    body = [
        parameter for group in optimizer.param_groups if group.get("name") == BODY for parameter in group["params"]
    ]
    if not frozen or accelerator.distributed_type == DistributedType.DEEPSPEED:
        return _number(accelerator.clip_grad_norm_(model.parameters(), max_norm))
    apart = {id(parameter) for parameter in body}
    trained = [parameter for parameter in model.parameters() if id(parameter) not in apart]
    norm = _number(accelerator.clip_grad_norm_(trained, max_norm))  # fp16's scale goes out of all gradients
    other = _number(nn.utils.clip_grad_norm_(body, max_norm))
    return norm if math.isfinite(other) else other


def _number(norm: torch.Tensor | float | None) -> float:
    if norm is None:  # DeepSpeed's before its first step
        return 0.0
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
