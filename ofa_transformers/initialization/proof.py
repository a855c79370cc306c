"""The proof of a result: for text of copied tokens it gives what the source gives."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from ..models.forward import accepted
from ..scoring.batching import evaluation_mode
from .inputs import Source
from .mapping.token_mapping import TokenKind, TokenMapping
from .rows import TargetRows


logger = logging.get_logger(__name__)

_LENGTH, _PADDED = 16, 4
# Of the largest value: with the same rows, only the order of sums differs.
_LIMITS = {torch.float32: 1e-3, torch.float64: 1e-3}
_HALF_LIMIT = 5e-2


@dataclass(frozen=True)
class Outputs:
    """At the positions that aren't padding: hidden states (n, D), and logits (n, copied tokens), None without either."""

    hidden: torch.Tensor | None
    logits: torch.Tensor | None


@dataclass(frozen=True)
class Reference:
    """What the source gives for text of copied tokens, and with which the result is compared.

    Attributes:
        ids: (2, L) int64, the text in target ids, the second line padded.
        attention: (2, L) int64.
        columns: (C,) int64, all copied target ids.
        outputs: of the source; factorized, of the source with F P in the place of the rows of these tokens.
        reason: why there are none.
    """

    ids: torch.Tensor | None = None
    attention: torch.Tensor | None = None
    columns: torch.Tensor | None = None
    outputs: Outputs | None = None
    reason: str | None = None

    def prove(self, model: PreTrainedModel) -> dict[str, Any]:
        """Compares the result with the source.

        Returns:
            What the report says: the tokens of the text, whether logits were among what was compared, the largest
            difference, relative to the largest value; or the reason why the proof could not be made.

        Raises:
            RuntimeError: they differ.
        """
        if self.outputs is None:
            logger.warning("The result could not be compared with the source: %s", self.reason)
            return {"reason": self.reason}
        try:
            own = _outputs(model, self.ids, self.attention, self.columns)
            difference = _difference(self.outputs, own)
        except Exception as error:
            raise RuntimeError(
                f"The adapted {type(model).__name__} can't be run on text that its source can: {_in_short(error)}. "
                "Nothing was written. Please report this, with the configuration of the source."
            ) from error
        limit = _LIMITS.get(model.dtype, _HALF_LIMIT)
        if not difference <= limit:
            raise RuntimeError(
                f"The adapted {type(model).__name__} doesn't give what its source gives for text of tokens that were "
                f"copied: outputs differ by {difference:.3g} of the largest, but should by {limit:g} at most. Something "
                "in this model depends on the vocabulary in a way that isn't known. Nothing was written. Please report "
                "this, with the configuration of the source."
            )
        return {
            "tokens": int(self.attention.sum()),
            "logits": self.outputs.logits is not None,
            "difference": difference,
        }


@torch.no_grad()
def take_reference(
    source: Source, mapping: TokenMapping, made: TargetRows, bias: torch.Tensor | None, carried: bool
) -> Reference:
    """Runs the source on text of tokens that are copied, before it becomes the result.

    Args:
        source: unchanged so far.
        made: the rows of the result.
        bias: (V_t,), of its head; `carried` says whether copied tokens have theirs from the source.
    """
    copied = np.flatnonzero(mapping.kinds == TokenKind.COPIED)
    if len(copied) < 2:
        return Reference(reason="fewer than two tokens are copied.")
    theirs = mapping.weights.indices[mapping.weights.indptr[copied]].astype(np.int64)
    chosen = _choose(copied, source.special.old_ids)
    ids, old_ids = (torch.from_numpy(where[chosen].reshape(2, -1)) for where in (copied, theirs))
    attention = torch.ones_like(ids)
    old_pad, new_pad = source.special.pad_ids
    if None not in (old_pad, new_pad):
        attention[1, -_PADDED:] = 0
        ids, old_ids = (where.masked_fill(attention == 0, pad) for where, pad in ((ids, new_pad), (old_ids, old_pad)))
    columns, old_columns = torch.from_numpy(copied), torch.from_numpy(theirs)
    shift = _expected_bias(source, bias, carried, old_columns, columns)
    model = source.model
    try:
        with _factorized(model, made, (ids, columns), old_columns) if made.primitives else nullcontext():
            outputs = _outputs(model, old_ids, attention, old_columns)
    except Exception as error:  # models that need more than text
        return Reference(reason=f"the source can't be run on text alone ({_in_short(error)}).")
    if made.primitives and not _is_onto(model.get_output_embeddings(), model.get_input_embeddings().weight):
        outputs = Outputs(outputs.hidden, None)  # its logits are of the table itself
    found = [tensor for tensor in (outputs.hidden, outputs.logits) if tensor is not None]
    if not found or not all(torch.isfinite(tensor).all() for tensor in found):
        return Reference(reason="the source gives neither hidden states nor logits that are finite.")
    if shift is not None and outputs.logits is not None:
        outputs = Outputs(outputs.hidden, outputs.logits + shift)
    return Reference(ids, attention, columns, outputs)


