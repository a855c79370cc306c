"""Held-out loss of a masked language model, every token predicted once."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .batching import batches_by_length, evaluation_mode, input_length, tokens_that_fit


@dataclass(frozen=True)
class MaskedLMScore:
    """Sums over some text. Scores add up: `sum(scores, MaskedLMScore())` is the score of all their text.

    Attributes:
        nats: summed negative log-likelihood of the tokens, natural logarithm.
        tokens: how many tokens were predicted; special tokens are not.
        characters: Unicode code points of the text.
    """

    nats: float = 0.0
    tokens: int = 0
    characters: int = 0

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood of a token, in nats. Comparable between models with the same tokenizer only."""
        return self.nats / self.tokens if self.tokens else math.nan

    @property
    def bits_per_character(self) -> float:
        """Negative log2-likelihood of the text for each of its characters; comparable across tokenizers."""
        return self.nats / math.log(2) / self.characters if self.characters else math.nan

    def __add__(self, other: MaskedLMScore) -> MaskedLMScore:
        return MaskedLMScore(self.nats + other.nats, self.tokens + other.tokens, self.characters + other.characters)


@torch.no_grad()
def score_masked_lm(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    stride: int = 7,
    max_length: int | None = None,
    tokens_per_batch: int = 4096,
    show_progress: bool = False,
) -> list[MaskedLMScore]:
    """Score each text with every token masked exactly once.

    A text is read `stride` times; the j-th time the tokens at positions j, j + stride, j + 2 stride, ... are replaced by
    the mask token and predicted. With the default of 7, one token of seven is masked at a time, about the 15 % that
    masked LMs are trained with. With a `stride` of at least the number of tokens this is the pseudo-log-likelihood of
    Salazar et al. (2020), which masks a single token at a time. There is no chance in it: the same model and text give
    the same score.

    Args:
        model: a masked LM.
        tokenizer: its tokenizer, with a mask token.
        texts: N texts. One longer than `max_length` is cut into windows, each scored by itself.
        stride: at least 2.
        max_length: tokens in a window, special tokens included; default: the longest input of model and tokenizer.
        tokens_per_batch: bound on the tokens, padding included, of one forward pass; with a large vocabulary there are
            fewer, so that the logits stay below 1 GiB.

    Returns:
        N scores.

    Raises:
        ValueError: `stride` below 2, or a tokenizer without a mask token.
    """
    if stride < 2:
        raise ValueError(f"stride={stride} would mask whole texts; it must be at least 2")
    if tokenizer.mask_token_id is None:
        raise ValueError("the tokenizer has no mask token; a masked LM is needed")
    device = next(model.parameters()).device
    max_length = input_length(model, tokenizer, max_length)
    windows: list[tuple[int, list[int], list[int]]] = []  # text, its tokens, the positions of those to predict
    if texts:
        encoded = tokenizer(
            list(texts),
            truncation=True,
            max_length=max_length,
            return_overflowing_tokens=True,
            return_special_tokens_mask=True,
        )
        for number, ids, special in zip(
            encoded["overflow_to_sample_mapping"], encoded["input_ids"], encoded["special_tokens_mask"]
        ):
            windows.append((number, ids, [position for position, flag in enumerate(special) if not flag]))
    passes = [
        (number, window, positions[offset::stride])
        for number, window, positions in windows
        for offset in range(min(stride, len(positions)))
    ]
    bound = tokens_that_fit(tokens_per_batch, model.config.get_text_config().vocab_size, 1 / stride)
    nats = torch.zeros(len(texts), dtype=torch.float64)
    with (
        evaluation_mode(model),
        tqdm(total=len(passes), desc="held-out loss", leave=False, disable=not show_progress) as bar,
    ):
        for batch in batches_by_length([len(window) for _, window, _ in passes], bound):
            chosen = [passes[i] for i in batch]
            width = max(len(window) for _, window, _ in chosen)
            ids = torch.full((len(chosen), width), tokenizer.pad_token_id)
            attention = torch.zeros_like(ids)
            masked = torch.zeros_like(ids, dtype=torch.bool)
            for row, (_, window, positions) in enumerate(chosen):
                ids[row, : len(window)] = torch.tensor(window)
                attention[row, : len(window)] = 1
                masked[row, positions] = True
            inputs = ids.masked_fill(masked, tokenizer.mask_token_id)
            masked_on_device = masked.to(device)
            with decode_only(model, masked_on_device):
                logits = model(input_ids=inputs.to(device), attention_mask=attention.to(device)).logits
            if logits.dim() == 3:  # a model that doesn't call its output embeddings as a module
                logits = logits[masked_on_device]
            losses = torch.nn.functional.cross_entropy(logits.float(), ids[masked].to(device), reduction="none")
            rows = torch.tensor([number for number, _, _ in chosen])[masked.nonzero()[:, 0]]
            nats.index_add_(0, rows, losses.double().cpu())
            bar.update(len(chosen))
    tokens = [0] * len(texts)
    for number, _, positions in windows:
        tokens[number] += len(positions)
    return [MaskedLMScore(nats=float(nats[i]), tokens=tokens[i], characters=len(text)) for i, text in enumerate(texts)]


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
