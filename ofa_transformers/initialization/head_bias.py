"""The bias of a language-modelling head over a new vocabulary as training begins: of text, carried over, or as published."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from .mapping.token_mapping import TokenMapping
from .settings import InitializationSettings


_LINES, _SAMPLE = 4096, 512  # of the text that are kept, and those of them that a sample is


@dataclass(frozen=True)
class TargetText:
    """What is kept of the text to train on.

    Attributes:
        log_probabilities: (V_t,) float32, the log of each token's relative frequency, one added to every count.
        lines: some thousand of its lines, in random order.
    """

    log_probabilities: torch.Tensor
    lines: list[str]

    @property
    def sample(self) -> list[str]:
        """The first of the lines, some hundred."""
        return self.lines[:_SAMPLE]


def read_target_text(tokenizer: PreTrainedTokenizerBase, lines: Iterable[str]) -> TargetText:
    """Counts the tokens of `lines`, and draws some of the lines; in blocks, so that they may be any number.

    Raises:
        ValueError: no line has a token.
    """
    size = max(tokenizer.get_vocab().values()) + 1
    counts = torch.ones(size, dtype=torch.float64)
    draws = np.random.default_rng(0)
    kept: list[tuple[float, str]] = []
    lines = iter(lines)
    while block := list(itertools.islice(lines, 4096)):
        ids = tokenizer(block, add_special_tokens=False, verbose=False)["input_ids"]
        counts += torch.bincount(
            torch.tensor([token for line in ids for token in line], dtype=torch.long), minlength=size
        )
        # The lines with the smallest numbers of all are a random sample, whatever their number.
        kept += [(number, line) for number, line, tokens in zip(draws.random(len(block)), block, ids) if tokens]
        kept = sorted(kept)[:_LINES]
    if counts.sum() == size:
        raise ValueError("target_text has no text; pass lines of the text to train on, or None.")
    return TargetText((counts / counts.sum()).log().float(), [line for _, line in kept])


def make_bias(
    bias: torch.Tensor | None,
    mapping: TokenMapping,
    text: TargetText | None,
    settings: InitializationSettings,
) -> torch.Tensor | None:
    """The head's bias: log probabilities where there is text; else through the mapping, and the mean elsewhere.

    The published code draws it (factorized), or keeps positions (full size).
    """
    if bias is None:
        return None
    if text is not None:
        return text.log_probabilities.to(bias, copy=True)  # the model's own
    if not settings.authors_compatible:
        return mapping.apply(bias, fallback="mean", seed=settings.seed)
    made = bias.new_zeros(mapping.shape[0])
    if settings.embedding_size is None:
        shared = min(len(made), len(bias))
        made[:shared] = bias[:shared]
        return made
    bound = settings.embedding_size**-0.5
    # Drawn on the CPU, so that it is the same everywhere.
    drawn = torch.empty_like(made, device="cpu").uniform_(
        -bound, bound, generator=torch.Generator().manual_seed(settings.seed)
    )
    return drawn.to(made)
