"""Held-out loss of a masked language model, every token predicted once, from all other words or all other tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .batching import Rows, batches_by_length, evaluation_mode, input_length, tokens_that_fit
from .characters import Characters
from .framing import special_frame, text_tokens
from .score import MaskedLMScore, check_fast, scores_of


Scheme = Literal["word", "token"]
DEFAULT_STRIDE = 7


@torch.no_grad()
def score_masked_lm(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    scheme: Scheme = "word",
    stride: int = DEFAULT_STRIDE,
    max_length: int | None = None,
    tokens_per_batch: int = 4096,
    show_progress: bool = False,
) -> list[MaskedLMScore]:
    """Score each text with every token predicted once.

    With the scheme "word" a token is predicted while it and the later tokens of its word are masked, the earlier ones
    visible: PLL-word-l2r of Kauf and Ivanova ("A better way to do masked language model scoring", ACL 2023). The bits of a
    word then don't depend on the number of its tokens, so that bits per character compare across tokenizers. A word is
    what stands between white space (`Characters`).

    Several tokens are predicted in one pass. A text of T tokens is read P times; in the j-th pass those at positions j,
    j + P, j + 2 P, ... are predicted, and they and the rest of their words are masked; all else is visible. P is the
    smallest number for which, over all passes, one token of `stride` is masked on average, whatever the tokenizer, and at
    least the tokens of the longest word, so that a word is predicted at one token at a time. With the default of 7, that
    is about the 15 % that masked LMs are trained with. Where each word is one token, P = `stride`. With a `stride` of at
    least T one token is predicted in a pass, as published.

    With the scheme "token" only the predicted tokens are masked, `stride` - 1 between them; from a large `stride` on it is
    the pseudo-log-likelihood of Salazar et al. (2020). A token is then predicted from the other pieces of its word, so
    that a tokenizer which cuts words into more pieces needs fewer bits for the same text: compare such scores within one
    tokenizer only.

    What the tokenizer can't write is charged at 8 bits a byte (`MaskedLMScore.bits`). There is no chance in it: the same
    model and text give the same score.

    Args:
        model: a masked LM.
        tokenizer: its tokenizer, a fast one with a mask token.
        texts: N texts. One longer than `max_length` is cut into windows, each scored by itself.
        scheme: "word" or "token".
        stride: at least 2; see above.
        max_length: tokens in a window, special tokens included; default: the longest input of model and tokenizer.
        tokens_per_batch: bound on the tokens, padding included, of one forward pass; with a large vocabulary there are
            fewer, so that the logits stay below 1 GiB.
        show_progress: with a bar.

    Returns:
        N scores.

    Raises:
        ValueError: another scheme, `stride` below 2, or a tokenizer that is slow or has no mask token.
    """
    check_masking(scheme, stride)
    check_fast(tokenizer)
    if tokenizer.mask_token_id is None:
        raise ValueError(f"the tokenizer {tokenizer.name_or_path!r} has no mask token; a masked LM is needed")
    if not texts:
        return []
    plan = _Plan.of(tokenizer, texts, scheme, stride, input_length(model, tokenizer, max_length))
    device = next(model.parameters()).device
    windows = np.repeat(np.arange(len(plan.passes)), plan.passes)
    offsets = np.arange(len(windows)) - np.repeat(np.cumsum(plan.passes) - plan.passes, plan.passes)
    bound = tokens_that_fit(tokens_per_batch, model.config.get_text_config().vocab_size, 1 / stride)
    nats = torch.zeros(len(texts), dtype=torch.float64)
    with (
        evaluation_mode(model),
        tqdm(total=len(windows), desc="held-out loss", leave=False, disable=not show_progress) as bar,
    ):
        for batch in batches_by_length(plan.ids.lengths[windows].tolist(), bound):
            chosen = windows[batch]
            ids, attention = plan.ids.padded(chosen, tokenizer.pad_token_id), plan.ids.within(chosen)
            predicted, masked = plan.masks(chosen, offsets[batch])
            inputs = ids.masked_fill(masked, tokenizer.mask_token_id)
            on_device = predicted.to(device)
            with decode_only(model, on_device):
                logits = model(input_ids=inputs.to(device), attention_mask=attention.long().to(device)).logits
            if logits.dim() == 3:  # a model that doesn't call its output embeddings as a module
                logits = logits[on_device]
            losses = torch.nn.functional.cross_entropy(logits.float(), ids[predicted].to(device), reduction="none")
            rows = torch.from_numpy(plan.text_of[chosen])[predicted.nonzero()[:, 0]]
            nats.index_add_(0, rows, losses.cpu().double())
            bar.update(len(batch))
    content = plan.before.numbers >= 0
    text_of = np.repeat(plan.text_of, plan.ids.lengths)[content]
    return scores_of(
        texts, plan.characters, tokenizer, plan.ids.numbers[content], text_of, plan.spans[content], nats.numpy()
    )


def tokens_read(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int, *, stride: int = 7
) -> tuple[int, int]:
    """What scoring texts by word costs: tokens of all its forward passes without padding, and those it predicts."""
    if not texts:
        return 0, 0
    plan = _Plan.of(tokenizer, texts, "word", stride, max_length)
    return int(plan.passes @ plan.ids.lengths), int((plan.before.numbers >= 0).sum())


def check_masking(scheme: str, stride: int) -> None:
    """Raises `ValueError` for a scheme that isn't one, or a stride below 2."""
    if scheme not in get_args(Scheme):
        raise ValueError(f"scheme is {scheme!r}, but must be one of {', '.join(map(repr, get_args(Scheme)))}.")
    if stride < 2:
        raise ValueError(f"stride is {stride}, which would mask whole texts; it must be at least 2.")


