"""How much an extended tokenizer changes text that the old one knew."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from ..text.corpus import by_language, checked
from .backend import load_fast_tokenizer, plain_backend
from .word_counts import word_splitter


_BLOCK = 1024  # lines tokenized at once


@dataclass(frozen=True)
class TokenizationChange:
    """What becomes of the text of one language.

    Attributes:
        words: words as the tokenizer's model gets them (pre-tokenized).
        words_changed: those that are cut in another way.
        words_changed_without_new_piece: of these, the ones without a new piece. An extension should have none.
        tokens_before, tokens_after: of all lines, without special tokens at the ends.
        lines: lines of text.
        lines_decoded_otherwise: lines that no longer decode to what they decoded to. An extension should have none but
            those with tokens that were unknown before.
        lines_with_unknown_before: for comparison.
    """

    words: int
    words_changed: int
    words_changed_without_new_piece: int
    tokens_before: int
    tokens_after: int
    lines: int
    lines_decoded_otherwise: int
    lines_with_unknown_before: int

    @property
    def share_changed(self) -> float:
        return self.words_changed / self.words


def measure_changes(
    old: PreTrainedTokenizerBase | str | os.PathLike,
    extended: PreTrainedTokenizerBase | str | os.PathLike,
    texts: Mapping[str, Iterable[str]] | Sequence[os.PathLike],
) -> dict[str, TokenizationChange]:
    """Tokenizes `texts` with both and compares, per language.

    Raises:
        ValueError: `extended` lacks a token of `old` or has it under another id; a language without text.
    """
    old, extended = load_fast_tokenizer(old), load_fast_tokenizer(extended)
    ids, new_ids = old.get_vocab(), extended.get_vocab()
    moved = next((token for token, index in ids.items() if new_ids.get(token) != index), None)
    if moved is not None:
        raise ValueError(
            f"extended is no extension of old: the token {moved!r} has the id {ids[moved]} in old and "
            f"{new_ids.get(moved)} in extended"
        )
    first = max(ids.values()) + 1
    unk = old.unk_token_id
    before, after = plain_backend(old), plain_backend(extended)
    split = word_splitter(before)
    tokenize, tokenize_after = before.model.tokenize, after.model.tokenize
    changes = {}
    for language, text in by_language(texts).items():
        table: Counter[str] = Counter()
        sums: Counter[str] = Counter()
        lines = (line for line in checked(language, text) if line and not line.isspace())
        while block := list(itertools.islice(lines, _BLOCK)):
            for line in block:
                table.update(split(line))
            a, b = ([e.ids for e in t.encode_batch_fast(block, add_special_tokens=False)] for t in (before, after))
            sums["tokens_before"] += sum(map(len, a))
            sums["tokens_after"] += sum(map(len, b))
            sums["lines"] += len(block)
            sums["lines_with_unknown_before"] += 0 if unk is None else sum(unk in line for line in a)
            decoded = (t.decode_batch(i, skip_special_tokens=False) for t, i in ((before, a), (after, b)))
            sums["lines_decoded_otherwise"] += sum(x != y for x, y in zip(*decoded))
        if not table:
            raise ValueError(f"no text for: {language}")
        for word, count in table.items():
            cut, cut_after = ([token.id for token in f(word)] for f in (tokenize, tokenize_after))
            sums["words"] += count
            if cut != cut_after:
                sums["words_changed"] += count
                sums["words_changed_without_new_piece"] += count * (max(cut_after, default=0) < first)
        names = TokenizationChange.__dataclass_fields__
        changes[language] = TokenizationChange(**{name: sums[name] for name in names})
    return changes
