"""Factorized embeddings in a model of any architecture: its modules are swapped in place, and it is saved as a pair.

The pair is a dense checkpoint, E = F P multiplied out, that everything reads, and a small file with the factors, which lies
beside it or names it. The families of `families_ofa.py` need none of this: they have classes of their own.
"""

import copy
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import cached_file

from ..utils.files import new_file
from ..utils.reading import in_one_line, reading
from .checkpoints import load_config, model_class
from .embeddings import ModelEmbeddings, find_embeddings, tables_beside
from .factorization import decompose, project
from .forward import accepted
from .mixin_ofa import FactorizedResizing, OfaPreTrainedMixin
from .modules_ofa import Factorized, FactorizedEmbedding, FactorizedLinear, factorized_like


FACTORS = "factors.safetensors"
_FORMAT = "ofa-transformers factors 1"
_PARTS = ("input", "output")
# Of what is looked up and compared once the modules are swapped: sequences, tokens.
_TRIED = (2, 6)
# Of the largest value: with the same product, only the order of sums differs.
_LIMITS = {torch.float32: 1e-3, torch.float64: 1e-3}
_HALF_LIMIT = 5e-2


class AnyFactorized(FactorizedResizing):
    """What a model gets from [`factorize_model`]; its class is the stock one with this before it."""

    dense_class: type[PreTrainedModel]

    def save_pretrained(
        self, save_directory: str | os.PathLike, *args: Any, base: str | os.PathLike | None = None, **kwargs: Any
    ) -> None:
        """Saves the pair: the dense model as its stock class saves it, and `factors.safetensors` beside it.

        Args:
            save_directory: the folder.
            base: a dense checkpoint, by its folder or its name on the Hub, that has the model's other weights as they
                are now: then the factors are saved alone, and name it.
            *args, **kwargs: as of the stock class.

        Raises:
            ValueError: `push_to_hub=True`, which would upload one half.
            RuntimeError: the modules of the embeddings are no longer those of `factorize_model`, or are sharded.
        """
        if kwargs.pop("push_to_hub", False):
            raise ValueError("push_to_hub=True uploads the dense model alone; call model.push_to_hub(repo_id).")
        factors = _factors_of(self)
        if base is None:
            # Of weights that are given, those of factors are not those of a dense model.
            kwargs.pop("state_dict", None)
            with _as_dense(self):
                self.save_pretrained(save_directory, *args, **kwargs)
        if not kwargs.get("is_main_process", not args or args[0]):
            return
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        about = {"base": None if base is None else str(base), "class": self.dense_class.__name__}
        with new_file(folder / FACTORS) as file:
            save_file(factors, file, metadata={"format": _FORMAT, "about": json.dumps(about)})

    def to_dense(self) -> PreTrainedModel:
        """A model of the stock class with E = F P multiplied out, that shares no memory with this one."""
        with _as_dense(self):
            return copy.deepcopy(self)


