"""What the source makes of text, segment by segment, and how far another model's states are from it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..scoring.batching import Rows, batches_by_length, evaluation_mode, longest_input
from ..scoring.sentences import hidden_states_at
from .inputs import Inputs


# Lines longer than so many tokens of either tokenizer are passed over; they are cut at four characters a token first.
_TOKENS = 64
_TOKENS_PER_BATCH = 4096
# Bytes of the source's states, float16, that are kept; further lines are left out.
_STATES = 1 << 29


@dataclass(frozen=True)
class SourceStates:
    """What the source makes of the text, and how the target's tokens lie in it.

    N lines have S segments: the smallest stretches at whose ends both tokenizers cut, or a whole line if the other
    tokenizer reads its translation.

    Attributes:
        ids: N lines in the target's tokens, special tokens included.
        segments: for each token of `ids` the number of its segment in its line, -1 without one.
        first: (N,) each line's first row of `of_segments`.
        of_segments: (S, D) float16, means of the source's hidden states.
        of_lines: (N, D) float16, the same for whole lines.
        layer: of these states.
    """

    ids: Rows
    segments: Rows
    first: np.ndarray
    of_segments: torch.Tensor
    of_lines: torch.Tensor
    layer: int


def read_states(
    inputs: Inputs,
    model: PreTrainedModel,
    number: int,
    seed: int,
    *,
    layer: int | None = None,
    own: bool | None = None,
) -> SourceStates:
    """What the source makes of the text.

    Args:
        inputs: with target_text or parallel_text.
        model: the source.
        number: lines that are read at most, drawn at random.
        seed: of the draws.
        layer: from 1 on; the last by default.
        own: whether the lines of target_text shall have the states that the source itself gives them; by default where
            there is no parallel_text.

    Raises:
        ValueError: a layer that the source doesn't have, an encoder-decoder, no line that is short enough.
    """
    config = model.config.get_text_config()
    if model.config.is_encoder_decoder:
        raise ValueError(
            "source: an encoder-decoder, whose states no rows are fitted to; choose a method other than 'fitted'."
        )
    layer = config.num_hidden_layers if layer is None else layer
    if not 0 < layer <= config.num_hidden_layers:
        raise ValueError(f"layer is {layer}, but must be from 1 to {config.num_hidden_layers}, the source's layers.")
    pairs = _pairs(inputs, number, seed, inputs.parallel_text is None if own is None else own)
    longest = [
        min(_TOKENS, longest_input(model, tokenizer))
        for tokenizer in (inputs.source_tokenizer, inputs.target_tokenizer)
    ]
    kept = list(_encoded(pairs, inputs.source_tokenizer, inputs.target_tokenizer, longest))
    if not kept:
        raise ValueError(
            f"No line of target_text or parallel_text has up to {min(longest)} tokens; pass shorter lines."
        )
    source_ids, source_segments, target_ids, target_segments = map(list, zip(*kept))
    counts = np.array([max(segments) + 1 for segments in target_segments])
    most = max(1, _STATES // (2 * config.hidden_size) - len(counts))
    keep = max(1, int(np.searchsorted(np.cumsum(counts), most)))
    ids, segments, counts = Rows(source_ids[:keep]), Rows(source_segments[:keep]), counts[:keep]
    first = np.cumsum(counts) - counts
    of_segments = torch.empty(int(counts.sum()), config.hidden_size, dtype=torch.float16)
    of_lines = torch.empty(len(counts), config.hidden_size, dtype=torch.float16)
    body = model.base_model
    with torch.no_grad(), evaluation_mode(model), hidden_states_at(body, layer, config.num_hidden_layers) as states:
        batches = list(batches_by_length(ids.lengths.tolist(), _TOKENS_PER_BATCH))
        for batch in logging.tqdm(batches, desc="Reading the source's states", unit="batch", delay=2, leave=False):
            padding = inputs.source_tokenizer.pad_token_id or 0
            hidden = states(ids.padded(batch, padding).to(model.device), ids.within(batch).long().to(model.device))
            places, lines, number = _places(segments, counts, batch)
            means = _means(hidden.float(), places.to(hidden.device), number)
            rows = np.concatenate([np.arange(first[i], first[i] + counts[i]) for i in batch])
            of_segments[torch.from_numpy(rows)] = means.half().cpu()
            of_lines[batch] = _means(hidden.float(), lines.to(hidden.device), len(batch)).half().cpu()
    return SourceStates(Rows(target_ids[:keep]), Rows(target_segments[:keep]), first, of_segments, of_lines, layer)


def _pairs(inputs: Inputs, number: int, seed: int, own: bool) -> list[tuple[str, str]]:
    """(what the source reads, what the target reads), at most `number`, in random order."""
    if own and inputs.lines is None:
        raise ValueError("own_states=True needs target_text; pass it, or leave own_states out.")
    pairs = list(inputs.parallel_text or ())
    # The source knows the language of its own side.
    pairs += [(line, line) for line in dict.fromkeys(line for line, _ in pairs)]
    pairs += [(line, line) for line in inputs.lines or ()] if own else []
    order = np.random.default_rng(seed).permutation(len(pairs))[:number]
    return [pairs[i] for i in order]


def _encoded(
    pairs: Sequence[tuple[str, str]],
    source: PreTrainedTokenizerBase,
    target: PreTrainedTokenizerBase,
    longest: Sequence[int],
) -> Iterator[tuple[list[int], list[int], list[int], list[int]]]:
    """Of each pair that is short enough: ids and segments of the source's tokens, then of the target's."""
    for start in range(0, len(pairs), 1024):
        texts = [[_cut(line, 4 * min(longest)) for line in side] for side in zip(*pairs[start : start + 1024])]
        options = {"return_offsets_mapping": True, "return_special_tokens_mask": True, "verbose": False}
        both = [tokenizer(lines, **options) for tokenizer, lines in zip((source, target), texts)]
        for number, (line, other) in enumerate(zip(*texts)):
            ids = [encoded["input_ids"][number] for encoded in both]
            if any(len(tokens) > limit for tokens, limit in zip(ids, longest)):
                continue
            special = [np.array(encoded["special_tokens_mask"][number], dtype=bool) for encoded in both]
            if line == other:
                offsets = [np.array(encoded["offset_mapping"][number]).reshape(-1, 2) for encoded in both]
                segments = common_segments(line, *offsets, *special)
            else:
                segments = [np.where(there, -1, 0) for there in special]
            if all((found >= 0).any() for found in segments):
                yield ids[0], segments[0].tolist(), ids[1], segments[1].tolist()


def _cut(line: str, characters: int) -> str:
    """The line's beginning, up to a space where there is one."""
    line = line.strip()
    if len(line) <= characters:
        return line
    return line[:characters].rpartition(" ")[0] or line[:characters]


