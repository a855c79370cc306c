"""Text that shows whether two tokenizers are one: something of every script of a vocabulary, and what they differ in."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from ..text.scripts import scripts_of


_TOKENS = 20_000  # tokens that are looked at, evenly spaced
_PER_SCRIPT = 40  # pieces and characters of a script
_LINES = 256  # of the user's text
_SPECIAL = 64  # special and added tokens

# What normalisers, pre-tokenizers and decoders differ in: spaces, breaks, marks, digits, case, contractions, joiners.
_TRICKY = [
    "two  spaces,\ttab,\nnew line\r\n\n and\u00a0no break\u3000wide ",
    " leading and trailing ",
    "",
    " ",
    "e\u0301 é a\u0308 ä ﬁ ² Ⅳ ｆｕｌｌ İ ß ẞ ς",
    "I'm you're 'tis don't DON'T l'été it’s",
    "12345 3.14 1,000 2026-01-31 #hash @user http://example.org/a_b?c=d ``quoted'' … — (a) [b] {c} <d>",
    "می\u200cخواهم ශ\u0dca\u200dරී 👩\u200d👩\u200d👧 🇩🇪 😀",
    "camelCase UPPER Title words_with_underscores ▁mark Ġmark ##mark",
]


def sample_text(
    tokenizer: PreTrainedTokenizerBase, text: Iterable[str] | Mapping[str, Iterable[str]] = ()
) -> list[str]:
    """Some hundred lines, the same ones for the same tokenizer.

    Args:
        tokenizer: its pieces and characters, by script, as they are, decomposed and in capitals; its special tokens.
        text: lines that are taken along, the first 256; of text by language, the first of each.
    """
    if isinstance(text, Mapping):
        each = max(_LINES // max(len(text), 1), 1)
        text = itertools.chain.from_iterable(itertools.islice(lines, each) for lines in text.values())
    lines = [*_TRICKY, *itertools.islice(text, _LINES)]
    pieces = _by_script(readable_pieces(tokenizer))
    characters = _by_script(_characters(tokenizer))
    for parts, joint in ((pieces, " "), (characters, ""), (characters, " ")):
        for found in parts.values():
            chosen = _spread(found, _PER_SCRIPT)
            for start in range(0, len(chosen), 8):
                line = joint.join(chosen[start : start + 8])
                lines += {line, unicodedata.normalize("NFD", line), line.upper()} if joint else [line]
    special = [*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()]
    lines += [f"one {token} two{token}three" for token in _spread(list(dict.fromkeys(special)), _SPECIAL)]
    return sorted(set(lines), key=lines.index)


def readable_pieces(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """How tokens read, up to 20,000, evenly spaced; without those that are no whole characters."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if isinstance(backend, Tokenizer):
        size = backend.get_vocab_size(with_added_tokens=True)
        ids = [[index] for index in _spread(range(size), _TOKENS)]
        found = backend.decode_batch(ids, skip_special_tokens=True)
    else:
        tokens = sorted(tokenizer.get_vocab())
        found = [tokenizer.convert_tokens_to_string([token]) for token in _spread(tokens, _TOKENS)]
    return [piece for text in found if (piece := text.strip()) and "\ufffd" not in piece and piece.isprintable()]


def _characters(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The letters that the vocabulary is written in; of a byte-level one, those that stand for bytes."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if isinstance(backend, Tokenizer):
        text = backend.model.__getstate__().decode()
    else:
        text = "".join(tokenizer.get_vocab())
    # Counted as numbers: some ten million characters of a large vocabulary, of which some ten thousand are distinct.
    code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return [character for character in map(chr, np.flatnonzero(np.bincount(code_points))) if character.isalpha()]


def _by_script(texts: list[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for script, text in zip(scripts_of(texts).tolist(), texts):
        groups.setdefault(script, []).append(text)
    return groups


def _spread(items: Sequence, number: int) -> list:
    """At most `number` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= number:
        return list(items)
    return [items[i * (len(items) - 1) // (number - 1)] for i in range(number)]
