"""Taking the embeddings out of a model and putting others in."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from .checkpoints import factorized_class, input_embeddings
from .dependents import (
    VocabularyTensor,
    configurations,
    follow_configuration,
    replace_tensors,
    set_vocabulary_size,
    vocabulary_tensors,
)
from .modeling_ofa import swap_prefix


@dataclass(frozen=True)
class ModelEmbeddings:
    """What depends on the vocabulary in a model.

    Attributes:
        input: (V, D), the input embeddings.
        output: (V, D), the output embeddings, None where there are none or they are tied to the input's. RemBERT's
            and Reformer's have a width of their own.
        bias: (V,), the head's bias, or None.
        tied: whether there are output embeddings, tied to the input's.
        others: everything else with an entry for each token: biases beside the head's, tables of an untied encoder and
            decoder, of the layers (Gemma 3n), of experts by token (DeepSeek-V4).
        skeleton: the model as its configuration has it, without weights; None where it can't be built so.
    """

    input: torch.Tensor
    output: torch.Tensor | None
    bias: torch.Tensor | None
    tied: bool
    others: tuple[VocabularyTensor, ...] = ()
    skeleton: PreTrainedModel | None = None

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
    """Input and output embeddings of a dense model, the head's bias, and what else has an entry for each token.

    Raises:
        ValueError: a model whose embeddings Transformers doesn't expose as a matrix, with something that depends on the
            vocabulary in a way that isn't known, or with a second vocabulary for what it writes.
    """
    table = _token_table(model)
    written = getattr(model.get_output_embeddings(), "weight", table)
    if model.config.is_encoder_decoder and len(written) != len(table):
        raise ValueError(
            f"source: {type(model).__name__} reads {len(table):,} tokens and writes {len(written):,}: it has two "
            "vocabularies, which one target tokenizer can't replace. Use a model that reads and writes the same one."
        )
    found, skeleton = vocabulary_tensors(model, len(table))
    tensors = {id(one.tensor): one for one in found}
    weight, bias = getattr(model.get_output_embeddings(), "weight", None), find_head_bias(model)
    output = tensors.get(id(weight))
    bias = bias if id(bias) in tensors else None
    own = {id(table), *(id(tensor) for tensor in (weight, bias) if tensor is not None)}
    tied = weight is table or (weight is not None and 0 != weight.data_ptr() == table.data_ptr())
    return ModelEmbeddings(
        table.detach(),
        None if output is None or tied else weight.detach(),
        None if bias is None else bias.detach(),
        tied=tied,
        others=tuple(one for key, one in tensors.items() if key not in own),
        skeleton=skeleton,
    )


def find_head_bias(model: PreTrainedModel) -> nn.Parameter | None:
    """(V,), what the head adds to its logits: its projection's bias, or one of its own beside it (ESM, DeBERTa-v3)."""
    projection = model.get_output_embeddings()
    if projection is None:
        return None
    shape = (len(_token_table(model)),)
    bias = getattr(projection, "bias", None)
    if bias is not None and bias.shape == shape:
        return bias
    beside = [module.bias for module in model.modules() if module._parameters.keys() == {"bias"}]
    beside = [bias for bias in beside if bias is not None and bias.shape == shape]
    return beside[0] if len(beside) == 1 else None


def token_table(model: PreTrainedModel) -> torch.Tensor:
    """(V, D), the input embeddings alone; raises ValueError where they aren't one table."""
    return _token_table(model).detach()


def _token_table(model: PreTrainedModel) -> nn.Parameter:
    module = input_embeddings(model)
    table = getattr(module, "weight", None)
    if not isinstance(table, torch.Tensor) or table.ndim != 2 or isinstance(module, nn.Linear):
        raise ValueError(
            f"source: the token embeddings of {type(model).__name__} were not found: get_input_embeddings() gives "
            f"{type(module).__name__}, not an nn.Embedding. Use a text model that looks its tokens up in one table."
        )
    return table


def with_new_embeddings(
    model: PreTrainedModel,
    embeddings: ModelEmbeddings,
    rows: dict[str, torch.Tensor],
    bias: torch.Tensor | None,
    others: list[torch.Tensor],
) -> PreTrainedModel:
    """The model itself at full size, with other rows and as many of them.

    Args:
        model: changed in place; what was tied stays so.
        embeddings: of it.
        rows: (V_t, D), as [`ModelEmbeddings.matrices`] names them.
        bias: (V_t,), of the head.
        others: entries for `embeddings.others`, as `VocabularyTensor.by_token` gives them.

    Raises:
        RuntimeError: the result isn't what its configuration constructs.
    """
    module, projection = model.get_input_embeddings(), model.get_output_embeddings()
    old, new = embeddings.rows, len(rows["input"])
    made = {id(module.weight): rows["input"].to(module.weight.dtype)}
    if embeddings.tied:
        made[id(projection.weight)] = made[id(module.weight)]
    if "output" in rows:
        made[id(projection.weight)] = rows["output"].to(projection.weight.dtype)
    if bias is not None:
        former = find_head_bias(model)
        made[id(former)] = bias.to(former.dtype)
    for one, entries in zip(embeddings.others, others, strict=True):
        made[id(one.tensor)] = one.shaped(entries)
    replace_tensors(model, made)
    if "output" in rows:
        _declare_untied(model)
    set_vocabulary_size(configurations(model), old, new)
    follow_configuration(model, embeddings.skeleton, (old, new))
    return model


