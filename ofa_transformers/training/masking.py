"""Collators: padding, and masks that are a function of the seed and the sample's position in the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ..tokenization.vocabulary import Vocabulary, has_no_words, is_han
from . import randomness


# A longer run of tokens than this is no word, but text without spaces (Thai, Chinese).
MAX_WORD_TOKENS = 8

IGNORED = -100


class MaskingCollator:
    """Samples to a padded batch for a masked LM, with BERT's dynamic masking (Devlin et al., 2019, section 3.1).

    15 % of the tokens are chosen, at least one a sample; of the chosen 80 % become the mask token, 10 % another token and
    10 % stay. Special tokens are never chosen. The choice depends on `seed` and the sample's `position` only, so it is
    the same on any number of processes and workers, and after resuming.

    Args:
        tokenizer: with a mask and a pad token; for `whole_words` a fast one of any kind.
        seed: not negative.
        probability: share of tokens that are chosen.
        whole_words: choose all tokens of a word or none. Words are told by the vocabulary (`▁`, `Ġ`, `##`), and begin at
            punctuation and Han characters too; what is longer than eight tokens is no word, and chosen token by token.
        pad_to_multiple_of: a multiple for the width of batches.

    Raises:
        ValueError: a tokenizer without mask or pad token; a probability that is none.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        seed: int = 0,
        probability: float = 0.15,
        whole_words: bool = False,
        pad_to_multiple_of: int | None = None,
    ) -> None:
        for role in ("mask", "pad"):
            if getattr(tokenizer, f"{role}_token_id") is None:
                raise ValueError(
                    f"The tokenizer has no {role} token, which masked language modelling needs, of translations, too; give "
                    f"the tokenizer of a masked LM, train a decoder as one (--causal, run_clm.py), or an encoder on "
                    f"translations without masks (--distill with a parallel_share of 1)."
                )
        if not 0 < probability < 1:
            raise ValueError(f"The masking probability must lie between 0 and 1, but is {probability}.")
        self.seed = seed
        self.probability = probability
        self.pad_to_multiple_of = pad_to_multiple_of
        self.pad_token_id = tokenizer.pad_token_id
        self.mask_token_id = tokenizer.mask_token_id
        self.special = np.zeros(max(len(tokenizer), max(tokenizer.get_vocab().values()) + 1), dtype=bool)
        self.special[tokenizer.all_special_ids] = True
        self.ordinary = np.flatnonzero(~self.special)
        self.marks = word_marks(tokenizer) if whole_words else None

    def __call__(self, samples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """B samples of `input_ids` and `position` to (B, L) int64 `input_ids`, `attention_mask` and `labels`."""
        ids, attention = padded(samples, self.pad_token_id, self.pad_to_multiple_of)
        draws = np.ones((3, *ids.shape), dtype=np.float32)
        for row, sample in enumerate(samples):
            length = len(sample["input_ids"])
            source = randomness.generator(self.seed, randomness.MASKS, sample["position"])
            draws[:, row, :length] = source.random((3, length), dtype=np.float32)
        choice, action, replacement = draws
        if self.marks is not None:
            choice = shared_by_word(choice, word_starts(ids, self.special, *self.marks))
        choice = np.where(self.special[ids] | ~attention, np.float32(2), choice)
        # A sample without labels would teach nothing; in a batch of its own its loss would be 0 / 0.
        lowest = choice.min(axis=1, keepdims=True)
        chosen = (choice < np.maximum(self.probability, np.nextafter(lowest, np.float32(2)))) & (choice < 1)
        labels = np.where(chosen, ids, IGNORED)
        inputs = np.where(chosen & (action < 0.8), self.mask_token_id, ids)
        others = self.ordinary[(replacement * len(self.ordinary)).astype(np.int64) % len(self.ordinary)]
        inputs = np.where(chosen & (action >= 0.9), others, inputs)
        return as_batch(inputs, attention, labels)


class CausalCollator:
    """Samples to a padded batch for a decoder: the labels are the tokens, padding excepted.

    Args:
        tokenizer: any; where it has no pad token, id 0 fills the room that the attention mask leaves out.
        pad_to_multiple_of: a multiple for the width of batches.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, pad_to_multiple_of: int | None = None) -> None:
        self.pad_token_id = tokenizer.pad_token_id or 0
        self.pad_to_multiple_of = pad_to_multiple_of

    def __call__(self, samples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """B samples of `input_ids` to (B, L) int64 `input_ids`, `attention_mask` and `labels`."""
        ids, attention = padded(samples, self.pad_token_id, self.pad_to_multiple_of)
        return as_batch(ids, attention, np.where(attention, ids, IGNORED))


def padded(samples: Sequence[dict[str, Any]], pad: int, multiple: int | None) -> tuple[np.ndarray, np.ndarray]:
    """(B, L) ids, int64, and (B, L) bool, which of them are content."""
    lengths = np.array([len(sample["input_ids"]) for sample in samples])
    width = lengths.max()
    if multiple:
        width += -width % multiple
    attention = np.arange(width) < lengths[:, None]
    ids = np.full(attention.shape, pad, dtype=np.int64)
    ids[attention] = np.concatenate([sample["input_ids"] for sample in samples])
    return ids, attention


def as_batch(ids: np.ndarray, attention: np.ndarray, labels: np.ndarray) -> dict[str, torch.Tensor]:
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(attention.astype(np.int64)),
        "labels": torch.from_numpy(labels),
    }


def word_marks(tokenizer: PreTrainedTokenizerBase) -> tuple[np.ndarray, np.ndarray]:
    """(V,) bool each: tokens that begin a word, and tokens that end one."""
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    texts = [b"" if form is None else form for form in vocabulary.forms]
    begins = np.array([text.startswith(b" ") or _stands_alone(text) for text in texts])
    ends = np.array([text.endswith(b" ") for text in texts]) if vocabulary.kind == "suffix" else np.zeros_like(begins)
    return begins, ends


def _stands_alone(form: bytes) -> bool:
    text = form.decode("utf-8", "ignore")
    return has_no_words(text) or is_han(text)


def word_starts(ids: np.ndarray, special: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(B, L) bool: positions where a word begins; special tokens are words by themselves."""
    starts = begins[ids] | special[ids]
    starts[:, 1:] |= ends[ids[:, :-1]] | special[ids[:, :-1]]
    starts[:, 0] = True
    return starts


def shared_by_word(draws: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """`draws` (B, L) with that of a word's first token for all of them, in words of at most `MAX_WORD_TOKENS`."""
    firsts = np.flatnonzero(starts)
    lengths = np.diff(firsts, append=starts.size)
    shared = np.repeat(draws.ravel()[firsts], lengths)
    is_word = np.repeat(lengths <= MAX_WORD_TOKENS, lengths)
    return np.where(is_word, shared, draws.ravel()).reshape(draws.shape)
