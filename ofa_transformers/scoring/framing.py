"""The special tokens around a text."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase


def special_frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer's template puts before a text, and after it."""
    probe = tokenizer("a", return_special_tokens_mask=True)
    ids, special = probe["input_ids"], probe["special_tokens_mask"]
    content = [place for place, flag in enumerate(special) if not flag] or [0]
    return ids[: content[0]], ids[content[-1] + 1 :] if not all(special) else []


def decoder_prefix(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What a decoder's text begins with, in training and in scores.

    What the template puts there; or else the bos token; or else the eos token, which then stands between texts. Empty
    where there is none of them.
    """
    prefix, _ = special_frame(tokenizer)
    if prefix:
        return prefix
    found = [token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None]
    return found[:1]
