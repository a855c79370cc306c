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
"""Models whose token embeddings are factorized, E ≈ F P (OFA, Liu et al., 2024, section 3.1).

Each Ofa class is a stock Transformers class with its input embeddings, and its output projection where it has one,
replaced by `FactorizedEmbedding` and `FactorizedLinear` before the weights are initialised or loaded. Nothing of the
stock forward passes is copied. The file travels to the Hub as remote code, and imports only torch, transformers and
`configuration_ofa.py`.
"""

import functools
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.models.auto import modeling_auto
from transformers.models.bert import modeling_bert
from transformers.models.gpt2 import modeling_gpt2
from transformers.models.llama import modeling_llama
from transformers.models.mistral import modeling_mistral
from transformers.models.modernbert import modeling_modernbert
from transformers.models.qwen3 import modeling_qwen3
from transformers.models.xlm_roberta import modeling_xlm_roberta

from .configuration_ofa import (
    OfaBertConfig,
    OfaConfig,
    OfaGPT2Config,
    OfaLlamaConfig,
    OfaMistralConfig,
    OfaModernBertConfig,
    OfaQwen3Config,
)


IGNORE_INDEX = -100
# How many weights a part of the vocabulary holds in half-precision products on the CPU, see `_BlockedCrossEntropy`.
_PART_ELEMENTS = 2**22

# Names in the checkpoints that the authors published -> ours; see `OfaPreTrainedMixin.from_pretrained`.
AUTHORS_KEY_MAPPING = {
    r"embeddings\.target_coordinates\.weight$": "embeddings.word_embeddings.weight",
    r"embeddings\.primitive_embeddings\.weight$": "embeddings.word_embeddings.primitives.weight",
    r"lm_head\.vocab_project\.weight$": "lm_head.decoder.weight",
    r"lm_head\.vocab_project\.bias$": "lm_head.decoder.bias",
    r"lm_head\.down_project\.weight$": "lm_head.decoder.primitives.weight",
}


def _check_embedding_size(embedding_size: int, hidden_size: int) -> None:
    if not 1 <= embedding_size <= hidden_size:
        raise ValueError(
            f"embedding_size must lie between 1 and the hidden size, {hidden_size}, but is {embedding_size}."
        )


class Primitives(nn.Module):
    """P of E ≈ F P as a linear map without bias: coordinates (..., D') to vectors (..., D), and back by the transpose.

    `weight` is the transpose of P, (D, D'). Not an `nn.Linear`, which adapters (PEFT's "all-linear") and quantizers would
    replace by a module of one direction.
    """

    def __init__(
        self,
        embedding_size: int,
        hidden_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.embedding_size, self.hidden_size = embedding_size, hidden_size
        self.weight = nn.Parameter(torch.empty(hidden_size, embedding_size, device=device, dtype=dtype))
        nn.init.normal_(self.weight, std=hidden_size**-0.5)

    def forward(self, input: torch.Tensor, transposed: bool = False) -> torch.Tensor:
        # Both directions go through forward, where hooks of offloading look for them.
        return F.linear(input, self.weight.t() if transposed else self.weight)

    def extra_repr(self) -> str:
        return f"{self.embedding_size}, {self.hidden_size}"


class _Factorized:
    """What the two factorized modules share."""

    def to_dense(self) -> torch.Tensor:
        """The product F P as a new tensor (V, D), of the weights' dtype."""
        return F.linear(self.weight.detach(), self.primitives.weight.detach())

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, embedding_size={self.embedding_size}"


class FactorizedEmbedding(_Factorized, nn.Embedding):
    """A lookup table E ≈ F P kept as its two factors (OFA, section 3.1): E[i] is `weight[i] @ primitives.weight.T`.

    Args:
        num_embeddings (`int`): V, the number of tokens.
        embedding_dim (`int`): D, the size of the returned vectors.
        embedding_size (`int`): D', the number of columns of F, 1 <= D' <= D.
        padding_idx (`int`, *optional*): as in `torch.nn.Embedding`.

    Attributes:
        weight (`torch.nn.Parameter` of shape (V, D')): the coordinates F.
        primitives (`Primitives`): a linear map without bias from D' to D; its weight, (D, D'), is the transpose of P.

    Raises:
        ValueError: if `embedding_size` is under 1 or over `embedding_dim`.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        embedding_size: int,
        padding_idx: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _check_embedding_size(embedding_size, embedding_dim)
        super().__init__(num_embeddings, embedding_size, padding_idx=padding_idx, device=device, dtype=dtype)
        self.embedding_dim = embedding_dim
        self.embedding_size = embedding_size
        self.primitives = Primitives(embedding_size, embedding_dim, device=device, dtype=dtype)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Token ids of any shape (...) to vectors (..., D)."""
        return self.primitives(super().forward(input))


class _OutputProjection(nn.Linear):
    """The projection onto the vocabulary, in whose place a blocked loss can step: see `blocked_cross_entropy`."""

    # While set, forward calls this: the "logits" of the stock forward are then the loss. It is computed in here because
    # sharded weights (FSDP2, ZeRO-3) and offloaded ones are whole during the forward of their module, and only then.
    instead: Callable[[torch.Tensor], torch.Tensor] | None = None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) if self.instead is None else self.instead(input)

    def before_vocabulary(self, input: torch.Tensor) -> torch.Tensor:
        """What `weight` is multiplied with: the input itself, (..., D)."""
        return input


