# Copyright 2026 The ofa_transformers authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The language-modelling loss over a large vocabulary, without the logits (positions x vocabulary).

`blocked_cross_entropy` computes it. `with_language_modelling_loss` wraps a stock forward pass so that its output
projection is asked for the loss at the labelled positions in place of logits. The file travels to the Hub as remote code,
and imports only torch and transformers.
"""

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.utils import logging


logger = logging.get_logger(__name__)

IGNORE_INDEX = -100
# How many weights a part of the vocabulary holds in half-precision products on the CPU, see `_BlockedCrossEntropy`.
_PART_ELEMENTS = 2**22


def _product_into(out: torch.Tensor, a: torch.Tensor, b: torch.Tensor, accumulate: bool = False) -> None:
    """Sets `out`, float32, to `a @ b`, or adds it; a float32 product needs no memory beside `out`."""
    if out.dtype == a.dtype:
        torch.addmm(out, a, b, beta=1.0 if accumulate else 0.0, out=out)
    elif accumulate:
        out += a @ b
    else:
        out.copy_(a @ b)


class _BlockedCrossEntropy(torch.autograd.Function):
    """Summed cross-entropy of a linear projection; forward computes the gradients too, one block of rows at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        labels: torch.Tensor,
        softcap: float | None,
        block_size: int,
        needs_grad: bool,
    ) -> torch.Tensor:
        wanted = [needs_grad and needed for needed in ctx.needs_input_grad[:3]]
        num_rows, vocab_size = hidden.shape[0], weight.shape[0]
        dtype, weight_dtype = hidden.dtype, weight.dtype
        # Half-precision products are taken part by part of the vocabulary on the CPU: copies of a part in another dtype
        # stay in the cache and reuse their memory, while fresh memory for all of them costs more than the product.
        part_size = vocab_size
        if hidden.device.type == "cpu" and dtype != torch.float32:
            part_size = max(1, _PART_ELEMENTS // weight.shape[1])
        else:
            weight = weight.to(dtype)
        parts = [slice(start, start + part_size) for start in range(0, vocab_size, part_size)]
        # All sums are kept in float32, whatever the dtype of the products.
        loss = hidden.new_zeros((), dtype=torch.float32)
        logits_of_blocks = hidden.new_empty(min(block_size, num_rows), vocab_size, dtype=torch.float32)
        capped_of_blocks = torch.empty_like(logits_of_blocks) if softcap is not None and any(wanted) else None
        grad_hidden = torch.zeros_like(hidden, dtype=torch.float32) if wanted[0] else None
        grad_weight = torch.empty_like(weight, dtype=torch.float32) if wanted[1] else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if wanted[2] else None
        for start in range(0, num_rows, block_size):
            rows = slice(start, start + block_size)
            block, targets = hidden[rows], labels[rows, None]
            logits = logits_of_blocks[: block.shape[0]]
            for part in parts:
                _product_into(logits[:, part], block, weight[part].to(dtype).t())
            if bias is not None:
                logits += bias
            if softcap is not None:
                logits.div_(softcap).tanh_()
                if capped_of_blocks is not None:
                    capped = capped_of_blocks[: block.shape[0]].copy_(logits)
                logits.mul_(softcap)
            # The softmax in place, and the loss on the way.
            logits -= logits.amax(dim=1, keepdim=True)
            logits_of_targets = logits.gather(1, targets)
            sums = logits.exp_().sum(dim=1, keepdim=True)
            loss += (sums.log() - logits_of_targets).sum()
            if not any(wanted):
                continue
            # d loss / d logits: probabilities, less one at the label
            delta = logits.div_(sums)
            delta.scatter_add_(1, targets, delta.new_full(targets.shape, -1.0))
            if softcap is not None:
                delta.addcmul_(delta, capped.square_(), value=-1.0)  # tanh' = 1 - tanh^2
            if grad_bias is not None:
                grad_bias += delta.sum(dim=0)
            for part in parts:
                delta_part = delta[:, part].to(dtype)
                if grad_hidden is not None:
                    grad_hidden[rows] += delta_part @ weight[part].to(dtype)
                if grad_weight is not None:
                    _product_into(grad_weight[part], delta_part.t(), block, accumulate=start > 0)
        ctx.gradients = (
            None if grad_hidden is None else grad_hidden.to(dtype),
            None if grad_weight is None else grad_weight.to(weight_dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
        )
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError(
                "The blocked cross-entropy can be differentiated once only, and frees its gradients then."
            )
        gradients = tuple(None if g is None else g.mul_(grad_output.to(g.dtype)) for g in ctx.gradients)
        ctx.gradients = None
        return *gradients, None, None, None, None


def blocked_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    bias: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
    block_elements: int | None = None,
    softcap: float | None = None,
) -> torch.Tensor:
    """Cross-entropy of `hidden @ weight.T + bias` with `labels`, without ever holding the logits (n, V).

    Both the loss and the gradients are computed in blocks of rows, in the forward pass, so that one block of logits is
    all that exists at a time (the idea of cut cross-entropy, Wijmans et al., 2025, arXiv 2411.09009, in plain PyTorch).

    Args:
        hidden (`torch.Tensor` of shape (n, k)): what the projection is applied to.
        weight (`torch.Tensor` of shape (V, k)): the projection.
        labels (`torch.LongTensor` of shape (n,)): token ids; rows labelled -100 are left out.
        bias (`torch.Tensor` of shape (V,), *optional*): what the projection adds.
        num_items_in_batch (`int` or scalar tensor, *optional*): what the sum of the losses is divided by, as `Trainer`
            passes it under gradient accumulation; the number of labelled rows by default.
        block_elements (`int`, *optional*): how many logits (float32) a block may hold; 2**25 (128 MiB) by default on the
            CPU, 2**27 (512 MiB) elsewhere.
        softcap (`float`, *optional*): c, where the logits are `c * tanh(logits / c)`, as Gemma 2 has them.

    Returns:
        `torch.Tensor`: a float32 scalar; 0 where no row is labelled.
    """
    labelled = labels != IGNORE_INDEX
    hidden, labels = hidden[labelled], labels[labelled]
    count = hidden.shape[0] if num_items_in_batch is None else num_items_in_batch
    if torch.is_tensor(count):
        count = count.to(hidden.device)
    if hidden.shape[0] == 0:
        return hidden.float().sum() * 0.0
    if block_elements is None:
        block_elements = 2**25 if hidden.device.type == "cpu" else 2**27
    block_size = max(1, block_elements // weight.shape[0])
    if torch.is_autocast_enabled(hidden.device.type):
        # The function takes its products in the dtype of `hidden`, and gives gradients in those of the weights.
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    tensors = (hidden, weight, bias, labels)
    with torch.autocast(hidden.device.type, enabled=False):
        return _BlockedCrossEntropy.apply(*tensors, softcap, block_size, torch.is_grad_enabled()) / count


class OutputProjection(nn.Linear):
    """The projection onto the vocabulary, which gives the loss in place of logits where a `LossRequest` asks for it.

    The loss is computed in its forward because sharded weights (FSDP2, ZeRO-3) and offloaded ones are whole during the
    forward of their module, and only then.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Hidden states (..., D) to logits (..., V)."""
        request = _asked_of(self)
        if request is not None and request.blocked:
            return request.answer(input)
        return F.linear(self.before_vocabulary(input), self.weight, self.bias)

    def before_vocabulary(self, input: torch.Tensor) -> torch.Tensor:
        """What `weight` is multiplied with: the input itself, (..., D)."""
        return input


# The request of the forward pass that runs in this thread; dynamo traces a `threading.local`, but no context variable.
_asked = threading.local()


def _asked_of(module: nn.Module) -> "LossRequest | None":
    request = getattr(_asked, "request", None)
    return request if request is not None and request.module is module else None


def _select_input(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Forward pre-hook of a projection that isn't ours, or is watched: where asked, it gets the labelled rows alone."""
    request = _asked_of(module)
    return None if request is None else (request.select(args[0]), *args[1:])


class LossRequest:
    """What one forward pass wants of the output projection: the loss at the labelled positions.

    A projection of ours computes it in blocks and returns logits of no position, (0, V). One that is wrapped (adapters of
    PEFT) or has hooks of the user's is handed the labelled rows, and gives logits for these.

    Args:
        model: the language model.
        targets: (B, L), the token that each position is to predict, or -100.
        num_items_in_batch: what the sum of the losses is divided by; the number of labelled positions by default.
    """

    def __init__(
        self, model: PreTrainedModel, targets: torch.Tensor, num_items_in_batch: torch.Tensor | int | None
    ) -> None:
        projection = model.get_output_embeddings()
        own = _own_projection(projection)
        self.blocked = own is not None and not any(_is_watched(module) for module in (own, *model.head_modules()))
        self.module = own if self.blocked else projection
        if not self.blocked and _select_input not in projection._forward_pre_hooks.values():
            projection.register_forward_pre_hook(_select_input)
        self.targets, self.num_items_in_batch = targets, num_items_in_batch
        # What stock forwards do with logits.
        self.scale = getattr(model.config, "logits_scaling", None)
        self.softcap = getattr(model.config, "final_logit_softcapping", None)
        self.added = getattr(model, "final_logits_bias", None)
        self.loss: torch.Tensor | None = None

    def select(self, hidden: torch.Tensor) -> torch.Tensor:
        """The labelled ones, (n, D), of the hidden states (B, L, D); keeps their labels."""
        targets = self.targets.to(hidden.device).reshape(-1)
        labelled = targets != IGNORE_INDEX
        self.targets = targets[labelled]
        return hidden.reshape(-1, hidden.shape[-1])[labelled]

    def answer(self, hidden: torch.Tensor) -> torch.Tensor:
        """Keeps the loss for hidden states (B, L, D), and returns logits of no position, (0, V)."""
        hidden = self.select(hidden)
        biases = [bias for bias in (self.module.bias, self.added) if bias is not None]
        self.loss = blocked_cross_entropy(
            self.module.before_vocabulary(hidden if self.scale is None else hidden / self.scale),
            self.module.weight,
            self.targets,
            bias=sum(bias.reshape(-1) for bias in biases) if biases else None,
            num_items_in_batch=self.num_items_in_batch,
            softcap=self.softcap,
        )
        return self.loss.to(hidden.dtype).expand(0, self.module.out_features)

    def loss_of(self, logits: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar, once the stock forward has returned its logits.

        Raises:
            RuntimeError: the projection was not called with the hidden states, or what it returned was lost.
        """
        if self.loss is not None:
            # The projection's output stays in the graph, empty as it is: FSDP waits for its gradient.
            return self.loss + logits.sum()
        if logits.dim() != 2 or self.targets.dim() != 1 or logits.shape[0] != self.targets.shape[0]:
            raise RuntimeError(
                f"sparse_prediction: the output projection, {type(self.module).__name__}, gave logits of the shape "
                f"{tuple(logits.shape)}, not of the labelled positions. Set config.sparse_prediction=False for this model."
            )
        if logits.shape[0] == 0:
            return logits.float().sum()
        count = logits.shape[0] if self.num_items_in_batch is None else self.num_items_in_batch
        loss = F.cross_entropy(logits.float(), self.targets, reduction="sum")
        return loss / (count.to(loss.device) if torch.is_tensor(count) else count)


def _own_projection(projection: nn.Module) -> OutputProjection | None:
    """The projection of ours whose output is that of the module in its place; None where that adds something to it."""
    copies = getattr(projection, "modules_to_save", None)
    if isinstance(copies, nn.ModuleDict):  # PEFT's wrapper of a module that is trained whole: it calls one copy
        active = projection.active_adapters
        in_use = not projection.disable_adapters and active and active[0] in copies
        projection = copies[active[0]] if in_use else projection.original_module
    return projection if isinstance(projection, OutputProjection) else None


def _is_watched(module: nn.Module) -> bool:
    """Whether hooks would see the logits of a module, other than those that gather its weights."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    gathering = ("torch.distributed.", "deepspeed.")
    return bool(module._backward_hooks or module._backward_pre_hooks) or any(
        hook is not _select_input and not str(getattr(hook, "__module__", "")).startswith(gathering) for hook in hooks
    )


# Heads for pretraining have a second task: its labels -> its logits.
SECOND_TASKS = {"next_sentence_label": "seq_relationship_logits", "sentence_order_label": "sop_logits"}


def with_language_modelling_loss(stock_forward: Callable, shifted: bool) -> Callable:
    """`stock_forward` of a language model, with the blocked loss where `config.sparse_prediction` asks for it.

    The argument `sparse_prediction` of the call goes before the configuration's. Either way a loss without shift is
    divided by `num_items_in_batch` where `Trainer` passes it.

    Args:
        stock_forward: the forward of a stock class.
        shifted: position t predicts the label of t + 1, as in decoders.
    """
    names = [p.name for p in inspect.signature(stock_forward).parameters.values() if p.kind != p.VAR_KEYWORD][1:]
    second_task = next((name for name in SECOND_TASKS if name in names), None)

    @functools.wraps(stock_forward)
    def forward(self: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        sparse = kwargs.pop("sparse_prediction", None)
        if sparse is None:
            sparse = self.config.sparse_prediction
        if kwargs.keys() & set(names[: len(args)]):
            return stock_forward(self, *args, **kwargs)  # raises what Python says of it
        kwargs.update(zip(names, args))
        labels = kwargs.get("labels")
        second_label = kwargs.get(second_task) if second_task is not None else None
        if labels is None or (shifted and not sparse) or (second_task is not None and second_label is None):
            return stock_forward(self, **kwargs)
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
        if not sparse:
            output = stock_forward(self, **kwargs)
            if num_items_in_batch is not None:
                # Stock heads take what Trainer counts and forget it: accumulated gradients grow by the steps.
                scale = (labels != IGNORE_INDEX).sum() / num_items_in_batch
                if isinstance(output, tuple):
                    return output[0] * scale.to(output[0].device), *output[1:]
                output.loss = output.loss * scale.to(output.loss.device)
            return output

        if not self.training and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            logger.warning_once(
                "sparse_prediction: where labels are given there are no logits, so that predictions are empty. For "
                "`Trainer.predict` and `compute_metrics` set model.config.sparse_prediction=False."
            )
        del kwargs["labels"]
        shift_labels = kwargs.pop("shift_labels", None)
        return_dict = kwargs.pop("return_dict", None)
        targets = labels
        if self.config.is_encoder_decoder:
            kwargs["use_cache"] = False
            if kwargs.get("decoder_input_ids") is None and kwargs.get("decoder_inputs_embeds") is None:
                kwargs["decoder_input_ids"] = self.prepare_decoder_input_ids_from_labels(labels)
        elif shifted:
            # As `ForCausalLMLoss` does it.
            targets = F.pad(labels, (0, 1), value=IGNORE_INDEX)[..., 1:] if shift_labels is None else shift_labels
            kwargs["use_cache"] = False
        request = LossRequest(self, targets, num_items_in_batch)
        before = getattr(_asked, "request", None)
        _asked.request = request
        try:
            output = stock_forward(self, **kwargs, return_dict=True)
        finally:
            _asked.request = before
        key = "logits" if "logits" in output else "prediction_logits"
        loss = request.loss_of(output[key])
        if second_task is not None:
            scores = output[SECOND_TASKS[second_task]]
            loss = loss + F.cross_entropy(scores.view(-1, 2), second_label.view(-1))
        # A new output: there is no other way to take the logits out of the keys and have `loss` first in tuples.
        others = {name: value for name, value in output.items() if name != key}
        output = type(output)(loss=loss, **others)
        wants_dict = self.config.return_dict if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()

    return forward