@dataclass(frozen=True)
class _Plan:
    """W windows of texts, and which of their tokens are predicted and masked in which pass.

    Attributes:
        characters: of the texts.
        text_of: (W,) the text of each window.
        ids: tokens of each window.
        spans: (all tokens, 2) their characters.
        position: of each token among those of its window that are predicted.
        before: the tokens of its word that stand before each; -1 for special tokens, which are never masked.
        passes: (W,) passes over each window.
    """

    characters: Characters
    text_of: np.ndarray
    ids: Rows
    spans: np.ndarray
    position: Rows
    before: Rows
    passes: np.ndarray

    @classmethod
    def of(
        cls, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], scheme: Scheme, stride: int, max_length: int
    ) -> _Plan:
        tokens_of, spans_of = text_tokens(tokenizer, texts)
        prefix, suffix = special_frame(tokenizer)
        room = max_length - len(prefix) - len(suffix)
        if room < 1:
            raise ValueError(
                f"max_length={max_length} has no room for text beside {len(prefix + suffix)} special tokens."
            )
        characters = Characters(texts)
        parts = [(number, first) for number, own in enumerate(tokens_of) for first in range(0, len(own), room)]
        text_of = np.array([number for number, _ in parts], dtype=np.int64)
        ids = Rows([[*prefix, *tokens_of[number][first : first + room], *suffix] for number, first in parts])
        column = np.arange(len(ids.numbers)) - np.repeat(ids.starts, ids.lengths)
        content = (column >= len(prefix)) & (column < np.repeat(ids.lengths, ids.lengths) - len(suffix))
        spans = np.zeros((len(content), 2), dtype=np.int64)
        spans[content] = np.array([span for own in spans_of for span in own], dtype=np.int64).reshape(-1, 2)
        window = np.repeat(np.arange(len(text_of)), ids.lengths)[content]
        tokens = np.bincount(window, minlength=len(text_of))
        place = np.arange(len(window)) - (np.cumsum(tokens) - tokens)[window]
        if scheme == "word":
            first, last = characters.words(text_of[window], spans[content])
            begins = np.ones(len(window), dtype=bool)
            # A token that has a part of two words makes them one.
            begins[1:] = first[1:] > np.maximum.accumulate(last)[:-1]
            begins |= place == 0
        else:
            begins = np.ones(len(window), dtype=bool)
        starts = np.flatnonzero(begins)
        word = np.cumsum(begins) - 1
        sizes = np.bincount(word, minlength=len(starts))
        before = np.arange(len(window)) - starts[word]
        longest, masked = np.zeros_like(tokens), np.zeros_like(tokens)
        np.maximum.at(longest, window, sizes[word])
        np.add.at(masked, window, sizes[word] - before)
        passes = np.minimum(np.maximum(longest, -(-stride * masked // np.maximum(tokens, 1))), tokens)
        position, ahead = np.zeros(len(content), dtype=np.int64), np.full(len(content), -1)
        position[content], ahead[content] = place, before
        return cls(characters, text_of, ids, spans, ids.alike(position), ids.alike(ahead), passes)

    def masks(self, windows: np.ndarray, offsets: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, L) bool each: what is predicted, and what is masked, in the passes `offsets` (B,) over `windows` (B,)."""
        before = self.before.padded(windows, -1)
        distance = (self.position.padded(windows, 0) - torch.from_numpy(offsets)[:, None]) % torch.from_numpy(
            self.passes[windows]
        )[:, None]  # from the predicted token before
        return (distance == 0) & (before >= 0), distance <= before


@contextlib.contextmanager
def decode_only(model: PreTrainedModel, chosen: torch.Tensor) -> Iterator[None]:
    """Inside, the output embeddings see the chosen positions (B, L) only: (n, V) logits instead of (B, L, V)."""

    def select(module, arguments):
        return (arguments[0][chosen], *arguments[1:])

    hook = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        hook.remove()