def factorize_model(model: PreTrainedModel, size: int) -> PreTrainedModel:
    """Factorizes the embeddings of a model of any architecture, in place: E ≈ F P, the best approximation of this rank.

    Its table of tokens is replaced by a [`FactorizedEmbedding`], and a linear projection onto the vocabulary by a
    [`FactorizedLinear`]: with the same factors where the two are tied, else with its own. Primitives P have orthonormal
    rows, so that coordinates F have the scale of embeddings. Afterwards the model is run on a few tokens, beside itself
    with the product F P in the same places.

    The model trains, generates and resizes as before. `save_pretrained` then writes a pair, a dense checkpoint and
    `factors.safetensors`; [`load_factorized`] reads it; `to_dense()` multiplies out. For the families of
    [the table](models.md) take their Ofa classes: their checkpoints are as small as they are, and have the blocked loss.

    Args:
        model: with one table of input embeddings and, tied or not, one linear output, or none.
        size: D', from 1 to the width D of the embeddings.

    Returns:
        The model itself.

    Raises:
        ValueError: says what is in the way: the model is factorized, or has adapters; its embeddings are no table, or
            several; its output is no linear projection; its weights are quantized, or not there (on the meta device,
            scattered); its forward pass does more with its tables than to call them. The model is then as before.
        TypeError: `size` is no integer, or `model` no model of Transformers.

    Example:

    ```python
    >>> from transformers import FalconConfig, FalconForCausalLM
    >>> from ofa_transformers import factorize_model, load_factorized

    >>> model = FalconForCausalLM(FalconConfig(vocab_size=300, hidden_size=32, num_hidden_layers=1, num_attention_heads=4))
    >>> factorize_model(model, 8).get_input_embeddings().weight.shape
    torch.Size([300, 8])
    >>> model.save_pretrained("falcon-8")
    >>> load_factorized("falcon-8").get_output_embeddings()
    FactorizedLinear(in_features=32, out_features=300, bias=False, embedding_size=8)

    ```
    """
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"model must be a model of Transformers, but is of {type(model).__name__}.")
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"size must be an integer, but is {size!r}.")
    embeddings = _embeddings_of(model)
    width = embeddings.hidden_size
    if not 1 <= size <= width:
        raise ValueError(f"size must lie between 1 and the width of the embeddings, {width}, but is {size}.")
    factors = {}
    for part, matrix in embeddings.matrices():
        made = project(matrix, size, decompose(matrix))
        factors[f"{part}.coordinates"], factors[f"{part}.primitives"] = made
    return _swap(model, embeddings, factors, size)


def load_factorized(source: str | os.PathLike, **kwargs: Any) -> PreTrainedModel:
    """Loads a pair that a model of [`factorize_model`] saved.

    Args:
        source: the folder of the factors, or its name on the Hub.
        **kwargs: as of `from_pretrained`, for both parts.

    Raises:
        OSError: there are no factors, or no checkpoint that they belong to.
        ValueError: either is damaged, or they don't belong together.
    """
    access = {name: kwargs[name] for name in ("revision", "token", "cache_dir", "local_files_only") if name in kwargs}
    path = cached_file(source, FACTORS, **access)
    with reading(f"{FACTORS} of {str(source)!r} is damaged, or something else; save or fetch it again"):
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            factors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != _FORMAT:
            raise ValueError(f"its format is {metadata.get('format')!r:.60}")
        about = json.loads(metadata["about"])
        size = factors["input.coordinates"].shape[1]
        if any(len(factors[f"{part}.primitives"]) != size for part in _PARTS if f"{part}.coordinates" in factors):
            raise ValueError("its factors are of several sizes")
    base = about["base"] or source
    options = {"trust_remote_code": False, **kwargs}
    base_class = model_class(base, load_config(base, options, "base"), options)
    model = base_class.from_pretrained(base, **options)
    embeddings = _embeddings_of(model)
    for part, matrix in embeddings.matrices():
        found = [factors.get(f"{part}.{name}") for name in ("coordinates", "primitives")]
        shapes = [(embeddings.rows, size), (size, matrix.shape[1])]
        if any(tensor is None or tensor.shape != shape for tensor, shape in zip(found, shapes)):
            said = [None if tensor is None else tuple(tensor.shape) for tensor in found]
            raise ValueError(
                f"source: {str(source)!r} has factors of shapes {said} for the {part} embeddings of {str(base)!r}, which "
                f"need {shapes}. Name the checkpoint that they were made of, or save the pair again."
            )
    return _swap(model, embeddings, factors, size)


