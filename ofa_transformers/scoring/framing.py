"""The tokens of a text, none of them special, and the special tokens around it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from transformers import BatchEncoding, PreTrainedTokenizerBase


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


def text_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of each text alone, none of them special but the unknown one.

    `<mask>`, `</s>` and their like that a text happens to hold are text, for training and for scores alike.
    """
    return [ids for ids, _ in _tokens(tokenizer, texts, {})]


def text_tokens(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
    """As `text_ids`, of a fast tokenizer, and the begin and end in the text of the characters of each token."""
    found = _tokens(tokenizer, texts, {"return_offsets_mapping": True})
    return [ids for ids, _ in found], [spans for _, spans in found]


def word_tokens(
    tokenizer: PreTrainedTokenizerBase, sentences: Sequence[Sequence[str]]
) -> list[tuple[list[int], list[int]]]:
    """As `text_ids`, of a fast tokenizer, of sentences given as words, and the number of the word of each token."""

    def encoded(sentences: Sequence[Sequence[str]]) -> list[tuple[list[int], list[int]]]:
        found = _as_text(tokenizer, [list(words) for words in sentences], is_split_into_words=True)
        return [(ids, found.word_ids(number)) for number, ids in enumerate(found["input_ids"])]

    found = encoded(sentences) if sentences else []
    special, names = _special(tokenizer), tokenizer.all_special_tokens
    for number in [number for number, (ids, _) in enumerate(found) if not special.isdisjoint(ids)]:
        parts = [(place, part) for place, word in enumerate(sentences[number]) for part in _cut(word, names)[0]]
        ((ids, places),) = encoded([[part for _, part in parts]])
        found[number] = ids, [parts[place][0] for place in places]
    return found


def _special(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """What must not be among a text's tokens: a Unigram model, XLM-R's for one, has <s> and its like among its pieces."""
    return {i for i in tokenizer.all_special_ids if i != tokenizer.unk_token_id}


def _tokens(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], options: dict[str, Any]
) -> list[tuple[list[int], list[tuple[int, int]]]]:
    found = _encoded(tokenizer, list(texts), options)
    special = _special(tokenizer)
    for number in [number for number, (ids, _) in enumerate(found) if not special.isdisjoint(ids)]:
        parts, starts = _cut(texts[number], tokenizer.all_special_tokens)
        encoded = _encoded(tokenizer, parts, options)
        spans = [(begin + start, end + start) for start, (_, part) in zip(starts, encoded) for begin, end in part]
        found[number] = [i for ids, _ in encoded for i in ids], spans
    return found


def _encoded(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], options: dict[str, Any]
) -> list[tuple[list[int], list[tuple[int, int]]]]:
    if not texts:
        return []
    encoded = _as_text(tokenizer, texts, **options)
    return list(zip(encoded["input_ids"], encoded.get("offset_mapping", [[]] * len(texts))))


def _as_text(tokenizer: PreTrainedTokenizerBase, inputs: list, **options: Any) -> BatchEncoding:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    special_as_text = getattr(backend, "encode_special_tokens", None)
    try:
        return tokenizer(
            inputs,
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
            **options,
        )
    finally:  # Transformers leaves the last call's setting in the backend, which a caller may use by itself
        if special_as_text is not None:
            backend.encode_special_tokens = special_as_text


def _cut(line: str, names: Sequence[str]) -> tuple[list[str], list[int]]:
    """A line in parts none of which holds one of the names, each cut after its first character, and where they begin."""
    names = sorted(names, key=len, reverse=True)
    starts = [0, *(found.start() + 1 for found in re.finditer("|".join(map(re.escape, names)), line))]
    return [line[begin:end] for begin, end in zip(starts, [*starts[1:], len(line)])], starts
