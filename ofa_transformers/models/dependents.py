"""What in a model depends on its vocabulary: the model is built without weights, once more for a larger vocabulary.

Whatever then has another shape has an entry for each token, under whatever name, and every plain attribute of a module
that follows the configuration is found by building the model from the configuration that is to hold.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights
from transformers.utils import logging

from ..utils.quiet import quiet


logger = logging.get_logger(__name__)

# Fields of configurations that hold the number of tokens.
_SIZES = ("vocab_size", "decoder_vocab_size", "src_vocab_size", "tgt_vocab_size", "n_words", "n_vocab")
# Those that hold a part of them, from the first on: tokens with per-layer embeddings (Gemma), or those without padding.
_PARTS = ("vocab_size_per_layer_input", "unpadded_vocab_size")
_GROWTH = 8


@dataclass(frozen=True, eq=False)
class VocabularyTensor:
    """A parameter or a buffer with an entry for each token.

    Attributes:
        names: all of its names in the model; several where it is tied.
        tensor: itself.
        axis: the one that counts the tokens.
    """

    names: tuple[str, ...]
    tensor: torch.Tensor
    axis: int

    @property
    def is_assigned(self) -> bool:
        """Whether it holds integers, of which no mean can be taken: tokens are assigned to something."""
        return not self.tensor.is_floating_point()

    def by_token(self, rows: int) -> torch.Tensor:
        """(V, D), or (V,) where it holds a number for each token; those beyond its end have the first one's entry."""
        entries = self.tensor.detach().movedim(self.axis, 0)
        entries = entries.reshape(len(entries), -1) if self._has_rows() else entries.reshape(-1)
        if len(entries) < rows:  # as the forward pass of Gemma 3n has it
            entries = torch.cat([entries, entries[:1].expand(rows - len(entries), *entries.shape[1:])])
        return entries

    def shaped(self, entries: torch.Tensor) -> torch.Tensor:
        """Entries by token, as `by_token` gives them, in this tensor's shape and dtype."""
        others = [size for axis, size in enumerate(self.tensor.shape) if axis != self.axis]
        return entries.reshape(-1, *others).movedim(0, self.axis).to(self.tensor.dtype).contiguous()

    def _has_rows(self) -> bool:
        return self.tensor.numel() > self.tensor.shape[self.axis]


def configurations(model: PreTrainedModel) -> list[PreTrainedConfig]:
    """All configurations that the model's modules read, each once; some keep a copy of a part (T5's encoder does)."""
    found: dict[int, PreTrainedConfig] = {}

    def add(config: PreTrainedConfig) -> None:
        if id(config) not in found:
            found[id(config)] = config
            for value in list(vars(config).values()):
                if isinstance(value, PreTrainedConfig):
                    add(value)

    for module in model.modules():
        if isinstance(getattr(module, "config", None), PreTrainedConfig):
            add(module.config)
    return list(found.values())


def set_vocabulary_size(configs: list[PreTrainedConfig], old: int, new: int) -> int:
    """Sets every field that holds the number of tokens, or of a part of them; returns how many there were."""
    count = 0
    for config in configs:
        sizes = [name for name in _SIZES if vars(config).get(name) == old]
        parts = [name for name in _PARTS if sizes and 0 < (vars(config).get(name) or 0) <= old]
        for name in sizes:
            setattr(config, name, new)
        for name in parts:
            # While the model is probed they grow like the whole; a new vocabulary has no other part.
            setattr(config, name, new)
        count += len(sizes)
    return count


def vocabulary_tensors(model: PreTrainedModel, rows: int) -> tuple[list[VocabularyTensor], PreTrainedModel | None]:
    """What has an entry for each token of a model whose input embeddings have so many rows.

    Returns:
        The tensors, and the model on the meta device as its configuration has it: None where it can't be built so, and
        every tensor with an axis of that length counts.

    Raises:
        ValueError: something depends on the vocabulary in a way that isn't known, or is quantized.
    """
    skeleton = build_skeleton(model)
    tensors = dict(_named_tensors(model))
    if skeleton is None:
        axes = {name: [a for a, size in enumerate(t.shape) if size == rows] for name, t in tensors.items()}
        axes = {name: found for name, found in axes.items() if found}
    else:
        axes = _growing_axes(model, skeleton, rows)
        known = {name for name, _ in _named_tensors(skeleton)}
        strange = [name for name, t in tensors.items() if name not in known and rows in t.shape]
        if strange:
            raise ValueError(
                f"source: {type(model).__name__} has {', '.join(strange)}, which its configuration doesn't tell of, with "
                "an entry for each token. Merge adapters, and load the source unquantized."
            )
    named: dict[int, list[str]] = {}
    for name in axes:
        if name in tensors:
            named.setdefault(id(tensors[name]), []).append(name)
    buffers = {id(buffer) for buffer in model.buffers()}
    found = []
    for names in named.values():
        tensor, (axis, *more) = tensors[names[0]], axes[names[0]]
        assigned = not tensor.is_floating_point()
        if more or (assigned and id(tensor) not in buffers) or (assigned and axis):
            raise ValueError(
                f"source: {names[0]} of {type(model).__name__}, {tensor.dtype} of shape {tuple(tensor.shape)}, depends on "
                "the vocabulary in a way that isn't known; such a model can't be adapted. (Load a quantized one in "
                "full precision.)"
            )
        found.append(VocabularyTensor(tuple(names), tensor, axis))
    return found, skeleton