def _embeddings_of(model: PreTrainedModel) -> ModelEmbeddings:
    """What is to be factorized; raises ValueError where something is in the way."""
    name = type(model).__name__
    if isinstance(model, (OfaPreTrainedMixin, AnyFactorized)):
        raise ValueError(f"model: {name} is factorized already; multiply it out first, by model.to_dense().")
    if getattr(model, "peft_config", None):
        raise ValueError(
            "model: it has adapters; merge them first, and factorize what they have made of the embeddings."
        )
    try:
        embeddings = find_embeddings(model)
    except ValueError as error:
        raise ValueError(f"model: {str(error).removeprefix('source: ')}") from error
    module, projection = model.get_input_embeddings(), model.get_output_embeddings()
    table = embeddings.input
    if not isinstance(module, nn.Embedding):
        raise ValueError(f"model: {name} looks its tokens up in {type(module).__name__}, which is no nn.Embedding.")
    if table.is_meta or not table.numel() or not table.is_floating_point():
        raise ValueError(
            f"model: the embeddings of {name}, {table.dtype} of shape {tuple(table.shape)} on {table.device}, have no "
            "numbers that can be factorized here. Load the model whole, in float32 or half precision."
        )
    if tables := tables_beside(embeddings):
        raise ValueError(
            f"model: {name} has {', '.join(tables)} beside its token embeddings, with a row for each token, which aren't "
            "tied to them. factorize_model takes one table and one linear output."
        )
    if projection is not None and (
        not isinstance(projection, nn.Linear) or projection.weight.shape != (embeddings.rows, embeddings.hidden_size)
    ):
        raise ValueError(
            f"model: the output embeddings of {name} are {_in_words(projection)}, but have to be an nn.Linear of shape "
            f"{(embeddings.rows, embeddings.hidden_size)}, from hidden states to tokens."
        )
    return embeddings


def _in_words(module: nn.Module) -> str:
    weight = getattr(module, "weight", None)
    return type(module).__name__ + ("" if weight is None else f" with a weight of shape {tuple(weight.shape)}")


def _swap(
    model: PreTrainedModel, embeddings: ModelEmbeddings, factors: dict[str, torch.Tensor], size: int
) -> PreTrainedModel:
    """Puts factorized modules in the places of stock ones; takes them out again where the model can't work with them."""
    table, projection = model.get_input_embeddings().weight, model.get_output_embeddings()
    stock: dict[str, nn.Module] = {}
    own: dict[str, nn.Module] = {}
    first: dict[str, Factorized] = {}
    made: dict[int, Factorized] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if module is not projection and not (isinstance(module, nn.Embedding) and module.weight is table):
            continue
        part = "output" if module is projection and not embeddings.tied else "input"
        if id(module) not in made:
            with torch.device("meta"):
                made[id(module)] = new = factorized_like(module, size)
            if part in first:
                new.weight, new.primitives.weight = first[part].weight, first[part].primitives.weight
            else:
                coordinates, primitives = (
                    factors[f"{part}.{kind}"].to(table) for kind in ("coordinates", "primitives")
                )
                new.weight = nn.Parameter(coordinates, requires_grad=module.weight.requires_grad)
                new.primitives.weight = nn.Parameter(
                    primitives.T.contiguous(), requires_grad=module.weight.requires_grad
                )
                first[part] = new
            if isinstance(module, nn.Linear):
                new.bias = module.bias
            new.train(module.training)
            new._is_hf_initialized = True
        stock[name], own[name] = module, made[id(module)]
    former = {name: module.weight for name, module in stock.items()}
    ties, former_class = dict(model.all_tied_weights_keys), type(model)
    weights = {f"{name}.weight": f"{name}.primitives.weight" for name in own}
    model.all_tied_weights_keys |= {
        weights[one]: weights[other] for one, other in ties.items() if one in weights and other in weights
    }
    namespace = {"__module__": former_class.__module__, "dense_class": former_class}
    model.__class__ = type(former_class.__name__, (AnyFactorized, former_class), namespace)
    # In a dictionary they are no modules of the model's.
    model._stock_modules = stock
    _put(model, own)
    try:
        _try_out(model)
    except Exception as error:
        for name, module in stock.items():
            module.weight = former[name]
        _put(model, stock)
        model.all_tied_weights_keys, model.__class__ = ties, former_class
        del model._stock_modules
        raise ValueError(
            f"model: {former_class.__name__} does more with its tables of tokens than to call them, so that factors can't "
            f"take their place ({in_one_line(error)}). Adapt it at full size."
        ) from error
    _forget_weights(stock)
    return model