class FactorizedLinear(_Factorized, _OutputProjection):
    """The projection onto a factorized vocabulary: `(x @ P.T) @ F.T + bias`, (..., D) to (..., V).

    Args:
        in_features (`int`): D, the hidden size.
        out_features (`int`): V, the number of tokens.
        embedding_size (`int`): D', 1 <= D' <= D.
        bias (`bool`, defaults to `True`): whether there is a bias of shape (V,).

    Attributes:
        weight (`torch.nn.Parameter` of shape (V, D')): the coordinates F.
        primitives (`Primitives`): the same kind of map, with the same weight where the model ties them.

    Raises:
        ValueError: if `embedding_size` is under 1 or over `in_features`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        embedding_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _check_embedding_size(embedding_size, in_features)
        super().__init__(embedding_size, out_features, bias=bias, device=device, dtype=dtype)
        self.in_features = in_features
        self.embedding_size = embedding_size
        self.primitives = Primitives(embedding_size, in_features, device=device, dtype=dtype)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Hidden states (..., D) to logits (..., V)."""
        if self.instead is not None:
            return self.instead(input)
        return F.linear(self.before_vocabulary(input), self.weight, self.bias)

    def before_vocabulary(self, input: torch.Tensor) -> torch.Tensor:
        """What `weight` is multiplied with: `x @ P.T`, (..., D) to (..., D')."""
        return self.primitives(input, transposed=True)


class _BiasOfProjection:
    """A head whose `bias` is that of its projection, rather than a second parameter tied to it.

    One parameter of two modules can't be sharded by FSDP2, and untied it is left without a gradient under DDP.
    """

    @property
    def bias(self) -> torch.Tensor:
        return self.decoder.bias


class OfaLMHead(_BiasOfProjection, modeling_xlm_roberta.XLMRobertaLMHead):
    """[`XLMRobertaLMHead`] with one bias."""


class OfaBertLMPredictionHead(_BiasOfProjection, modeling_bert.BertLMPredictionHead):
    """[`BertLMPredictionHead`] with one bias."""


_HEADS_WITH_TWO_BIASES = {
    modeling_xlm_roberta.XLMRobertaLMHead: OfaLMHead,
    modeling_bert.BertLMPredictionHead: OfaBertLMPredictionHead,
}
# The name of the second bias in stock checkpoints -> the one that we keep.
_BIAS_KEY_MAPPING = {
    r"lm_head\.bias$": "lm_head.decoder.bias",
    r"predictions\.bias$": "predictions.decoder.bias",
}


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
        return *gradients, None, None, None


def blocked_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    bias: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
    block_elements: int | None = None,
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
    with torch.autocast(hidden.device.type, enabled=False):
        return _BlockedCrossEntropy.apply(hidden, weight, bias, labels, block_size, torch.is_grad_enabled()) / count