def _declare_untied(model: PreTrainedModel) -> None:
    """Has the configuration say that nothing is tied, where a head of its own would be tied when it is loaded again."""
    pairs = model.get_expanded_tied_weights_keys(all_submodels=True)
    projection = model.get_output_embeddings()
    name = f"{_name_of(model, projection)}.weight"
    if name not in pairs or model.get_parameter(pairs[name]) is projection.weight:
        return
    for config in (model.config, model.config.get_text_config()):
        if getattr(config, "tie_word_embeddings", False):
            config.tie_word_embeddings = False
    for target, source in pairs.items():
        # What the flag tied beside them is saved once, and would then be missing.
        if target != name and model.get_parameter(target) is model.get_parameter(source):
            parent, attribute = target.rsplit(".", 1)
            setattr(model.get_submodule(parent), attribute, nn.Parameter(model.get_parameter(source).detach().clone()))


def tables_beside(embeddings: ModelEmbeddings) -> list[str]:
    """The names of tables with a row for each token beside those that factors take the place of."""
    return [one.names[0] for one in embeddings.others if one.tensor.numel() > max(one.tensor.shape)]


def check_factorizable(embeddings: ModelEmbeddings) -> None:
    """Raises ValueError where a model has tables beside those that factors take the place of."""
    if tables := tables_beside(embeddings):
        raise ValueError(
            f"embedding_size: the source has {', '.join(tables)} beside its token embeddings, with a row for each token, "
            "which aren't tied to them. Pass embedding_size=None to adapt it at full size."
        )


def factorized_model(
    model: PreTrainedModel,
    embeddings: ModelEmbeddings,
    rows: dict[str, torch.Tensor],
    primitives: dict[str, torch.Tensor],
    bias: torch.Tensor | None,
    others: list[torch.Tensor],
    embedding_size: int,
) -> PreTrainedModel:
    """The Ofa model with the body of `model` and its embeddings as coordinates and primitives.

    Args:
        model, embeddings, bias, others: as for `with_new_embeddings`.
        rows: coordinates (V_t, D') of "input" and, untied, "output".
        primitives: (D', D), of the same.
        embedding_size: D'.

    Raises:
        RuntimeError: weights of the model that the Ofa class has no place for, or lacks.
    """
    target_class = factorized_class(type(model))
    projection, former_bias = model.get_output_embeddings(), find_head_bias(model)
    part_of = {id(model.get_input_embeddings().weight): "input"}
    if embeddings.tied or "output" in rows:
        part_of[id(projection.weight)] = "output" if "output" in rows else "input"
    coordinates = {part: matrix.to(model.dtype) for part, matrix in rows.items()}
    transposed = {part: matrix.t().contiguous().to(model.dtype) for part, matrix in primitives.items()}

    state_dict = dict(model.state_dict())
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if (part := part_of.get(id(parameter))) is not None:
            state_dict[name] = coordinates[part]
            state_dict[f"{name.removesuffix('weight')}primitives.weight"] = transposed[part]
        elif bias is not None and parameter is former_bias:
            state_dict[name] = bias.to(model.dtype)
    for one, entries in zip(embeddings.others, others, strict=True):
        state_dict.update(dict.fromkeys(one.names, one.shaped(entries)))
    # Of a head's two biases the Ofa heads keep the projection's.
    for kept, second in (type(model)._tied_weights_keys or {}).items():
        if kept.endswith(".bias"):
            state_dict.pop(second, None)
    state_dict = swap_prefix(state_dict, model.base_model_prefix, target_class.base_model_prefix)

    left_out = {
        "model_type",
        "architectures",
        "auto_map",
        "transformers_version",
        "vocab_size",
        *target_class.config_class.ofa_fields(),
    }
    fields = {key: value for key, value in model.config.to_dict().items() if key not in left_out}
    if projection is not None:
        fields["tie_word_embeddings"] = embeddings.tied
    config = target_class.config_class(**fields, vocab_size=len(rows["input"]), num_primitive=embedding_size)
    config._name_or_path = str(getattr(model.config, "_name_or_path", ""))
    result, loaded = target_class.from_pretrained(
        None,
        config=config,
        state_dict=state_dict,
        dtype=model.dtype,
        attn_implementation=model.config._attn_implementation,
        output_loading_info=True,
    )
    problems = {name: keys for name, keys in loaded.items() if keys}
    if problems:
        raise RuntimeError(f"The weights of {type(model).__name__} do not fit {target_class.__name__}: {problems}")
    if result.can_generate() and model.can_generate():
        result.generation_config = copy.deepcopy(model.generation_config)
    return result.to(model.device).train(model.training)


def _name_of(model: nn.Module, wanted: nn.Module) -> str:
    return next(name for name, module in model.named_modules(remove_duplicate=False) if module is wanted)
