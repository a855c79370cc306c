"""What a language model's scores of texts are, and how they add up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from .characters import Characters


@dataclass(frozen=True)
class MaskedLMScore:
    """Sums over some text, of a masked or a causal language model.

    Scores add up: `sum(scores, MaskedLMScore())` is the score of all their text.

    Attributes:
        nats: summed negative log-likelihood of the tokens, natural logarithm.
        tokens: how many tokens were predicted; special tokens are not.
        characters: Unicode code points of the text.
        unknown_characters: those among them that the tokenizer can't write: under an unknown token, or under none,
            white space excepted.
        unknown_bytes: the same in UTF-8.
    """

    nats: float = 0.0
    tokens: int = 0
    characters: int = 0
    unknown_characters: int = 0
    unknown_bytes: int = 0

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood of a token, in nats. Comparable between models with the same tokenizer only."""
        return self.nats / self.tokens if self.tokens else math.nan

    @property
    def bits(self) -> float:
        """Of the text: those of its tokens, and 8 for each byte that the tokenizer can't write.

        That is what the byte costs under a uniform model. Without it, a tokenizer that turns words into unknown tokens,
        which are easy to predict, would seem to predict the words.
        """
        return self.nats / math.log(2) + 8 * self.unknown_bytes

    @property
    def bits_per_character(self) -> float:
        """`bits` for each character of the text."""
        return self.bits / self.characters if self.characters else math.nan

    @property
    def unknown_share(self) -> float:
        """Of the characters, those that the tokenizer can't write."""
        return self.unknown_characters / self.characters if self.characters else math.nan

    def __add__(self, other: MaskedLMScore) -> MaskedLMScore:
        return MaskedLMScore(*(one + another for one, another in zip(astuple(self), astuple(other))))


def check_fast(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises `ValueError` for a tokenizer that doesn't say which characters a token stands for."""
    if not tokenizer.is_fast:
        raise ValueError(
            f"The tokenizer is a {type(tokenizer).__name__}, which is slow: it doesn't say which characters a token "
            "stands for. Load a fast one, with a tokenizer.json."
        )


def scores_of(
    texts: Sequence[str],
    characters: Characters,
    tokenizer: PreTrainedTokenizerBase,
    ids: np.ndarray,
    text_of: np.ndarray,
    spans: np.ndarray,
    nats: np.ndarray,
) -> list[MaskedLMScore]:
    """The scores of N texts from those of their n predicted tokens.

    Args:
        texts, characters: the texts.
        tokenizer: its tokenizer.
        ids: (n,) predicted tokens, all of the texts'.
        text_of: (n,) the text of each.
        spans: (n, 2) the characters of each.
        nats: (N,) summed over the tokens of each text.
    """
    unk = ids == (-1 if tokenizer.unk_token_id is None else tokenizer.unk_token_id)
    unknown, unknown_bytes = characters.unknown(text_of, spans, unk)
    tokens = np.bincount(text_of, minlength=len(texts))
    columns = (nats.tolist(), tokens.tolist(), map(len, texts), unknown.tolist(), unknown_bytes.tolist())
    return [MaskedLMScore(*row) for row in zip(*columns)]