def swap_prefix(state_dict: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    """The same weights, with the base model's under another name."""
    if old == new:
        return state_dict
    return {
        f"{new}.{key.removeprefix(f'{old}.')}" if key.startswith(f"{old}.") else key: value
        for key, value in state_dict.items()
    }


class OfaPreTrainedMixin:
    """Factorizes the embeddings of the stock class that it is mixed into; the whole behaviour of the Ofa models."""

    _tied_weights_keys: dict[str, str] | None
    # Set for every class of the table below.
    family: "Family"
    dense_class: type[PreTrainedModel]
    base_class: type[PreTrainedModel]

    def __init__(self, config: PreTrainedConfig, *args: Any, **kwargs: Any) -> None:
        # Stock heads of decoders construct their base model through AutoModel. In remote code the configuration's class
        # may be a second copy of the one imported above, hence its own registration.
        AutoModel.register(type(config), self.base_class, exist_ok=True)
        super().__init__(config, *args, **kwargs)

    def post_init(self) -> None:
        # The stock constructor calls this last: all modules exist, none is loaded or tied yet.
        self._factorize_modules()
        super().post_init()

    def _factorize_modules(self) -> None:
        base_model = getattr(self, self.base_model_prefix, None)
        if base_model is not None and not isinstance(base_model, OfaPreTrainedMixin):
            # Stock heads construct the stock base model by name. It has consumed this field, which a second one reads.
            if any(getattr(module, "gradient_checkpointing", False) for module in base_model.modules()):
                self.config.gradient_checkpointing = True
            pooling = {"add_pooling_layer": base_model.pooler is not None} if hasattr(base_model, "pooler") else {}
            setattr(self, self.base_model_prefix, self.base_class(self.config, **pooling))

        size = self.config.embedding_size
        embeddings = self.get_input_embeddings()
        if size is not None and not isinstance(embeddings, FactorizedEmbedding):
            self._replace(
                embeddings,
                # Sizes from the modules: ZeRO-3 has already scattered their weights.
                FactorizedEmbedding(
                    embeddings.num_embeddings,
                    embeddings.embedding_dim,
                    embedding_size=size,
                    padding_idx=embeddings.padding_idx,
                    device=embeddings.weight.device,
                    dtype=embeddings.weight.dtype,
                ),
            )
        projection = self.get_output_embeddings()
        if projection is None:
            return
        if not isinstance(projection, _OutputProjection):
            kind = _OutputProjection if size is None else functools.partial(FactorizedLinear, embedding_size=size)
            self._replace(
                projection,
                kind(
                    projection.in_features,
                    projection.out_features,
                    bias=projection.bias is not None,
                    device=projection.weight.device,
                    dtype=projection.weight.dtype,
                ),
            )
        ties = {k: v for k, v in self._tied_weights_keys.items() if not k.endswith(".bias")}
        for head in self.modules():
            if type(head) in _HEADS_WITH_TWO_BIASES:
                del head._parameters["bias"]
                # Untied, stock checkpoints hold it as well, without a use.
                self._keys_to_ignore_on_load_unexpected = [r"(lm_head|predictions)\.bias$"]
                head.__class__ = _HEADS_WITH_TWO_BIASES[type(head)]
        if size is not None:
            # The coordinates are tied by the stock keys, under the stock names; the primitives come with them.
            ties |= {
                output_key.replace(".weight", ".primitives.weight"): input_key.replace(".weight", ".primitives.weight")
                for output_key, input_key in ties.items()
            }
        self._tied_weights_keys = ties

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        # Stock code may hand a bias on to the head, which has none of its own.
        self._replace(self.get_output_embeddings(), new_embeddings)

    def _replace(self, old: nn.Module, new: nn.Module) -> None:
        if old is new:
            return
        parent, name = next((m, n) for m in self.modules() for n, child in m.named_children() if child is old)
        setattr(parent, name, new)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        # Stock code may initialise a child from its parent (ModernBERT does), hence the children as well.
        for child in (module, *module.children()):
            if not isinstance(child, _Factorized):
                continue
            # F P then has the standard deviation that the stock class gives to E: D' products of two factors whose
            # standard deviations multiply to it, and the scale in P, as after an SVD.
            init.normal_(child.weight, mean=0.0, std=child.embedding_size**-0.5)
            init.normal_(child.primitives.weight, mean=0.0, std=self.config.initializer_range)
            padding_idx = getattr(child, "padding_idx", None)
            if padding_idx is not None and not getattr(child.weight, "_is_hf_initialized", False):
                init.zeros_(child.weight[padding_idx])

    def _get_resized_embeddings(
        self,
        old_embeddings: nn.Embedding,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
    ) -> nn.Embedding:
        old_num_tokens = old_embeddings.weight.shape[0]
        embeddings = super()._get_resized_embeddings(old_embeddings, new_num_tokens, pad_to_multiple_of, mean_resizing)
        if not mean_resizing:
            self._reinit_added_rows(embeddings, old_num_tokens)
        return embeddings

    def _get_resized_lm_head(
        self,
        old_lm_head: nn.Linear,
        new_num_tokens: int | None = None,
        transposed: bool = False,
        mean_resizing: bool = True,
    ) -> nn.Linear:
        old_num_tokens = old_lm_head.weight.shape[0]
        resized = super()._get_resized_lm_head(old_lm_head, new_num_tokens, transposed, mean_resizing)
        if resized is old_lm_head or not isinstance(old_lm_head, _OutputProjection):
            return resized
        # Stock code builds a plain nn.Linear; keep our module, with its primitives, and take over the new rows.
        old_lm_head.weight = resized.weight
        old_lm_head.bias = resized.bias
        old_lm_head.out_features = resized.out_features
        old_lm_head._is_hf_initialized = True
        if not mean_resizing:
            self._reinit_added_rows(old_lm_head, old_num_tokens)
        return old_lm_head

    @torch.no_grad()
    def _reinit_added_rows(self, module: nn.Module, old_num_tokens: int) -> None:
        """Scale the rows that stock code drew for a dense matrix so that their products with P have its deviation."""
        if isinstance(module, _Factorized) and module.weight.shape[0] > old_num_tokens:
            scale = module.primitives.weight.float().square().sum(dim=1).mean().sqrt().clamp_min(1e-12)
            module.weight.data[old_num_tokens:] /= scale.to(module.weight.dtype)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As `PreTrainedModel.from_pretrained`; also reads the checkpoints that the authors of OFA published.

        Those carry `num_primitive` in their configuration, and the factors under names of their own. They are renamed
        at load, and saving writes our layout. Stock checkpoints of the same family load unfactorized, and of a head's
        two tied biases the projection's is kept.
        """
        own_mapping = dict(AUTHORS_KEY_MAPPING)
        if cls._is_tied(pretrained_model_name_or_path, kwargs):
            own_mapping |= _BIAS_KEY_MAPPING
        key_mapping = {**own_mapping, **(kwargs.pop("key_mapping", None) or {})}
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs, key_mapping=key_mapping)
        # `save_pretrained` would undo the renamings, and a resumed run then miss its embeddings.
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        others = [c for c in model._weight_conversions or () if c.source_patterns[0] not in own_mapping]
        model._weight_conversions = others or None
        return loaded

    @classmethod
    def _is_tied(cls, pretrained_model_name_or_path: Any, kwargs: dict[str, Any]) -> bool:
        """Whether a checkpoint says that its embeddings, and with them the biases of a stock head, are tied."""
        config = kwargs.get("config")
        if isinstance(config, PreTrainedConfig):
            return config.tie_word_embeddings
        if pretrained_model_name_or_path is None:
            return True
        names = ("revision", "token", "cache_dir", "subfolder", "local_files_only", "force_download", "proxies")
        access = {name: kwargs[name] for name in names if name in kwargs}
        config_dict, _ = cls.config_class.get_config_dict(config or pretrained_model_name_or_path, **access)
        return config_dict.get("tie_word_embeddings", cls.config_class().tie_word_embeddings)

    def save_pretrained(self, save_directory: Any, is_main_process: bool = True, **kwargs: Any) -> None:
        """As `PreTrainedModel.save_pretrained`; the code goes along, with an `auto_map` of all heads of the family.

        `AutoModelFor*.from_pretrained(save_directory, trust_remote_code=True)` then works where this package is not
        installed. Stock code does this through `_auto_class`, for one head, and copies the wrong file under FSDP2.
        """
        names = (
            "repo_id",
            "commit_message",
            "commit_description",
            "private",
            "token",
            "revision",
            "create_pr",
            "tags",
        )
        upload = (
            {name: kwargs.pop(name) for name in names if name in kwargs} if kwargs.pop("push_to_hub", False) else None
        )
        adapters_only = getattr(self, "_hf_peft_config_loaded", False)
        if not adapters_only:
            self.config.auto_map = self.family.auto_map()
        super().save_pretrained(save_directory, is_main_process=is_main_process, **kwargs)
        if is_main_process and not adapters_only:
            for cls in (OfaPreTrainedMixin, self.family.config_class):
                code = Path(sys.modules[cls.__module__].__file__)
                shutil.copyfile(code, Path(save_directory) / code.name)
        if is_main_process and upload is not None:
            # Stock code would upload before the code is there.
            self.push_to_hub(upload.pop("repo_id", Path(save_directory).name), **upload)

    def push_to_hub(self, repo_id: str, *, tags: list[str] | None = None, **kwargs: Any) -> str:
        """As `PreTrainedModel.push_to_hub`; the card that the repository has is kept, and gets the tag `ofa`."""
        return super().push_to_hub(repo_id, tags=list(dict.fromkeys([*(tags or ()), "ofa"])), **kwargs)

    @torch.no_grad()
    def to_dense(self) -> PreTrainedModel:
        """The plain Transformers model with E = F P multiplied out: the same outputs, loadable without this package.

        Returns:
            [`~transformers.PreTrainedModel`]: a new model of the stock class, on this model's device and in its dtype,
            sharing no memory with it.
        """
        own_fields = {"model_type", "auto_map", "architectures", "embedding_size", "transformers_version"}
        dense_config_class = self.dense_class.config_class
        if not hasattr(dense_config_class(), "sparse_prediction"):
            own_fields.add("sparse_prediction")
        config = dense_config_class(**{k: v for k, v in self.config.to_dict().items() if k not in own_fields})

        state_dict = {}
        for name, module in self.named_modules(remove_duplicate=False):
            if isinstance(module, _Factorized):
                state_dict[f"{name}.weight"] = module.to_dense()
        for name, tensor in self.state_dict().items():
            if name not in state_dict and ".primitives." not in name:
                state_dict[name] = tensor.clone()
        for target, bias in (self.dense_class._tied_weights_keys or {}).items():
            if target.endswith(".bias"):
                state_dict[bias] = state_dict[target].clone()
        state_dict = swap_prefix(state_dict, self.base_model_prefix, self.dense_class.base_model_prefix)
        dense = self.dense_class.from_pretrained(None, config=config, state_dict=state_dict, dtype=self.dtype)
        if self.can_generate():
            dense.generation_config = type(self.generation_config).from_dict(self.generation_config.to_dict())
        return dense.to(self.device).train(self.training)


def _with_sparse_prediction(stock_forward: Callable, is_causal: bool) -> Callable:
    """`stock_forward` of a language model, with the blocked loss where `config.sparse_prediction` asks for it.

    Either way a masked-LM loss is divided by `num_items_in_batch` where `Trainer` passes it.
    """

    @functools.wraps(stock_forward)
    def forward(self: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        labels = kwargs.get("labels")
        if labels is None or (is_causal and not self.config.sparse_prediction):
            return stock_forward(self, *args, **kwargs)
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
        if not self.config.sparse_prediction:
            output = stock_forward(self, *args, **kwargs)
            if num_items_in_batch is not None:
                # Stock masked-LM heads take what Trainer counts and forget it: accumulated gradients grow by the steps.
                scale = (labels != IGNORE_INDEX).sum() / num_items_in_batch
                if isinstance(output, tuple):
                    return output[0] * scale.to(output[0].device), *output[1:]
                output.loss = output.loss * scale.to(output.loss.device)
            return output
        del kwargs["labels"]
        shift_labels = kwargs.pop("shift_labels", None)
        return_dict = kwargs.pop("return_dict", None)
        if is_causal:
            kwargs["use_cache"] = False

        projection = self.get_output_embeddings()

        def loss_of(hidden: torch.Tensor) -> torch.Tensor:
            targets = labels
            if is_causal:
                # As `ForCausalLMLoss`: position t predicts the label of t + 1.
                targets = F.pad(labels, (0, 1), value=IGNORE_INDEX)[..., 1:] if shift_labels is None else shift_labels
            targets = targets.to(hidden.device).reshape(-1)
            labelled = targets != IGNORE_INDEX
            return blocked_cross_entropy(
                projection.before_vocabulary(hidden.reshape(-1, hidden.shape[-1])[labelled]),
                projection.weight,
                targets[labelled],
                bias=projection.bias,
                num_items_in_batch=num_items_in_batch,
            )

        projection.instead = loss_of
        try:
            output = stock_forward(self, *args, **kwargs, return_dict=True)
        finally:
            projection.instead = None
        loss = output.logits
        # A new output: there is no other way to take `logits` out of the keys and have `loss` first in tuples.
        output = type(output)(loss=loss, **{key: value for key, value in output.items() if key != "logits"})
        wants_dict = self.config.return_dict if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()

    return forward


@dataclass(frozen=True)
class Family:
    """A row of the table: a stock family of models that can be factorized."""

    prefix: str  # of the Ofa class names: Ofa<prefix><head>
    stock_prefix: str  # of the stock class names: <stock prefix><head>
    config_class: type
    module: ModuleType
    heads: tuple[str, ...]  # the first is the base model
    aliases: tuple[str, ...] = ()  # stock prefixes of families with the same modules under the same names

    @property
    def classes(self) -> dict[str, type[PreTrainedModel]]:
        """Stock class name -> Ofa class, for all stock names that lead to this family."""
        return {
            stock_prefix + head: globals()[f"Ofa{self.prefix}{head}"]
            for stock_prefix in (self.stock_prefix, *self.aliases)
            for head in self.heads
        }

    @property
    def auto_classes(self) -> dict[str, type[PreTrainedModel]]:
        """Name of an Auto class -> the Ofa class that it gives, as the stock family is mapped."""
        stock_config_class = self.config_class.__mro__[2]
        pairs = {}
        for name in modeling_auto.__all__:
            mapping = getattr(getattr(modeling_auto, name), "_model_mapping", None)
            stock_class = mapping.get(stock_config_class, None) if mapping is not None else None
            if (stock_class := getattr(stock_class, "__name__", None)) in self.classes:
                pairs[name] = self.classes[stock_class]
        return pairs

    def auto_map(self) -> dict[str, str]:
        """The `auto_map` of a configuration whose code lies beside it: Auto class -> file and class."""
        named = {"AutoConfig": self.config_class, **self.auto_classes}
        return {name: f"{cls.__module__.rsplit('.', 1)[-1]}.{cls.__name__}" for name, cls in named.items()}


_ENCODER_HEADS = (
    "Model",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
)
_DECODER_HEADS = (
    "Model",
    "ForCausalLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
)

FAMILIES: tuple[Family, ...] = (
    Family("", "XLMRoberta", OfaConfig, modeling_xlm_roberta, (*_ENCODER_HEADS, "ForCausalLM"), aliases=("Roberta",)),
    Family(
        "Bert",
        "Bert",
        OfaBertConfig,
        modeling_bert,
        (*_ENCODER_HEADS, "LMHeadModel", "ForPreTraining", "ForNextSentencePrediction"),
    ),
    Family("ModernBert", "ModernBert", OfaModernBertConfig, modeling_modernbert, _ENCODER_HEADS),
    Family(
        "GPT2",
        "GPT2",
        OfaGPT2Config,
        modeling_gpt2,
        ("Model", "LMHeadModel", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"),
    ),
    Family("Llama", "Llama", OfaLlamaConfig, modeling_llama, _DECODER_HEADS),
    Family("Mistral", "Mistral", OfaMistralConfig, modeling_mistral, _DECODER_HEADS),
    Family("Qwen3", "Qwen3", OfaQwen3Config, modeling_qwen3, _DECODER_HEADS),
)


# Heads with a language-modelling loss -> whether it is causal.
_LANGUAGE_MODELLING_HEADS = {"ForMaskedLM": False, "ForCausalLM": True, "LMHeadModel": True}


def _make_class(family: Family, head: str) -> type[PreTrainedModel]:
    stock_class = getattr(family.module, family.stock_prefix + head)
    name = f"Ofa{family.prefix}{head}"
    namespace = {
        "__module__": __name__,
        "__qualname__": name,
        "__doc__": f"[`{stock_class.__name__}`] with factorized token embeddings; see [`{family.config_class.__name__}`].",
        "config_class": family.config_class,
        # Some stock heads have a prefix of their own, and then lose the body of a language model when they load it.
        "base_model_prefix": getattr(family.module, f"{family.stock_prefix}PreTrainedModel").base_model_prefix,
        "family": family,
        "dense_class": stock_class,
    }
    if head in _LANGUAGE_MODELLING_HEADS:
        namespace["forward"] = _with_sparse_prediction(stock_class.forward, _LANGUAGE_MODELLING_HEADS[head])
    else:
        # Stock losses of these heads ignore `num_items_in_batch`; Trainer then divides by the accumulation steps itself.
        namespace["accepts_loss_kwargs"] = False
    return type(name, (OfaPreTrainedMixin, stock_class), namespace)


__all__ = ["FAMILIES", "FactorizedEmbedding", "FactorizedLinear", "blocked_cross_entropy"]

for _family in FAMILIES:
    for _head in _family.heads:
        _class = _make_class(_family, _head)
        _class.base_class = globals()[f"Ofa{_family.prefix}Model"] if _head != "Model" else _class
        globals()[_class.__name__] = _class
        __all__.append(_class.__name__)