def _growing_axes(model: PreTrainedModel, skeleton: PreTrainedModel, rows: int) -> dict[str, list[int]]:
    """Of each tensor that is larger for a larger vocabulary, the axes that are."""
    grown_config = copy.deepcopy(model.config)
    size = getattr(model.config.get_text_config(), "vocab_size", None)
    trees = _tree(grown_config)
    parts = {vars(config).get(name) for config in trees for name in _PARTS}
    if not set_vocabulary_size(trees, rows, rows + _GROWTH):
        extra = f"{rows - size:+,} rows" if isinstance(size, int) else "no vocab_size"
        raise ValueError(
            f"source: {type(model).__name__} looks tokens up in {rows:,} rows, but its configuration's vocab_size is "
            f"{size} ({extra}): rows that stand for no token of a vocabulary can't be given a place in another one."
        )
    grown = build_skeleton(model, grown_config)
    if grown is None:
        raise ValueError(
            f"source: {type(model).__name__} can't be built with a vocabulary of another size, so that it can't be adapted."
        )
    before, after = dict(_named_tensors(skeleton)), dict(_named_tensors(grown))
    axes = {}
    for name, tensor in before.items():
        new_shape = after[name].shape if name in after else ()
        if new_shape == tensor.shape:
            continue
        found = [
            axis for axis, size in enumerate(tensor.shape) if len(new_shape) == tensor.ndim and new_shape[axis] != size
        ]
        if len(found) != 1 or tensor.shape[found[0]] not in {rows, *parts}:
            raise ValueError(
                f"source: {name} of {type(model).__name__}, of shape {tuple(tensor.shape)}, depends on the vocabulary of "
                f"{rows:,} tokens, but hasn't one entry for each; such a model can't be adapted."
            )
        axes[name] = found
    return axes


def build_skeleton(model: PreTrainedModel, config: PreTrainedConfig | None = None) -> PreTrainedModel | None:
    """A model of the same class on the meta device; None where the class can't be built without weights."""
    config = copy.deepcopy(model.config if config is None else config)
    try:
        with torch.device("meta"), no_init_weights(), torch.random.fork_rng(devices=[]), quiet():
            return type(model)(config)
    except Exception as error:  # constructors of others
        logger.info("%s can't be built on the meta device: %s", type(model).__name__, error)
        return None


def follow_configuration(model: PreTrainedModel, before: PreTrainedModel | None, rows: tuple[int, int]) -> None:
    """Gives the plain attributes of all modules the values that the changed configuration gives them.

    Args:
        model: with its changed configuration; changed in place.
        before: its skeleton from before; None changes the sizes of `nn.Embedding` and `nn.Linear` alone.
        rows: of the input embeddings before and now.

    Raises:
        RuntimeError: the model isn't what its configuration constructs.
    """
    after = None if before is None else build_skeleton(model)
    if before is None or after is None:
        for module in model.modules():
            for name in ("num_embeddings", "out_features", "vocab_size"):
                if vars(module).get(name) == rows[0]:
                    setattr(module, name, rows[1])
            if (
                isinstance(module, nn.Embedding)
                and module.padding_idx is not None
                and module.num_embeddings == rows[1]
            ):
                module.padding_idx = model.config.get_text_config().pad_token_id
        return
    now = dict(after.named_modules(remove_duplicate=False))
    modules = dict(model.named_modules(remove_duplicate=False))
    for name, old in before.named_modules(remove_duplicate=False):
        if name not in now or name not in modules:
            continue
        own, new = vars(modules[name]), vars(now[name])
        for key, value in vars(old).items():
            if _is_plain(value) and key in new and new[key] != value and key in own and own[key] == value:
                setattr(modules[name], key, new[key])
    expected = dict(_named_tensors(after))
    wrong = [
        f"{name} {tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
        for name, tensor in _named_tensors(model)
        if name in expected and expected[name].shape != tensor.shape
    ]
    if wrong:
        raise RuntimeError(f"{type(model).__name__} isn't what its configuration constructs: {', '.join(wrong)}")


def replace_tensors(model: PreTrainedModel, new: dict[int, torch.Tensor]) -> None:
    """Puts tensors in the places of others, given by their id; what was tied stays so."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            key = id(parameter)
            if key in new:
                made.setdefault(key, nn.Parameter(new[key], requires_grad=parameter.requires_grad))
                module._parameters[name] = made[key]
        for name, buffer in list(module._buffers.items()):
            if id(buffer) in new:
                module._buffers[name] = new[id(buffer)]


def _tree(config: PreTrainedConfig) -> list[PreTrainedConfig]:
    parts = [value for value in vars(config).values() if isinstance(value, PreTrainedConfig)]
    return [config, *(inner for part in parts for inner in _tree(part))]


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (int, str))