def common_segments(
    text: str, one: np.ndarray, other: np.ndarray, special: np.ndarray, other_special: np.ndarray
) -> list[np.ndarray]:
    """The smallest stretches of the text at whose ends both tokenizers cut.

    Args:
        text: C characters.
        one, other: (n, 2) and (m, 2), characters at which tokens begin and end.
        special, other_special: (n,) and (m,) bool, tokens that stand for no text.

    Returns:
        (n,) and (m,) int64: the number of each token's stretch, counted from 0; -1 for special tokens.
    """
    # Spaces belong to the token before or after, as tokenizers like it; they don't count.
    solid = np.concatenate([[0], np.cumsum([not character.isspace() for character in text])])
    sides = [(solid[spans], ~there) for spans, there in ((one, special), (other, other_special))]
    cut = np.ones(solid[-1] + 1, dtype=bool)
    for spans, there in sides:
        inside = np.zeros(len(cut) + 1, dtype=np.int64)  # how many tokens a place lies within
        begin, end = spans[there].T
        longer = end > begin
        np.add.at(inside, begin[longer] + 1, 1)
        np.add.at(inside, end[longer], -1)
        cut &= np.cumsum(inside)[:-1] == 0
        ends = np.zeros(len(cut), dtype=bool)
        ends[end] = ends[begin] = True
        cut &= ends
    cuts = np.flatnonzero(cut)
    found = [np.searchsorted(cuts[cuts > 0], spans[:, 0], side="right") for spans, _ in sides]
    shared = np.intersect1d(*(numbers[there] for numbers, (_, there) in zip(found, sides)))
    return [
        np.where(there & np.isin(numbers, shared), np.searchsorted(shared, numbers), -1)
        for numbers, (_, there) in zip(found, sides)
    ]


class StateDistance:
    """The squared distance of means over segments, and over whole lines, from the source's, as shares of their variance.

    Args:
        states: the source's.
        padding: id that fills the ends of shorter lines.
    """

    def __init__(self, states: SourceStates, padding: int) -> None:
        self._states, self._padding = states, padding
        self._counts = np.diff(np.append(states.first, len(states.of_segments)))
        self._scales = [
            1 / (targets.float() - targets.float().mean(0)).square().mean().clamp(min=1e-12)
            for targets in (states.of_segments, states.of_lines)
        ]

    def __call__(
        self, forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], batch: Sequence[int], device: torch.device
    ) -> torch.Tensor:
        """The sum of both, of the lines of a batch, by `forward` (`hidden_states_at`)."""
        states = self._states
        ids = states.ids.padded(batch, self._padding).to(device)
        hidden = forward(ids, states.ids.within(batch).long().to(device)).float()
        places, lines, number = _places(states.segments, self._counts, batch)
        wanted = np.concatenate([np.arange(states.first[i], states.first[i] + self._counts[i]) for i in batch])
        loss = hidden.new_zeros(())
        for groups, size, targets, scale in (
            (places, number, states.of_segments[torch.from_numpy(wanted)], self._scales[0]),
            (lines, len(batch), states.of_lines[batch], self._scales[1]),
        ):
            means = _means(hidden, groups.to(device), size)
            loss = loss + scale * functional.mse_loss(means, targets.to(means))
        return loss


def _places(segments: Rows, counts: np.ndarray, batch: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """(B, L) int64: each token's segment, numbered through the batch, and its line; -1 for none; and how many segments."""
    numbers = segments.padded(batch, -1)
    first = torch.from_numpy(np.cumsum(counts[batch]) - counts[batch])[:, None]
    within = segments.within(batch) & (numbers >= 0)
    lines = torch.arange(len(batch))[:, None].expand_as(numbers)
    return torch.where(within, numbers + first, -1), torch.where(within, lines, -1), int(counts[batch].sum())


def _means(hidden: torch.Tensor, groups: torch.Tensor, number: int) -> torch.Tensor:
    """(number, D): means of the states (B, L, D) by group (B, L), without those of group -1."""
    used = groups >= 0
    index = groups[used]
    sums = hidden.new_zeros(number, hidden.shape[-1]).index_add(0, index, hidden[used])
    return sums / torch.bincount(index, minlength=number).clamp(min=1)[:, None]
