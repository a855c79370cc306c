"""Positions that count from the pad id: what becomes of them where it changes, by kind of module."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from .dependents import configurations, replace_tensors


# Pad ids up to this shift a table of positions; beyond, it would be mostly empty.
_LARGEST_PAD_ID = 64

# A table whose first row in use is the one after the pad id's, and a module that counts so: the table moves.
_SHIFTED = {
    "RobertaEmbeddings",
    "XLMRobertaEmbeddings",
    "CamembertEmbeddings",
    "Data2VecTextEmbeddings",
    "RobertaPreLayerNormEmbeddings",
    "XLMRobertaXLEmbeddings",
    "XmodEmbeddings",
    "LongformerEmbeddings",
    "IBertEmbeddings",
    "EsmEmbeddings",
    "ProphetNetPositionalEmbeddings",  # the table itself
}
# Why others can't follow.
_FIXED = {
    "MPNetEmbeddings": "has the id of its pad token in its code",
    "LukeEmbeddings": "has tables of another kind of position, of the same length",
    "SinusoidalPositionalEmbedding": "computes positions from the pad id",
    "M2M100SinusoidalPositionalEmbedding": "computes positions from the pad id",
    "NllbMoeSinusoidalPositionalEmbedding": "computes positions from the pad id",
    "SeamlessM4TSinusoidalPositionalEmbedding": "computes positions from the pad id",
    "SeamlessM4Tv2SinusoidalPositionalEmbedding": "computes positions from the pad id",
    "XGLMSinusoidalPositionalEmbedding": "computes positions from the pad id",
}


@dataclass(frozen=True)
class _Counting:
    """A module whose positions count from the pad id: `kind` names its class, `owner` and `name` say where it lies."""

    kind: str
    owner: nn.Module
    name: str

    @property
    def table(self) -> nn.Module:
        return getattr(self.owner, self.name)


def _counting(model: PreTrainedModel) -> list[_Counting]:
    found = []
    for owner in model.modules():
        for name, child in owner.named_children():
            if (
                getattr(child, "padding_idx", None) is None
                or "position" not in f"{name} {type(child).__name__}".lower()
            ):
                continue
            kind = type(child if "Position" in type(child).__name__ else owner).__name__
            found.append(_Counting(kind, owner, name))
    return found


def check_positions(model: PreTrainedModel, old_pad: int | None, new_pad: int | None) -> None:
    """Raises ValueError for a pad id that the model can't count its positions from."""
    for one in _counting(model) if old_pad != new_pad else []:
        if one.kind in _SHIFTED:
            if new_pad is None or new_pad > _LARGEST_PAD_ID:
                raise ValueError(
                    f"target_tokenizer: its pad token has the id {new_pad}, but {type(model).__name__} counts positions "
                    f"from it, and needs one of 0 to {_LARGEST_PAD_ID}. Give the tokenizer a pad token with a low id (the "
                    f"source's has {old_pad})."
                )
        else:
            reason = _FIXED.get(one.kind, "counts positions from the pad id in a way that isn't known")
            raise ValueError(
                f"target_tokenizer: its pad token has the id {new_pad}, but {type(model).__name__} needs {old_pad}, as the "
                f"source has it: {one.kind} {reason}. Give the tokenizer its pad token at {old_pad}."
            )


def added_positions(model: PreTrainedModel, old_pad: int | None, new_pad: int | None) -> int:
    """How many parameters `move_positions` adds."""
    if old_pad == new_pad or None in (old_pad, new_pad):
        return 0
    weights = [getattr(one.table, "weight", None) for one in _counting(model)]
    return (new_pad - old_pad) * sum(weight.shape[1] for weight in weights if isinstance(weight, nn.Parameter))


def move_positions(model: PreTrainedModel, old_pad: int | None, new_pad: int | None) -> None:
    """Has the model count from the new pad id, in place, by `_SHIFTED`; raises as `check_positions`."""
    check_positions(model, old_pad, new_pad)
    for one in _counting(model) if old_pad != new_pad else []:
        size = len(one.table.weight)
        moved = {
            id(t): _moved(t.detach(), old_pad, new_pad)
            for t in (*one.table.parameters(), *one.table.buffers())
            if t.ndim == 2 and len(t) == size
        }
        length = size - old_pad + new_pad
        for name, buffer in one.owner.named_buffers(recurse=False):
            if buffer.shape[-1] == size and name in ("position_ids", "token_type_ids"):
                ids = torch.arange(length) if name == "position_ids" else torch.zeros(length)
                moved[id(buffer)] = ids.to(buffer).expand(1, -1)
        replace_tensors(one.owner, moved)
        one.table.num_embeddings = length
        one.table.padding_idx = new_pad
        if hasattr(one.owner, "padding_idx"):
            one.owner.padding_idx = new_pad
        for config in configurations(model):
            if getattr(config, "max_position_embeddings", None) == size:
                config.max_position_embeddings = length


def _moved(table: torch.Tensor, old_pad: int, new_pad: int) -> torch.Tensor:
    """(P + new_pad - old_pad, D): the rows behind the pad id's, behind the new one's; zeros before them."""
    positions = table[old_pad + 1 :]
    return torch.cat([table.new_zeros(new_pad + 1, table.shape[1]), positions])