def _forget_weights(modules: dict[str, nn.Module]) -> None:
    for module in modules.values():
        module.weight = nn.Parameter(torch.empty_like(module.weight, device="meta"), requires_grad=False)


def _put(model: nn.Module, modules: dict[str, nn.Module]) -> None:
    for name, module in modules.items():
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, module)


def _factors_of(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The tensors of the file of factors."""
    parts = {"input": model.get_input_embeddings(), "output": model.get_output_embeddings()}
    kinds = {"input": FactorizedEmbedding, "output": FactorizedLinear}
    found = {}
    for part, module in parts.items():
        if part == "output" and (module is None or getattr(module, "weight", None) is parts["input"].weight):
            continue
        if not isinstance(module, kinds[part]) or module.weight.ndim != 2 or module.weight.is_meta:
            raise RuntimeError(
                f"save_pretrained: {type(module).__name__} stands in the place of the {part} embeddings that "
                "factorize_model made. Unload adapters, or merge them into the rest of the model; gather sharded weights."
            )
        found[f"{part}.coordinates"] = module.weight.detach().contiguous().cpu()
        found[f"{part}.primitives"] = module.primitives.weight.detach().T.contiguous().cpu()
    return found


@contextmanager
def _as_dense(model: PreTrainedModel) -> Iterator[None]:
    """The model with E = F P multiplied out, of its stock class; as it was afterwards."""
    stock, factorized_class, ties = model._stock_modules, type(model), model.all_tied_weights_keys
    own = {name: model.get_submodule(name) for name in stock}
    products: dict[int, nn.Parameter] = {}
    for name, module in own.items():
        if (key := id(module.weight)) not in products:
            products[key] = nn.Parameter(module.to_dense(), requires_grad=module.weight.requires_grad)
        dense = stock[name]
        dense.weight = products[key]
        for buffer_name, buffer in dense.named_buffers():
            setattr(dense, buffer_name, buffer.to(module.weight.device))
        rows = module.weight.shape[0]
        if isinstance(dense, nn.Linear):
            dense.bias, dense.out_features = module.bias, rows
        else:
            dense.num_embeddings = rows
    try:
        _put(model, stock)
        model.__class__ = factorized_class.dense_class
        model.all_tied_weights_keys = {a: b for a, b in ties.items() if ".primitives." not in a}
        del model._stock_modules
        yield
    finally:
        _put(model, own)
        model.__class__, model.all_tied_weights_keys, model._stock_modules = factorized_class, ties, stock
        _forget_weights(stock)


@torch.no_grad()
def _try_out(model: PreTrainedModel) -> None:
    """Raises where the factorized model doesn't run, or doesn't give what it gives with the product in the same places.

    A model that can't be run on text alone isn't tried.
    """
    rows = model.get_input_embeddings().num_embeddings
    ids = torch.arange(_TRIED[0] * _TRIED[1], device=model.device).mul(7).remainder(rows).reshape(_TRIED)
    training = model.training
    model.eval()
    try:
        with _as_dense(model):
            try:
                expected = _run(model, ids)
            except Exception:
                return
        found = _run(model, ids)
    finally:
        model.train(training)
    limit = _LIMITS.get(model.dtype, _HALF_LIMIT)
    gap = max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-12)) for a, b in zip(found, expected))
    if not gap <= limit:
        raise RuntimeError(f"with factors it gives other outputs than with their product, by {gap:.2g} of the largest")


def _run(model: PreTrainedModel, ids: torch.Tensor) -> list[torch.Tensor]:
    """The floating outputs of a model for ids (B, L)."""
    inputs = {"input_ids": ids, **accepted(model, use_cache=False)}
    if model.config.is_encoder_decoder:
        inputs |= accepted(model, decoder_input_ids=ids)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # some draw, Reformer its hashes
        outputs = model(**inputs)
    found = [value.float() for value in outputs.values() if torch.is_tensor(value) and value.is_floating_point()]
    if not found or not all(torch.isfinite(value).all() for value in found):
        raise RuntimeError("no finite outputs")
    return found
