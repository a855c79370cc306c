"""The loss of a training step: over labelled positions only, and divided by the labels of the whole global batch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from ..models.modeling_ofa import OfaPreTrainedMixin
from ..scoring.masked_lm import decode_only
from ..scoring.sentences import default_layer
from .alignment import Alignment, contrastive_loss, sentence_vectors
from .checkpoints import last_checkpoint
from .distillation import squared_error
from .masking import IGNORED
from .samples import TrainingBatches


def count_labels(labels: torch.Tensor, causal: bool) -> torch.Tensor:
    """How many tokens of a batch (B, L) are predicted; a decoder predicts no first token."""
    return (labels[:, 1:] if causal else labels).ne(IGNORED).sum()


def training_loss(
    model: nn.Module,
    unwrapped: PreTrainedModel,
    batch: dict[str, torch.Tensor],
    num_items: torch.Tensor | int,
    causal: bool,
    alignment: Alignment | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The losses of a batch: of its tokens, and of its pairs where it is one of translations.

    Args:
        model, unwrapped, batch, num_items, causal: as for `token_loss`; a batch of pairs has `segments` and `content`, too.
        alignment: how pairs are compared.

    Returns:
        Scalars with gradient: the loss of tokens, a part of the global batch's; and the contrastive loss of this
        process's pairs, their mean times its weight, or None. Of pairs with `targets` (B, D), the second has the squared
        error of both sides, too, and where these aren't masked, the contrastive loss is on vectors less the batch's
        mean, and the first is 0.
    """
    if "segments" not in batch:
        return token_loss(model, unwrapped, batch, num_items, causal), None
    if "targets" in batch:
        return _distillation_loss(model, unwrapped, dict(batch), num_items, causal, alignment)
    batch = dict(batch)
    segments, content = batch.pop("segments"), batch.pop("content")
    alignment = alignment or Alignment()
    layer = default_layer(unwrapped) if alignment.layer is None else alignment.layer
    loss, output = _token_loss(model, unwrapped, batch, num_items, causal, output_hidden_states=True)
    contrast = contrastive_loss(
        sentence_vectors(output.hidden_states[layer], content),
        segments,
        temperature=alignment.temperature,
        centered=alignment.centered,
    )
    return loss, alignment.weight * contrast / len(segments)


def _distillation_loss(
    model: nn.Module,
    unwrapped: PreTrainedModel,
    batch: dict[str, torch.Tensor],
    num_items: torch.Tensor | int,
    causal: bool,
    alignment: Alignment,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of tokens (0 where none is masked, with a gradient of the head), and how far pairs are from their targets."""
    segments, content, targets = batch.pop("segments"), batch.pop("content"), batch.pop("targets")
    attention = batch["attention_mask"]
    if unwrapped.get_output_embeddings() is None:
        batch.pop("labels")
        output = model(**batch, output_hidden_states=True)
        loss = targets.new_zeros(())
    else:
        loss, output = _token_loss(
            model, unwrapped, batch, torch.as_tensor(num_items).clamp(min=1), causal, output_hidden_states=True
        )
    vectors = alignment.vectors(output.hidden_states[alignment.vectors.layer], attention, content)
    error = squared_error(vectors, targets, alignment.spread)
    contrast = contrastive_loss(
        vectors,
        segments,
        temperature=alignment.temperature,
        centered=alignment.centered or not alignment.masked,
    )
    return loss, alignment.target_weight * error + alignment.weight * contrast / len(segments)


def token_loss(
    model: nn.Module,
    unwrapped: PreTrainedModel,
    batch: dict[str, torch.Tensor],
    num_items: torch.Tensor | int,
    causal: bool,
) -> torch.Tensor:
    """Summed cross-entropy of the labelled tokens of a batch over `num_items`, a scalar with gradient.

    With `num_items` the labels of all processes and accumulated batches, the parts add up to the mean over the global
    batch, however it is divided. Logits exist for labelled positions only, and with an Ofa model not even for these (its
    `sparse_prediction`); a stock decoder makes all of them.

    Args:
        model: what to call, possibly wrapped for distributed training.
        unwrapped: the model itself.
        batch: `input_ids`, `attention_mask` and `labels`, (B, L).
        num_items: what to divide by.
        causal: a decoder.
    """
    return _token_loss(model, unwrapped, batch, num_items, causal)[0]


def _token_loss(
    model: nn.Module,
    unwrapped: PreTrainedModel,
    batch: dict[str, torch.Tensor],
    num_items: torch.Tensor | int,
    causal: bool,
    **options: Any,
) -> tuple[torch.Tensor, ModelOutput]:
    """The loss, and what the model returned."""
    if isinstance(unwrapped, OfaPreTrainedMixin):
        output = model(**batch, num_items_in_batch=num_items, sparse_prediction=True, **options)
        return output.loss, output
    if causal:
        output = model(**batch, num_items_in_batch=num_items, **options)
        return output.loss, output
    labels = batch["labels"]
    chosen = labels != IGNORED
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    with decode_only(unwrapped, chosen):
        output = model(**inputs, **options)
    logits = output.logits
    if logits.dim() == 3:  # a model that doesn't call its output embeddings as a module
        logits = logits[chosen]
    return nn.functional.cross_entropy(logits.float(), labels[chosen], reduction="sum") / num_items, output


def check_finite(loss: torch.Tensor, step: int, batches: TrainingBatches, number: int, output_dir: str) -> None:
    """Stops a run before a loss that is no number reaches the weights.

    Args:
        loss: of one batch.
        step: the step that it belongs to.
        batches, number: which batch it is.
        output_dir: of the run.

    Raises:
        FloatingPointError: the loss is infinite or NaN.
    """
    if torch.isfinite(loss):
        return
    raise FloatingPointError(
        f"The loss of step {step:,} is {loss.item()}, in the batch of {batches.describe(number)}. It did not reach the "
        f"weights, and {_saved(output_dir)}. Try a lower learning rate, more warmup, or bf16 instead of fp16."
    )


def check_gradient(norm: float, step: int, samples: str, output_dir: str) -> None:
    """Stops a run before a gradient that is no number reaches the weights: its loss may well be one.

    Args:
        norm: of the gradients.
        step: the step that they belong to.
        samples: of the step, in words.
        output_dir: of the run.

    Raises:
        FloatingPointError: the norm is infinite or NaN.
    """
    if not math.isfinite(norm):
        raise FloatingPointError(
            f"The gradient of step {step:,} has the norm {norm}, of {samples}. It did not reach a checkpoint: "
            f"{_saved(output_dir)}. Try a lower learning rate, more warmup, or bf16 instead of fp16."
        )


def check_weights(model: nn.Module, step: int, output_dir: str) -> None:
    """Stops a run before weights that are no numbers are saved.

    Raises:
        FloatingPointError: a parameter has such values; the message names it.
    """
    for name, parameter in model.named_parameters():
        values = parameter.detach()
        values = values.to_local() if hasattr(values, "to_local") else values
        if not values.isfinite().all():
            raise FloatingPointError(
                f"After step {step:,} the weights {name} are not finite, and are not saved: {_saved(output_dir)}. Try a "
                f"lower learning rate."
            )


def _saved(output_dir: str) -> str:
    checkpoint = last_checkpoint(output_dir)
    return f"the last checkpoint is {checkpoint}" if checkpoint else "no checkpoint was written yet"
