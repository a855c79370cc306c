"""Taking the embeddings out of a model and putting others in."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from .modeling_ofa import FAMILIES, OfaForMaskedLM, OfaPreTrainedMixin, swap_prefix


logger = logging.get_logger(__name__)

# Architectures that the authors' checkpoints name, and what reads them.
_AUTHORS_CLASSES = {
    "XLMRobertaAssembledForMaskedLM": OfaForMaskedLM,
    "RobertaAssembledForMaskedLM": OfaForMaskedLM,
    "XLMRobertaForMaskedLMUpdated": transformers.XLMRobertaForMaskedLM,
    "RobertaForMaskedLMUpdated": transformers.RobertaForMaskedLM,
}
# How names of classes with a language-modelling head end, and what loads them.
_LANGUAGE_MODELS = {
    "ForMaskedLM": AutoModelForMaskedLM,
    "ForPreTraining": AutoModelForMaskedLM,
    "ForCausalLM": AutoModelForCausalLM,
    "LMHeadModel": AutoModelForCausalLM,
}


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


def load_config(source: str | os.PathLike, hub_kwargs: dict[str, Any]) -> PreTrainedConfig:
    """The configuration of a checkpoint; `hub_kwargs` may hold arguments of the model's loading, which are left out."""
    names = ("revision", "token", "cache_dir", "trust_remote_code", "local_files_only", "force_download", "subfolder")
    try:
        return AutoConfig.from_pretrained(source, **{k: v for k, v in hub_kwargs.items() if k in names})
    except (KeyError, TypeError) as error:
        raise ValueError(f"source: the configuration of {str(source)!r} could not be read. {error}") from error
    except OSError as error:
        # Offline, Transformers doesn't say what it looked for.
        raise OSError(f"source: {str(source)!r} has no configuration that can be reached. {error}") from error


def is_empty(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer knows special tokens only: what AutoTokenizer makes of a folder without tokenizer files."""
    return len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)) <= 1


def language_model_loader(class_name: str) -> type | None:
    """What loads a class with a masked or causal language-modelling head, which pretraining trains; None for others."""
    return next((auto for ending, auto in _LANGUAGE_MODELS.items() if class_name.endswith(ending)), None)


def model_class(source: Any, config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class that a checkpoint was saved from, so that its head is kept; a base model where that isn't known."""
    if isinstance(source, PreTrainedModel):
        return type(source)
    name = (config.architectures or [""])[0]
    ours = {cls.__name__: cls for family in FAMILIES for cls in family.classes.values()}
    known = _AUTHORS_CLASSES.get(name) or ours.get(name) or getattr(transformers, name, None)
    return known or AutoModel


def factorized_class(source_class: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """The Ofa class with the same head.

    Raises:
        ValueError: an architecture that doesn't factorize; names those that do.
    """
    if issubclass(source_class, OfaPreTrainedMixin):
        return source_class
    for family in FAMILIES:
        found = family.classes.get(source_class.__name__)
        if found is not None:
            return found
    names = [name for family in FAMILIES for name in (family.stock_prefix, *family.aliases)]
    raise ValueError(
        f"embedding_size: {source_class.__name__} can't be factorized. The heads of {', '.join(names)} can; pass "
        "embedding_size=None to adapt this model at full size."
    )


@contextmanager
def reading_weights(argument: str, checkpoint: Any) -> Iterator[None]:
    """Makes one kind of error of those that loading a damaged checkpoint raises.

    Raises:
        ValueError: it is damaged; names the argument and the checkpoint.
    """
    try:
        yield
    except (SafetensorError, EOFError, RuntimeError) as error:
        raise ValueError(
            f"{argument}: the weights of {str(checkpoint)!r} could not be read; the checkpoint is damaged, cut short, "
            f"or of another shape than its configuration says. Fetch it again. ({type(error).__name__}: {error})"
        ) from error


def take_source(
    source: Any, source_class: type[PreTrainedModel], hub_kwargs: dict[str, Any], share_embeddings: bool
) -> PreTrainedModel:
    """A model of our own to change: the loaded checkpoint, or a copy; factors of an Ofa model multiplied out.

    Where the embeddings are only read, `share_embeddings` leaves them out of the copy.

    Raises:
        ValueError: a damaged or incomplete checkpoint.
    """
    if isinstance(source, OfaPreTrainedMixin):
        return source.to_dense()
    if isinstance(source, PreTrainedModel):
        shared = {id(p): p for p in _embedding_parameters(source)} if share_embeddings else {}
        return copy.deepcopy(source, shared)
    with reading_weights("source", source):
        model, loaded = source_class.from_pretrained(source, output_loading_info=True, **hub_kwargs)
    own = {id(p) for p in _embedding_parameters(model)}
    missing = [name for name in loaded["missing_keys"] if id(model.get_parameter_or_buffer(name)) in own]
    if missing:
        raise ValueError(
            f"source: {str(source)!r} has no {', '.join(sorted(missing))}: the checkpoint is incomplete, or its weights "
            "have other names than its configuration says."
        )
    return model.to_dense() if isinstance(model, OfaPreTrainedMixin) else model


def _input_embeddings(model: PreTrainedModel) -> nn.Module | None:
    """The module that looks tokens up, or None where Transformers doesn't know it."""
    try:
        return model.get_input_embeddings()
    except NotImplementedError:
        return None


def _embedding_parameters(model: PreTrainedModel) -> list[nn.Parameter]:
    module = _input_embeddings(model)
    return [] if module is None else list(module.parameters())


def find_embeddings(model: PreTrainedModel) -> ModelEmbeddings:
    """Input and output embeddings and the head's bias of a dense model.

    Raises:
        ValueError: a model whose embeddings Transformers doesn't expose as a matrix.
    """
    module = _input_embeddings(model)
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

    left_out = {"model_type", "architectures", "auto_map", "transformers_version", "vocab_size", "embedding_size"}
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


def check_fit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """That a model has a row for each token, and pads with the same one.

    Raises:
        ValueError: it doesn't.
    """
    rows = model.get_input_embeddings().num_embeddings  # of scattered weights (ZeRO-3), too
    highest = max(tokenizer.get_vocab().values())
    if highest >= rows:
        raise ValueError(
            f"The tokenizer doesn't fit the model: its ids go up to {highest:,}, but the model has embeddings for "
            f"{rows:,} tokens. Give the model its own tokenizer, or adapt it to this one with `ofa adapt`."
        )
    ours, theirs = tokenizer.pad_token_id, getattr(model.get_input_embeddings(), "padding_idx", None)
    if None not in (ours, theirs) and ours != theirs:
        raise ValueError(
            f"The tokenizer doesn't fit the model: it pads with token {ours}, but the model with {theirs}. Give the "
            f"model its own tokenizer, or adapt it to this one with `ofa adapt`."
        )
    if highest + 1 < rows / 2:
        logger.warning(
            f"The tokenizer uses {highest + 1:,} of the model's {rows:,} embeddings; is it the model's own?"
        )
