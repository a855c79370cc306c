"""Which source token each target token is the same as (OFA, section 3.3: overlapping tokens)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ...tokenization.vocabulary import ROLES, Vocabulary, has_no_words, is_han


class MatchKind(IntEnum):
    """How a target token was matched."""

    NONE = 0
    EXACT = 1  # the same form
    CASE = 2  # the same form but for upper and lower case
    SPACING = 3  # the same form but for a leading space that says nothing about a word
    ROLE = 4  # special tokens of the same role, or the same spelling
    REJECTED = 5  # the source has it, but its languages hardly use it, so that it is composed; see overlap.py


@dataclass(frozen=True, eq=False)
class Matches:
    """For each of V_t target ids the source id, or -1 (`source_ids`, int64), and how (`kinds`, uint8 `MatchKind`)."""

    source_ids: np.ndarray
    kinds: np.ndarray


# A token with the first role may take its row from a source token with one of the others, in this order.
COUNTERPARTS = {
    "cls": ("cls", "bos"),
    "bos": ("bos", "cls"),
    "sep": ("sep", "eos"),
    "eos": ("eos", "sep"),
    "mask": ("mask",),
    "unk": ("unk",),
    "pad": ("pad",),
}


def match_tokens(
    source: Vocabulary,
    target: Vocabulary,
    *,
    fuzzy_match: bool = True,
    num_source_rows: int | None = None,
    relatives: Mapping[str, str] | None = None,
) -> Matches:
    """Matches target tokens to source tokens.

    Special tokens match special tokens only: by role, else by spelling. Ordinary tokens match ordinary tokens: by
    their canonical form, then, if `fuzzy_match`, by the form without regard to case (a source token in lower case is
    preferred, then the lower id), then without regard to a leading space where that says nothing about words:
    on punctuation, on added tokens, and on Han characters in WordPiece tokenizers, which cut around them.

    Args:
        source, target: the vocabularies.
        fuzzy_match: whether to go beyond equal forms.
        num_source_rows: source ids from here on have no embedding and match nothing.
        relatives: target tokens -> source tokens whose rows they take, as if they had their role.

    Raises:
        ValueError: one of the relatives isn't a token with an embedding, or a token needs none.
    """
    usable = len(source) if num_source_rows is None else min(len(source), num_source_rows)
    source_ids = np.full(len(target), -1, dtype=np.int64)
    kinds = np.zeros(len(target), dtype=np.uint8)

    by_form, by_spelling = _ordinary_forms(source, usable)
    ordinary = np.flatnonzero(target.exists & ~target.special).tolist()
    unmatched = []
    for index in ordinary:
        form = target.forms[index]
        found = by_spelling.get((target.tokens[index], form))
        if found is None:
            found = by_form.get(form)
        if found is None:
            unmatched.append(index)
        else:
            source_ids[index], kinds[index] = found, MatchKind.EXACT

    if fuzzy_match and unmatched:
        by_folded = _folded_forms(by_form)
        for index in unmatched:
            found, kind = by_folded.get(_fold(target.forms[index])), MatchKind.CASE
            if found is None and _spacing_says_nothing(source, target, index):
                form = target.forms[index]
                found, kind = by_form.get(form[1:] if form.startswith(b" ") else b" " + form), MatchKind.SPACING
            if found is not None:
                source_ids[index], kinds[index] = found, kind

    for index, found in _match_special(source, target, usable).items():
        source_ids[index], kinds[index] = found, MatchKind.ROLE
    for token, relative in (relatives or {}).items():
        if token in source.ids:
            raise ValueError(f"new_languages: the source has {token!r}, with a row of its own; leave it out.")
        index, found = target.ids[token], source.ids.get(relative, usable)
        if found >= usable:
            raise ValueError(
                f"new_languages: {token!r} shall be like {relative!r}, which is no token of the source; name one that it "
                "has."
            )
        source_ids[index], kinds[index] = found, MatchKind.ROLE
    return Matches(source_ids, kinds)


def _ordinary_forms(source: Vocabulary, usable: int) -> tuple[dict[bytes, int], dict[tuple[str, bytes], int]]:
    """Ids of the ordinary source tokens by form, and by spelling and form.

    Of tokens with one form the one with the shortest spelling counts, then the lowest id: `<0x41>` beside `A`, or
    `##.` beside `.` in BERT, never occurs in text, and its row was never trained. Only a target token that is spelled
    alike takes such a row, so that an extended vocabulary keeps all of its rows.
    """
    eligible = np.flatnonzero(source.exists & ~source.special)
    eligible = eligible[eligible < usable].tolist()
    eligible.sort(key=lambda index: (len(source.tokens[index]), index), reverse=True)
    by_form = {source.forms[index]: index for index in eligible}
    if len(by_form) == len(eligible):
        return by_form, {}
    kept = set(by_form.values())
    return by_form, {(source.tokens[i], source.forms[i]): i for i in eligible if i not in kept}


def _folded_forms(by_form: dict[bytes, int]) -> dict[str, int]:
    best: dict[str, tuple[bool, int]] = {}
    for form, index in by_form.items():
        folded = _fold(form)
        if folded is None:
            continue
        rank = (form.decode() != folded, index)
        if folded not in best or rank < best[folded]:
            best[folded] = rank
    return {folded: index for folded, (_, index) in best.items()}


def _fold(form: bytes) -> str | None:
    """The form without case; None for a part of a character, which has none."""
    try:
        return form.decode().casefold()
    except UnicodeDecodeError:
        return None


def _spacing_says_nothing(source: Vocabulary, target: Vocabulary, index: int) -> bool:
    if target.added[index]:
        return True
    try:
        text = target.forms[index].decode().strip(" ")
    except UnicodeDecodeError:
        return False
    return has_no_words(text) or (is_han(text) and "wordpiece" in (source.kind, target.kind))


def _match_special(source: Vocabulary, target: Vocabulary, usable: int) -> dict[int, int]:
    matched: dict[int, int] = {}
    for role in ROLES:
        index = target.roles.get(role)
        if index is None or index in matched:
            continue
        for counterpart in COUNTERPARTS[role]:
            found = source.roles.get(counterpart)
            if found is not None and found < usable:
                matched[index] = found
                break
    spelled = {source.tokens[i]: i for i in np.flatnonzero(source.special).tolist() if i < usable}
    for index in np.flatnonzero(target.special).tolist():
        if index not in matched and target.tokens[index] in spelled:
            matched[index] = spelled[target.tokens[index]]
    return matched
