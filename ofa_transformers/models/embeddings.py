"""Taking the embeddings out of a model and putting others in."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from .checkpoints import factorized_class, input_embeddings
from .configuration_ofa import OFA_FIELDS
from .modeling_ofa import swap_prefix


@dataclass(frozen=True)
class ModelEmbeddings:
    """What depends on the vocabulary in a model.

    Attributes:
        input: (V, D), the input embeddings.
        output: (V, D), the output embeddings, None where there are none or they are tied to the input's.
        bias: (V,), the head's bias, or None.
        tied: whether there are output embeddings, tied to the input's.
    """

    input: torch.Tensor
    output: torch.Tensor | None
    bias: torch.Tensor | None
    tied: bool

    @property
    def rows(self) -> int:
        return self.input.shape[0]

    @property
    def hidden_size(self) -> int:
        return self.input.shape[1]

    def matrices(self) -> Iterator[tuple[str, torch.Tensor]]:
        """("input", (V, D) float32) and, untied, ("output", ...)."""
        yield "input", self.input.float()
        if self.output is not None:
            yield "output", self.output.float()


def find_embeddings(model: PreTrainedModel) -> ModelEmbeddings:
    """Input and output embeddings and the head's bias of a dense model.

    Raises:
        ValueError: a model whose embeddings Transformers doesn't expose as a matrix.
    """
    module = input_embeddings(model)
    if not isinstance(module, nn.Embedding) or module.weight.ndim != 2:
        raise ValueError(
            f"source: the token embeddings of {type(model).__name__} were not found: get_input_embeddings() gives "
            f"{type(module).__name__}, not an nn.Embedding. Use a text model that looks its tokens up in one table."
        )
    projection = model.get_output_embeddings()
    weight = getattr(projection, "weight", None)
    if weight is None or weight.shape != module.weight.shape:
        return ModelEmbeddings(module.weight.detach(), None, None, tied=False)
    tied = weight is module.weight or weight.data_ptr() == module.weight.data_ptr()
    bias = getattr(projection, "bias", None)
    return ModelEmbeddings(
        module.weight.detach(),
        None if tied else weight.detach(),
        None if bias is None else bias.detach(),
        tied=tied,
    )


def with_new_embeddings(
    model: PreTrainedModel, embeddings: ModelEmbeddings, rows: dict[str, torch.Tensor], bias: torch.Tensor | None
) -> PreTrainedModel:
    """The model itself at full size, with other rows and as many of them."""
    dtype = embeddings.input.dtype
    # Resizing draws rows, which are all replaced below; the draws shall not disturb the caller's random state.
    with torch.random.fork_rng(devices=[]):
        model.resize_token_embeddings(len(rows["input"]), mean_resizing=False)
    _resize_tied_biases(model)
    model.get_input_embeddings().weight.data = rows["input"].to(dtype)
    projection = model.get_output_embeddings()
    if "output" in rows:
        model.config.tie_word_embeddings = model.config.get_text_config().tie_word_embeddings = False
        projection.weight.data = rows["output"].to(dtype)
    if bias is not None:
        projection.bias.data = bias.to(dtype)
    if embeddings.tied:
        model.tie_weights()
    return model


def _resize_tied_biases(model: PreTrainedModel) -> None:
    """Gives a head's own bias the size of the projection's, to which it is tied.

    Resizing in Transformers forgets it where nothing is tied, and the checkpoint then fails to load.
    """
    for target, source in (model._tied_weights_keys or {}).items():
        if target.endswith(".bias") and model.get_parameter(source).shape != model.get_parameter(target).shape:
            parent, name = source.rsplit(".", 1)
            setattr(model.get_submodule(parent), name, nn.Parameter(model.get_parameter(target).detach().clone()))


def factorized_model(
    model: PreTrainedModel,
    embeddings: ModelEmbeddings,
    rows: dict[str, torch.Tensor],
    primitives: dict[str, torch.Tensor],
    bias: torch.Tensor | None,
    embedding_size: int,
) -> PreTrainedModel:
    """The Ofa model with the body of `model` and its embeddings as coordinates and primitives."""
    target_class = factorized_class(type(model))
    input_name = _name_of(model, model.get_input_embeddings())
    projection = model.get_output_embeddings()
    aliases = type(model)._tied_weights_keys or {}

    state_dict = dict(model.state_dict())
    for name in (input_name, *([_name_of(model, projection)] if projection is not None else [])):
        for key in (f"{name}.weight", f"{name}.bias"):
            state_dict.pop(key, None)
            state_dict.pop(aliases.get(key, ""), None)
    parts = {"input": input_name}
    if "output" in rows:
        parts["output"] = _name_of(model, projection)
    for part, name in parts.items():
        state_dict[f"{name}.weight"] = rows[part].to(model.dtype)
        state_dict[f"{name}.primitives.weight"] = primitives[part].t().contiguous().to(model.dtype)
    if bias is not None:
        state_dict[f"{_name_of(model, projection)}.bias"] = bias.to(model.dtype)
    state_dict = swap_prefix(state_dict, model.base_model_prefix, target_class.base_model_prefix)

    left_out = {"model_type", "architectures", "auto_map", "transformers_version", "vocab_size", *OFA_FIELDS}
    fields = {key: value for key, value in model.config.to_dict().items() if key not in left_out}
    if projection is not None:
        fields["tie_word_embeddings"] = embeddings.tied
    config = target_class.config_class(**fields, vocab_size=len(rows["input"]), embedding_size=embedding_size)
    config._name_or_path = str(getattr(model.config, "_name_or_path", ""))
    result, loaded = target_class.from_pretrained(
        None, config=config, state_dict=state_dict, dtype=model.dtype, output_loading_info=True
    )
    problems = {name: keys for name, keys in loaded.items() if keys}
    if problems:
        raise RuntimeError(f"The weights of {type(model).__name__} do not fit {target_class.__name__}: {problems}")
    if result.can_generate() and model.can_generate():
        result.generation_config = copy.deepcopy(model.generation_config)
    return result.to(model.device).train(model.training)


def _name_of(model: nn.Module, wanted: nn.Module) -> str:
    return next(name for name, module in model.named_modules(remove_duplicate=False) if module is wanted)
