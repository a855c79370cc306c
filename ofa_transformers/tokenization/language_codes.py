"""Tokens that name a language to a translation model, added as the tokenizer's class has its own."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from transformers import PreTrainedTokenizerBase

from .backend import follow_source_language


def add_language_codes(tokenizer: PreTrainedTokenizerBase, codes: Iterable[str]) -> PreTrainedTokenizerBase:
    """A copy of `tokenizer` with tokens such as `xyz_Latn`, after the last one; those that it has stay.

    They are special tokens among its additional ones, so that NLLB's and mBART's classes take them for `src_lang` and
    `tgt_lang`. All others keep their ids.

    Raises:
        ValueError: a code that is no single token of the tokenizer afterwards: one that its text or an ordinary piece has.
    """
    codes = list(dict.fromkeys(codes))
    known = tokenizer.get_vocab()
    other = copy.deepcopy(tokenizer)
    for code in codes:
        if not code or code != code.strip() or " " in code:
            raise ValueError(f"new_languages: {code!r} can't be a token; give a code such as 'xyz_Latn'.")
        if code in known and known[code] not in tokenizer.all_special_ids:
            raise ValueError(
                f"new_languages: the tokenizer has {code!r} as an ordinary piece of text; give a code that no text has."
            )
    new = [code for code in codes if code not in known]
    if new:
        other.add_special_tokens({"additional_special_tokens": new}, replace_extra_special_tokens=False)
        if isinstance(getattr(other, "lang_code_to_id", None), dict):  # mBART's
            other.lang_code_to_id.update((code, other.convert_tokens_to_ids(code)) for code in new)
        follow_source_language(other)
    return other
