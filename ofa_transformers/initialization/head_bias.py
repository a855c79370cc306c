"""The bias of a masked-LM head over a new vocabulary: carried over, drawn as published, or fitted to text."""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..models.embeddings import find_head_bias
from ..scoring.batching import evaluation_mode
from .mapping.token_mapping import TokenMapping
from .predictions import PredictedLines
from .run import Run
from .settings import InitializationSettings


logger = logging.get_logger(__name__)

# Of the text that the head is calibrated with: lines kept, tokens in all.
_LINES, _TOKENS = 512, 4096
_BATCH = 16  # lines, or rows that are decoded at a time


@dataclass(frozen=True)
class TargetText:
    """What is kept of the text to train on.

    Attributes:
        log_probabilities: (V_t,) float32, the log of each token's relative frequency, one added to every count.
        sample: some of its lines, in random order.
    """

    log_probabilities: torch.Tensor
    sample: list[str]


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


def fit_bias(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: TargetText | None, run: Run) -> str:
    """Fits the bias in its place to the text, where there is some; says what it is now, as the report does."""
    if text is None:
        return "carried"
    with run("head bias"):
        return "calibrated" if calibrate_bias(model, tokenizer, text) else "log_probability"


@torch.no_grad()
def calibrate_bias(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: TargetText) -> bool:
    """Sets the head's bias so that the model predicts each token about as often as the text has it. Beyond the paper.

    A head's outputs h favour some tokens wherever they come from: in the source this makes up for a part of the
    frequencies, for new rows e_v it is an accident, and log probabilities p_v come on top of it. With mean m and
    covariance S of h at masked positions of the text, the bias

        b_v = log p_v - m·e_v - ½ e_v' S e_v

    makes the expectation of exp(h·e_v + b_v) equal to p_v, were h normally distributed. m·e_v and e_v' S e_v are mean and
    variance of the token's logit without bias. The evidence is in examples/replication.

    Computed on one thread: the number of them would show in the last bits.

    Args:
        model: the adapted model; changed in place.
        tokenizer: its tokenizer.
        text: to predict.

    Returns:
        Whether it did: False for a model without such a bias, and with a warning where outputs aren't finite.
    """
    bias = find_head_bias(model)
    if bias is None or model.config.is_encoder_decoder:
        return False
    former = bias.clone()
    bias.zero_()
    with evaluation_mode(model), _one_thread():
        moments = _Moments()
        lines = PredictedLines(model, tokenizer, text.sample)
        count = int(np.searchsorted(np.cumsum(lines.ids.lengths), _TOKENS)) + 1
        for start in range(0, min(count, len(text.sample)), _BATCH):
            found = lines.logits(model, range(start, min(start + _BATCH, count, len(text.sample))))
            if found is not None:
                moments.add(found[0])
    if moments.count < 2:
        bias.copy_(former)
        return False
    shift = moments.mean() + moments.variance() / 2
    if not torch.isfinite(shift).all():
        bias.copy_(former)
        logger.warning("The head's bias is not calibrated: the model's outputs on target_text are not finite.")
        return False
    bias.copy_(text.log_probabilities.to(shift) - shift)
    return True


class _Moments:
    """Mean and variance of each column of what is added, (n, V) at a time; float64 sums of what is left of a first row."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, values: torch.Tensor) -> None:
        for rows in values.split(_BATCH):
            if not self.count:
                self.first = rows[0].float()
                self.sums = torch.zeros_like(self.first, dtype=torch.float64)
                self.squares = torch.zeros_like(self.sums)
            rows = rows.float() - self.first
            self.count += len(rows)
            self.sums += rows.sum(dim=0)
            self.squares += rows.square().sum(dim=0)

    def mean(self) -> torch.Tensor:
        return (self.first + self.sums / self.count).float()

    def variance(self) -> torch.Tensor:
        return ((self.squares - self.sums.square() / self.count) / (self.count - 1)).float()


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
