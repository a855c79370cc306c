"""A large tokenizer's stand-in: the same but for the spelling of pieces that a sample of text isn't cut into.

A Unigram model keeps its pieces in a tree of bytes. For 400,000 of them, the tokenizers library takes most of the time of
loading to build it, and half as long to take it apart; where the rest has short spellings, a fifth of that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase


TOKENIZER_FILE = "tokenizer.json"

# Vocabularies below are read as they are, which takes half a second at the most.
SMALLEST = 100_000

# Before the number of a piece, in place of its spelling.
_MARK = "\U0010fffd".encode()
# Classes of tokenizers know tokens by name: such as look like it, and the first and last ones, keep theirs.
_NAME = re.compile(rb"[<>\[\]|_]")
_ENDS = 1000

# A list of pieces and scores as tokenizer.json has it, and as a model's state does. No string of JSON holds a line break,
# nor a quotation mark without a backslash, so that these are found nowhere else.
_IN_FILE = (b'"vocab": [\n      [\n        "', b'\n      ],\n      [\n        "', b'",\n        ', b"\n      ]\n    ]")
_IN_STATE = (b'"vocab":[["', b'],["', b'",', b"]]")


def write_stand_in(tokenizer: PreTrainedTokenizerBase, folder: Path, ids: Iterable[int], to: Path) -> bytes | None:
    """Puts into the folder `to` what `folder` has, with a tokenizer.json in which other pieces than `ids` are numbers.

    Number, order, ids and scores of the pieces are the same, and so is all else.

    Args:
        tokenizer: what the tokenizer.json in `folder` was written from; it is compared, piece by piece and score by score.
        ids: of pieces that keep their spelling.

    Returns:
        The state of the Unigram model that the stand-in must have where it is read. None, and nothing is written, where
        there can be none: another kind of model, a small one, a file that says something else, or links aren't possible.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer) or type(backend.model).__name__ != "Unigram":
        return None
    size = backend.get_vocab_size(with_added_tokens=False)
    if size < SMALLEST:
        return None
    text, state = (folder / TOKENIZER_FILE).read_bytes(), backend.model.__getstate__()
    begin, following, score, end = _IN_FILE
    head, _, rest = text.partition(begin)
    listed, _, tail = rest.partition(end)
    listed = listed.replace(following, _IN_STATE[1]).replace(score, _IN_STATE[2])
    begin, following, _, end = _IN_STATE
    before, _, rest = state.partition(begin)
    pieces = listed.split(following)
    if not rest.startswith(listed + end) or len(pieces) != size or _MARK in text:
        return None
    kept = {
        *ids,
        *range(_ENDS),
        *range(size - _ENDS, size),
        *tokenizer.all_special_ids,
        *tokenizer.added_tokens_decoder,
    }
    short = [
        piece if number in kept or _NAME.search(piece) else b"%s%d%s" % (_MARK, number, piece[piece.rindex(b'"') :])
        for number, piece in enumerate(pieces)
    ]
    model = begin + following.join(short) + end
    try:
        for file in folder.iterdir():
            if file.name != TOKENIZER_FILE:
                os.symlink(file.resolve(), to / file.name)
    except OSError:  # not on this system
        return None
    (to / TOKENIZER_FILE).write_bytes(head + model + tail)
    return before + model + rest[len(listed) + len(end) :]
