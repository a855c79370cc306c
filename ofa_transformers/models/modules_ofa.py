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
"""The factorized modules: an embedding table E ≈ F P kept as its factors, and the projection onto it (OFA, section 3.1).

`settle` looks at what stands in a module's place after adapters of PEFT have been put in, and refuses what would compute
something else than the model says. The file travels to the Hub as remote code, and imports only torch and `loss_ofa.py`.
"""

import types
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .loss_ofa import OutputProjection


def _check_embedding_size(embedding_size: int, hidden_size: int) -> None:
    if not 1 <= embedding_size <= hidden_size:
        raise ValueError(
            f"embedding_size must lie between 1 and the hidden size, {hidden_size}, but is {embedding_size}."
        )


class TablesOnMeta(TorchFunctionMode):
    """Inside, the weights of embeddings and projections of the vocabulary are made on the meta device, where they cost
    nothing: a stock constructor makes them, and factors take their place.

    Args:
        vocab_size (`int`): V.
        width (`int`): the size of the embeddings.
    """

    def __init__(self, vocab_size: int, width: int) -> None:
        self.shape = (vocab_size, width)

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty and args and args[0] == self.shape and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def materialize(model: nn.Module, shape: tuple[int, int]) -> None:
    """Gives memory to weights that happen to have the shape of a table, and that `TablesOnMeta` took for one."""
    device = torch.empty(0).device
    if device.type == "meta":
        return
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta and parameter.shape == shape:
                setattr(module, name, nn.Parameter(torch.empty(shape, dtype=parameter.dtype, device=device)))
                module.reset_parameters()
                module._is_hf_initialized = False


def factorized_like(module: nn.Embedding | nn.Linear, size: int | None) -> nn.Module:
    """What takes the place of a stock table or projection: factorized to `size`; None leaves a projection dense."""
    weight = module.weight
    place = {"device": torch.empty(0).device if weight.is_meta else weight.device, "dtype": weight.dtype}
    # Sizes from the modules: ZeRO-3 has already scattered their weights.
    if isinstance(module, nn.Linear):
        sizes, bias = (module.in_features, module.out_features), module.bias is not None
        return (
            OutputProjection(*sizes, bias=bias, **place)
            if size is None
            else FactorizedLinear(*sizes, size, bias, **place)
        )
    scale = getattr(module, "embed_scale", 1.0)
    if (rounded := getattr(module, "scalar_embed_scale", None)) is not None:
        scale = torch.tensor(rounded, device="cpu")
    sizes = (module.num_embeddings, module.embedding_dim, size)
    return FactorizedEmbedding(*sizes, module.padding_idx, embed_scale=scale, **place)


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


class Factorized:
    """What the two factorized modules share."""

    def to_dense(self) -> torch.Tensor:
        """The product F P as a new tensor (V, D), of the weights' dtype."""
        return F.linear(self.weight.detach(), self.primitives.weight.detach())

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, embedding_size={self.embedding_size}"


