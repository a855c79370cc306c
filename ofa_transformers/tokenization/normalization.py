"""What a tokenizer's normaliser takes from text: accents, case, and with them words."""

from __future__ import annotations

import itertools
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, models, normalizers
from transformers import PreTrainedTokenizerBase

from ..text.corpus import by_language, checked
from ..text.segmentation import WordSplitter
from .backend import load_fast_tokenizer


# Above this share of a language's words, somebody should know.
WARNED_SHARE = 0.01

# Of a language, distinct words that are compared; later ones are passed over.
_TYPES = 200_000

# What decomposes before accents are taken away, and what does the same and composes again.
_COMPOSING = {"NFD": "NFC", "NFKD": "NFKC"}


@dataclass(frozen=True)
class MergedWords:
    """Words of one language that are one word to a tokenizer.

    Attributes:
        types: distinct words, case and compatible forms (ﬁ, fi) aside.
        merged_types: of these, the ones that the normaliser makes equal to another.
        words: running words.
        merged_words: of these, the ones that are such.
        examples: the most frequent groups of equal words, up to three words of each.
    """

    types: int
    merged_types: int
    words: int
    merged_words: int
    examples: tuple[tuple[str, ...], ...]

    @property
    def share(self) -> float:
        """Of the distinct words."""
        return self.merged_types / self.types if self.types else 0.0


def measure_merged_words(
    tokenizer: PreTrainedTokenizerBase | str | os.PathLike,
    texts: Mapping[str, Iterable[str]] | Sequence[os.PathLike],
) -> dict[str, MergedWords]:
    """Which share of the words of each language falls together under a tokenizer's normaliser, and which words.

    Ewe has `mí` (we) and `mi` (you), `gã` (big) and `ga` (money): to a tokenizer that strips accents, one word each.
    What differs in case only is one word here, so that a tokenizer that folds case and nothing else merges none.

    Args:
        tokenizer: a fast one, or a folder or Hub id with a tokenizer.json.
        texts: language -> lines, or a list of paths whose names begin with the language.

    Raises:
        ValueError: a tokenizer that isn't fast; no text.
    """
    normalizer = load_fast_tokenizer(tokenizer).backend_tokenizer.normalizer
    return {
        language: merged_words(TypeCounter(checked(language, text)).table, normalizer)
        for language, text in by_language(texts).items()
    }


class TypeCounter:
    """Distinct words with their numbers, case and compatible forms aside.

    Attributes:
        table: word -> how often, of the first 200,000 distinct ones.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.table: Counter[str] = Counter()
        self._split = WordSplitter("characters")
        self.update(lines)

    def update(self, lines: Iterable[str]) -> None:
        for line in lines:
            if len(self.table) >= _TYPES:
                break
            self.table.update(self._split(unicodedata.normalize("NFKC", line).casefold()))


def merged_words(table: Mapping[str, int], normalizer: normalizers.Normalizer | None) -> MergedWords:
    """What a normaliser does to the words of a table."""
    groups: dict[str, list[str]] = {}
    if normalizer is not None:
        for word in table:
            groups.setdefault(normalizer.normalize_str(word).casefold(), []).append(word)
    merged = [sorted(group, key=lambda word: (-table[word], word)) for group in groups.values() if len(group) > 1]
    # First those whose second word is frequent: there two words are lost, and no misspelling.
    merged.sort(key=lambda group: (-table[group[1]], group))
    return MergedWords(
        types=len(table),
        merged_types=sum(map(len, merged)),
        words=sum(table.values()),
        merged_words=sum(table[word] for word in itertools.chain.from_iterable(merged)),
        examples=tuple(tuple(group[:3]) for group in merged[:3]),
    )


def merged_words_notes(
    tokenizer: PreTrainedTokenizerBase, texts: Mapping[str, Iterable[str]], name: str = "tokenizer"
) -> list[str]:
    """A sentence for each language of which more than a hundredth of the words falls together."""
    return notes_on({name: measure_merged_words(tokenizer, texts)})


def notes_on(found: Mapping[str, Mapping[str, MergedWords]]) -> list[str]:
    """As `merged_words_notes`, of what was measured: tokenizer -> language -> words."""
    notes = []
    for name, language, merged in ((n, lang, merged) for n, each in found.items() for lang, merged in each.items()):
        if merged.share > WARNED_SHARE:
            examples = ", ".join(" = ".join(group) for group in merged.examples)
            notes.append(
                f"{name}: its normaliser makes {merged.share:.1%} of the words of {language} equal to others "
                f"({merged.merged_words / merged.words:.0%} of the running text), such as {examples}. A tokenizer that "
                "keeps accents tells them apart."
            )
    return notes


def keeping_accents_and_case(normalizer: normalizers.Normalizer | None) -> normalizers.Normalizer | None:
    """The normaliser without what strips accents and folds case; the same one if it does neither."""
    if normalizer is None:
        return None
    state = json.loads(normalizer.__getstate__())
    kept = _keeping(state)
    if kept == state:
        return normalizer
    carrier = json.loads(Tokenizer(models.BPE()).to_str()) | {"normalizer": kept}
    return Tokenizer.from_str(json.dumps(carrier)).normalizer


def _keeping(state: dict[str, Any]) -> dict[str, Any] | None:
    kind = state["type"]
    if kind in ("Lowercase", "StripAccents"):
        return None
    if kind == "BertNormalizer" and (state["lowercase"] or state["strip_accents"]):
        return state | {"lowercase": False, "strip_accents": False}
    if kind == "Sequence":
        members = state["normalizers"]
        strips = any(member["type"] == "StripAccents" for member in members)
        kept = [_keeping(member) for member in members]
        if strips:
            kept = [m and {"type": _COMPOSING.get(m["type"], m["type"])} | _rest(m) for m in kept]
        return state | {"normalizers": [member for member in kept if member is not None]}
    return state


def _rest(member: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in member.items() if key != "type"}
