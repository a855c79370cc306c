"""Matching as the published OFA code does it, accidents included, for comparison with published results.

Beside what `matches` does better, that code compares special tokens by spelling alone, compares byte-level tokens
by their decoded text (parts of characters all become U+FFFD, and spaces before punctuation are lost), keeps the
highest id of equal forms, and cannot match source id 0 without regard to case.
"""

import numpy as np

from ...tokenization.vocabulary import Vocabulary
from .matches import Matches, MatchKind


# The published heuristic: a tokenizer is of a kind if more than this many tokens begin with its mark.
_MARKED_TOKENS = 100

# `clean_up_tokenization` of Transformers 4, which its fast tokenizers applied on decoding unless told otherwise.
_CLEAN_UP = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"),
    (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


def match_tokens_as_published(source: Vocabulary, target: Vocabulary, *, fuzzy_match: bool = True) -> Matches:
    """`get_overlapping_tokens` of the published code, as arrays."""
    by_text_source, by_text_target = _by_text(source), _by_text(target)
    matched = {
        index: (by_text_source[text], MatchKind.EXACT)
        for text, index in by_text_target.items()
        if text in by_text_source
    }
    if fuzzy_match:
        by_lower = {text.lower(): index for text, index in sorted(by_text_source.items())}  # the last one stays
        for text, index in by_text_target.items():
            found = by_lower.get(text.lower())
            if index not in matched and found:  # so written: id 0 counts as none
                matched[index] = (found, MatchKind.CASE)
    source_ids = np.full(len(target), -1, dtype=np.int64)
    kinds = np.zeros(len(target), dtype=np.uint8)
    for index, (found, kind) in matched.items():
        source_ids[index], kinds[index] = found, kind
    return Matches(source_ids, kinds)


def _by_text(vocabulary: Vocabulary) -> dict[str, int]:
    """Standardized text -> id, the highest id where several tokens have the same text."""
    ids = np.flatnonzero(vocabulary.exists).tolist()
    tokens = [vocabulary.tokens[i] for i in ids]
    if sum(token.startswith("▁") for token in tokens) > _MARKED_TOKENS:
        texts = [token.replace("▁", " ") for token in tokens]
    else:
        texts = _decoded(vocabulary, ids)
        if sum(token.startswith("##") for token in tokens) > _MARKED_TOKENS:
            texts = [text[2:] if text.startswith("##") else " " + text for text in texts]
    return dict(zip(texts, ids))


def _decoded(vocabulary: Vocabulary, ids: list[int]) -> list[str]:
    tokenizer = vocabulary.tokenizer
    texts = tokenizer.backend_tokenizer.decode_batch([[i] for i in ids], skip_special_tokens=False)
    if tokenizer.init_kwargs.get("clean_up_tokenization_spaces", True):
        for spaced, clean in _CLEAN_UP:
            texts = [text.replace(spaced, clean) for text in texts]
    return texts