class FactorizedEmbedding(Factorized, nn.Embedding):
    """A lookup table E ≈ F P kept as its two factors (OFA, section 3.1): E[i] is `weight[i] @ primitives.weight.T`.

    Args:
        num_embeddings (`int`): V, the number of tokens.
        embedding_dim (`int`): D, the size of the returned vectors.
        embedding_size (`int`): D', the number of columns of F, 1 <= D' <= D.
        padding_idx (`int`, *optional*): as in `torch.nn.Embedding`.
        embed_scale (`float` or scalar tensor, defaults to 1): what the vectors are multiplied with, as in Gemma and mBART;
            a tensor is rounded to their dtype before, as Gemma does it.

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
        embed_scale: float | torch.Tensor = 1.0,
    ) -> None:
        _check_embedding_size(embedding_size, embedding_dim)
        super().__init__(num_embeddings, embedding_size, padding_idx=padding_idx, device=device, dtype=dtype)
        self.embedding_dim = embedding_dim
        self.embed_scale = embed_scale
        self.embedding_size = embedding_size
        self.primitives = Primitives(embedding_size, embedding_dim, device=device, dtype=dtype)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Token ids of any shape (...) to vectors (..., D)."""
        return self.with_coordinates(input, self.weight)

    def with_coordinates(self, input: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
        """`forward` with other coordinates (V, D') than its own."""
        options = (self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse)
        vectors = self.primitives(F.embedding(input, coordinates, *options))
        scale = self.embed_scale
        return (
            vectors * scale.to(vectors.dtype)
            if torch.is_tensor(scale)
            else vectors * scale
            if scale != 1.0
            else vectors
        )


class FactorizedLinear(Factorized, OutputProjection):
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

    def before_vocabulary(self, input: torch.Tensor) -> torch.Tensor:
        """What `weight` is multiplied with: `x @ P.T`, (..., D) to (..., D')."""
        return self.primitives(input, transposed=True)

    def with_coordinates(self, input: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
        """`forward` with other coordinates (V, D') than its own."""
        return F.linear(self.before_vocabulary(input), coordinates, self.bias)

    def tied_to(self, table: FactorizedEmbedding) -> "FactorizedLinear":
        """A projection like this one, its bias included, with the factors of `table`."""
        made = FactorizedLinear(
            table.embedding_dim, table.num_embeddings, table.embedding_size, bias=False, device="meta"
        )
        made.weight, made.primitives.weight, made.bias = table.weight, table.primitives.weight, self.bias
        return made.train(self.training)


def _forward_trainable_tokens(self: Any, x: torch.Tensor, active_adapters: Any, *args: Any, **kwargs: Any) -> Any:
    """`TrainableTokensLayer.forward_adapters` of PEFT for a factorized table: its own looks up E in the coordinates."""
    if self.disable_adapters or not active_adapters or self.merged:
        return type(self).forward_adapters(self, x, active_adapters, *args, **kwargs)
    self._check_overlapping_tokens(active_adapters)
    return self.base_layer.with_coordinates(x, self.get_merged_weights(active_adapters))


def settle(module: nn.Module, table: nn.Module, kind: type[Factorized]) -> nn.Module:
    """What is to stand where `module` was put in place of a factorized table or projection.

    PEFT's adapters take embeddings for dense matrices. Single tokens (`trainable_token_indices`) are taught to look up
    coordinates, and the copy to train (`modules_to_save`) of a tied projection gets its primitives. Other modules that
    aren't known to compute something else stay as they are: wrappers of sharding, for example.

    Args:
        module: what stands there.
        table: what stands in the place of the input embeddings.
        kind: what the model was made with there.

    Raises:
        ValueError: an adapter that adds to E, or a dense module.
    """
    if isinstance(module, kind):
        return module
    copies = getattr(module, "modules_to_save", None)
    if isinstance(copies, nn.ModuleDict):
        for name, copy in copies.items():
            # PEFT makes a plain projection of the table's weights where the two are tied.
            if isinstance(copy, kind):
                continue
            if kind is FactorizedEmbedding:
                raise ValueError(
                    "ensure_weight_tying: PEFT makes projections of an encoder's and a decoder's table, and loses the tie "
                    "when it loads the adapter. Train single tokens with trainable_token_indices, or the embeddings "
                    "without an adapter, by requires_grad."
                )
            copies[name] = module.original_module.tied_to(table.modules_to_save[name])
        return module
    tokens = getattr(module, "token_adapter", module)
    if hasattr(tokens, "trainable_tokens_delta") and isinstance(tokens.base_layer, Factorized):
        if "forward_adapters" not in tokens.__dict__:
            tokens.forward_adapters = types.MethodType(_forward_trainable_tokens, tokens)
        return module
    if isinstance(getattr(module, "base_layer", None), Factorized):
        raise ValueError(
            f"{type(module).__module__}.{type(module).__qualname__} can't adapt factorized embeddings: it adds to the "
            "product of the two factors, and would merge what it learned into one of them. Take the embeddings out of "
            "target_modules; train them whole with modules_to_save, or single tokens with trainable_token_indices."
        )
    if isinstance(module, nn.Linear) and isinstance(table, FactorizedEmbedding) and module.weight is table.weight:
        # Such a copy, merged.
        size = (table.embedding_dim, table.num_embeddings, table.embedding_size)
        return FactorizedLinear(*size, bias=False, device="meta").tied_to(table)
    if isinstance(module, (nn.Embedding, OutputProjection)) or type(module) is nn.Linear:
        raise ValueError(
            f"{type(module).__name__} with a weight of the shape {tuple(module.weight.shape)} was set as embeddings of a "
            "factorized model, which has coordinates and primitives. Set a FactorizedEmbedding or FactorizedLinear of "
            "the model's embedding_size, or multiply the factors out first: model.to_dense()."
        )
    return module