def _is_onto(projection: torch.nn.Module | None, table: torch.Tensor) -> bool:
    """Whether a projection is one onto the vocabulary: DeBERTa-v3 calls another layer its output embeddings."""
    return projection is not None and len(projection.weight) == len(table)


def _expected_bias(
    source: Source,
    bias: torch.Tensor | None,
    carried: bool,
    old_columns: torch.Tensor,
    columns: torch.Tensor,
) -> torch.Tensor | None:
    """What the head's bias adds to the logits that are taken from the source, which hold its own."""
    if bias is None or carried:
        return None
    own = source.embeddings.bias[old_columns.to(source.embeddings.bias.device)].float()
    return bias[columns.to(bias.device)].to(own) - own


def _choose(copied: np.ndarray, old_ids: frozenset[int]) -> np.ndarray:
    """Places of 2 L of the copied tokens: first those whose new id was a special token's, the rest from all over."""
    clashing = np.flatnonzero(np.isin(copied, list(old_ids)))[: _LENGTH // 2]
    spread = np.linspace(0, len(copied) - 1, 2 * _LENGTH - len(clashing)).astype(np.int64)
    return np.concatenate([clashing, spread])


@contextmanager
def _factorized(
    model: PreTrainedModel, made: TargetRows, target: tuple[torch.Tensor, torch.Tensor], old_columns: torch.Tensor
) -> Iterator[None]:
    """The source with the products F P of these tokens in place of their embeddings, which F P only approximates.

    Args:
        target: the ids of the text, and of the columns, in the target's vocabulary.
        old_columns: the latter in the source's.
    """
    ids, columns = target
    table, projection = model.get_input_embeddings().weight, model.get_output_embeddings()

    def products(part: str, chosen: torch.Tensor) -> torch.Tensor:
        rows, primitives = made.rows[part], made.primitives[part]
        return rows[chosen.to(rows.device)].to(primitives) @ primitives

    def look_up(module: torch.nn.Module, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        scale = getattr(module, "embed_scale", 1.0)  # of Gemma and mBART
        vectors = products("input", ids).to(output)
        return vectors * (scale.to(vectors) if torch.is_tensor(scale) else scale)

    def project(module: torch.nn.Module, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        logits = args[0] @ products("output" if "output" in made.rows else "input", columns).to(args[0]).T
        if module.bias is not None:
            logits = logits + module.bias[old_columns.to(logits.device)]
        output = output.clone()
        output[..., old_columns.to(output.device)] = logits.to(output)
        return output

    tables = [m for m in model.modules() if isinstance(m, torch.nn.Embedding) and m.weight is table]
    hooks = [module.register_forward_hook(look_up) for module in tables]
    if _is_onto(projection, table):
        hooks.append(projection.register_forward_hook(project))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _outputs(
    model: PreTrainedModel,
    ids: torch.Tensor,
    attention: torch.Tensor,
    columns: torch.Tensor,
) -> Outputs:
    """Last hidden states, and logits of the given tokens, of a language model; of another one, its base model's."""
    runner = model if model.get_output_embeddings() is not None else model.base_model
    device = model.device
    inputs = {"input_ids": ids.to(device), "attention_mask": attention.to(device)}
    inputs |= accepted(runner, decoder_input_ids=inputs["input_ids"], use_cache=False, return_dict=True)
    with evaluation_mode(model), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)  # Reformer draws its hashes
        result = runner(**inputs, output_hidden_states=True)
    kept = attention.bool().to(device)
    states = [result.get(name) for name in ("decoder_hidden_states", "hidden_states")]
    states = [found[-1] for found in states if found] + [result.get("last_hidden_state")]
    hidden = next((s for s in states if torch.is_tensor(s) and s.shape[:2] == kept.shape), None)
    rows = len(model.get_input_embeddings().weight)
    logits = [v for v in result.values() if torch.is_tensor(v) and v.shape == (*kept.shape, rows)]
    chosen = None
    if logits:
        chosen = logits[0][kept][:, columns.to(device)].float()
    return Outputs(None if hidden is None else hidden[kept].float(), chosen)


def _difference(one: Outputs, other: Outputs) -> float:
    """The largest difference, relative to the largest value of the first."""
    pairs = [(a, b) for a, b in ((one.hidden, other.hidden), (one.logits, other.logits)) if a is not None]
    return max(float((a - b.to(a.device)).abs().max() / a.abs().max().clamp_min(1e-12)) for a, b in pairs)


def _in_short(error: Exception) -> str:
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) < 200 else f"{text[:197]}..."
