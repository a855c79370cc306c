"""Add the most useful new pieces to an existing tokenizer, and leave everything else as it was.

New tokens get the ids after the highest old one. The model of the tokenizer.json is extended, never its list of added
tokens: those would be cut out of the text before the model sees it, inside of old words too.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from ..text.corpus import by_language
from .backend import load_fast_tokenizer, plain_backend, with_backend
from .checks import LineSample, check_made_tokenizer
from .merges import learn_merges
from .plan import BYTE_PIECES
from .unigram import train_unigram_pieces
from .word_counts import WEIGHT_UNIT, Words, count_words


logger = logging.get_logger(__name__)

# A new piece must occur twice.
_MIN_WEIGHT = 2 * WEIGHT_UNIT

# Far more pieces are tried than kept: what a piece saves shows only beside the old ones.
_CANDIDATES_PER_PIECE = 2.5

Pieces = list[str]

_BYTE_PIECES = frozenset(BYTE_PIECES)


def extend_tokenizer(
    tokenizer: PreTrainedTokenizerBase | str | os.PathLike,
    texts: Mapping[str, Iterable[str]] | Sequence[os.PathLike],
    num_new_tokens: int,
    *,
    alpha: float = 0.3,
    character_coverage: float = 0.9999,
) -> PreTrainedTokenizerBase:
    """A copy of `tokenizer` with up to `num_new_tokens` new pieces; `save_pretrained` writes an AutoTokenizer folder.

    All old tokens keep their ids, special and added ones too; the new ones follow. Text in which no new piece applies is
    tokenized as before. By model of the tokenizer.json:

    - Unigram (XLM-R, T5): pieces of a new Unigram model join the old ones, as in Glot500 (Imani et al., 2023, section
      3.2), but only those that save most tokens beside the old; their scores are log frequencies under the joint model.
    - BPE, byte-level (GPT-2, RoBERTa, Llama 3, Qwen) or of SentencePiece, with byte fallback or not (Llama 2, Gemma):
      byte-pair encoding is continued on what the old merges leave, so that every new merge fires. With byte fallback a
      character gets a token of its own where that saves more than a merge.
    - WordPiece (BERT): likewise, then the pieces that save most under longest-match-first.

    Without byte fallback, characters that the tokenizer lacks come first.

    Args:
        tokenizer: a fast tokenizer, or a folder or Hub id with a tokenizer.json.
        texts: language -> lines (an iterable, read once and streamed; a `pathlib.Path` of a text file; a data set with a
            column `text`), or a list of paths whose names begin with the language.
        num_new_tokens: how many. A small text may give fewer (with a warning).
        alpha: exponent of the language sampling, p ~ n^alpha with n in characters.
        character_coverage: share of the text's characters that must have a token; rarer ones stay unknown.

    Raises:
        ValueError: a tokenizer that isn't fast, or whose model can't be extended; settings out of range; a language
            without text; more missing characters than `num_new_tokens`; or the result would lose what the old one keeps.
    """
    if num_new_tokens < 1:
        raise ValueError(f"num_new_tokens={num_new_tokens} must be at least 1")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} lies outside [0, 1]")
    if not 0 < character_coverage <= 1:
        raise ValueError(f"character_coverage={character_coverage} lies outside (0, 1]")
    sample = LineSample(by_language(texts))
    tokenizer = load_fast_tokenizer(tokenizer)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    kind = state["model"].get("type")
    extend = {"Unigram": _extend_unigram, "BPE": _extend_bpe, "WordPiece": _extend_wordpiece}.get(kind)
    if extend is None:
        raise ValueError(
            f"tokenizer has a model of type {kind!r}, which has no pieces to add to; Unigram, BPE and WordPiece do"
        )
    plain = plain_backend(tokenizer)
    words = count_words(plain, sample.texts, alpha)
    first = _occupy_ids(state)
    taken = set(plain.get_vocab(with_added_tokens=True))
    found = extend(state["model"], plain, words, taken, num_new_tokens, character_coverage, first)
    if not found:
        raise ValueError("The text gives no new piece: the tokenizer has every piece that occurs twice or more")
    if found < num_new_tokens:
        logger.warning(f"The text gave {found:,} new tokens, fewer than num_new_tokens={num_new_tokens:,}.")
    extended = with_backend(tokenizer, Tokenizer.from_str(json.dumps(state, ensure_ascii=False)))
    _check_ids(tokenizer, extended, first + found)
    check_made_tokenizer(extended, sample.lines, model=tokenizer)
    return extended


def _occupy_ids(state: dict[str, Any]) -> int:
    """Puts added tokens that the model lacks into its vocabulary, and returns the first free id.

    A tokenizer.json gives no ids to such tokens when it is loaded: they are numbered after the model's own, and would
    move. Names for ids that nothing uses go in too, so that the vocabulary stays without holes.
    """
    model = state["model"]
    added = {token["id"]: token["content"] for token in state["added_tokens"]}
    if model["type"] == "Unigram":
        known = [token for token, _ in model["vocab"]]
        first = max([len(known) - 1, *added]) + 1
        if first > len(known):
            # A score so low that the pieces never win. It lowers the score of unknown characters too, which matters
            # only if some character is unknown alone and known in a piece.
            scores = [score for _, score in model["vocab"]]
            alone = {token for token in known if len(token) == 1}
            covered = alone.issuperset(set().union(*(known[i] for i in range(len(known)) if i not in added)))
            score = min(scores) - (1000 if covered else 0)
            model["vocab"] += [[added.get(i, f"<unused_{i}>"), score] for i in range(len(known), first)]
        return first
    vocabulary: dict[str, int] = model["vocab"]
    first = max([*vocabulary.values(), *added]) + 1
    used = set(vocabulary.values())
    for index in range(first):
        if index not in used:
            vocabulary[added.get(index, f"<unused_{index}>")] = index
    return first


def _check_ids(tokenizer: PreTrainedTokenizerBase, extended: PreTrainedTokenizerBase, size: int) -> None:
    if not tokenizer.get_vocab().items() <= extended.get_vocab().items() or len(extended) != size:
        raise RuntimeError("an old token would have changed its id; please report this tokenizer")


# Characters


def _missing_characters(
    words: Words, has: Callable[[str], bool], coverage: float, symbols: Callable[[str], Iterable[str]]
) -> tuple[list[str], set[str]]:
    """Symbols that get a token, most frequent first, and those too rare for it."""
    counts: Counter[str] = Counter()
    for word, weight in zip(words.words, words.weights.tolist()):
        for symbol in symbols(word):
            counts[symbol] += weight
    missing = sorted((symbol for symbol in counts if not has(symbol)), key=lambda symbol: (-counts[symbol], symbol))
    allowed = (1 - coverage) * sum(counts.values())
    left_out: set[str] = set()
    while missing and counts[missing[-1]] <= allowed:
        allowed -= counts[missing[-1]]
        left_out.add(missing.pop())
    return missing, left_out


def _check_alphabet(missing: list[str], num_new_tokens: int) -> None:
    if len(missing) > num_new_tokens:
        raise ValueError(
            f"num_new_tokens={num_new_tokens} is smaller than the alphabet: the text has {len(missing)} characters that "
            f"the tokenizer lacks (the most frequent: {' '.join(missing[:8])}); ask for more than {len(missing)}, or "
            "lower character_coverage"
        )


# Unigram


def _extend_unigram(model, backend, words, taken, number, coverage, first) -> int:
    vocabulary = [(token, score) for token, score in model["vocab"]]
    lowest = min(score for _, score in json.loads(backend.to_str())["model"]["vocab"])
    known = {token for token, _ in vocabulary}
    alphabet, left_out = _missing_characters(words, known.__contains__, coverage, _characters)
    _check_alphabet(alphabet, number)
    wanted = number - len(alphabet)

    candidates: dict[str, float] = {}
    size = round(_CANDIDATES_PER_PIECE * number) + 8000
    while wanted:
        pieces = train_unigram_pieces(words, size)
        candidates = {
            piece: score
            for piece, score in pieces
            if len(piece) > 1 and piece not in taken and left_out.isdisjoint(piece)
        }
        if len(candidates) >= 1.3 * wanted or len(pieces) < 0.95 * size:  # enough, or no more to be had
            break
        size *= 2

    options = {"unk_id": model["unk_id"], "byte_fallback": bool(model.get("byte_fallback"))}
    base = vocabulary + [(character, lowest) for character in alphabet]
    old = models.Unigram(base, **options)
    old_lengths = {piece: len(old.tokenize(piece)) for piece in candidates}
    pieces = sorted(candidates, key=lambda piece: (-candidates[piece], piece))
    scores = {piece: max(candidates[piece], lowest) for piece in pieces}
    done = False
    while not done:
        extended = models.Unigram(base + [(piece, scores[piece]) for piece in pieces], **options)
        counts, total = _use(extended, words, len(base) + len(pieces))
        used = dict(zip(pieces, counts[len(base) :].tolist()))
        pieces, done = _best(pieces, used, old_lengths, wanted)
        scores = {piece: max(math.log(used[piece] / total), lowest) for piece in pieces}
    for index, character in enumerate(alphabet, len(vocabulary)):
        model["vocab"].append([character, max(math.log(max(counts[index], 1) / total), lowest)])
    model["vocab"] += [[piece, scores[piece]] for piece in pieces]
    return len(alphabet) + len(pieces)


def _characters(word: str) -> str:
    return word


def _use(model: models.Model, words: Words, size: int) -> tuple[np.ndarray, int]:
    """(size,) how often each token is used, and the sum."""
    counts = np.zeros(size, dtype=np.int64)
    tokenize = model.tokenize
    for word, weight in zip(words.words, words.weights.tolist()):
        for token in tokenize(word):
            counts[token.id] += weight
    return counts, int(counts.sum())


def _best(pieces: Pieces, used: Mapping[str, int], old_lengths: Mapping[str, int], wanted: int) -> tuple[Pieces, bool]:
    """The pieces that save most tokens, and whether these are the last to choose.

    No more than a third leaves at once, since the others then serve more; and a few more than wanted stay for a last
    round, which replaces those that nothing uses any more.
    """
    last = len(pieces) <= wanted + wanted // 50 + 8
    keep = wanted if last else max(wanted + wanted // 50 + 8, int(len(pieces) * 2 / 3))
    gains = {piece: used[piece] * (old_lengths[piece] - 1) for piece in pieces}
    # what saves nothing, such as a second token for what the old vocabulary has, is never kept
    kept = (piece for piece in pieces if gains[piece] > 0 and used[piece] >= _MIN_WEIGHT)
    ranked = sorted(kept, key=lambda piece: (-gains[piece], piece))
    return ranked[:keep], last


# BPE


def _extend_bpe(model, backend, words, taken, number, coverage, first) -> int:
    prefix = model.get("continuing_subword_prefix") or ""
    byte_level = '"ByteLevel"' in json.dumps(
        [json.loads(backend.to_str())[k] for k in ("normalizer", "pre_tokenizer")]
    )
    byte_fallback = bool(model.get("byte_fallback"))
    vocabulary: dict[str, int] = model["vocab"]
    alphabet: list[str] = []
    left_out: set[str] = set()
    if not byte_level and not byte_fallback:
        alphabet, left_out = _missing_characters(words, vocabulary.__contains__, coverage, _characters)
        _check_alphabet(alphabet, number)
        left_out |= {character for word in words.words for character in word if character not in vocabulary}
        left_out -= set(alphabet)

    locked: dict[str, int] = {}
    tokenize = backend.model.tokenize
    unknown = model.get("unk_token")
    cut = []
    for word in words.words:
        values = [token.value for token in tokenize(word)]
        if byte_fallback and any(value in _BYTE_PIECES for value in values):
            values = _with_characters(word, values, locked)
        elif unknown is not None and unknown in values:
            values = _around_unknown(word, tokenize, vocabulary)
        cut.append(values)
    learned = learn_merges(
        cut,
        words.weights.tolist(),
        number - len(alphabet),
        taken=taken,
        join=lambda left, right: left + right.removeprefix(prefix),
        min_weight=_MIN_WEIGHT,
        locked=locked,
        barred=left_out | _BYTE_PIECES,
    )
    new = alphabet + learned.tokens
    vocabulary.update((token, first + i) for i, token in enumerate(new))
    model["merges"] += [list(merge) for merge in learned.merges]
    return len(new)


def _with_characters(word: str, values: list[str], locked: dict[str, int]) -> list[str]:
    """The tokens of `word` with each run of byte pieces put back to its character, noted in `locked`."""
    whole, position, pending = [], 0, 0
    for value in values:
        if pending:
            pending -= 1
            continue
        if value in _BYTE_PIECES and not word.startswith(value, position):
            character = word[position]
            size = len(character.encode())
            # one byte, such as a missing capital: nothing is saved until merges follow; line breaks stay as they are
            locked[character] = max(size, 2) if character.isprintable() else 1
            pending = size - 1
            value = character
        whole.append(value)
        position += len(value)
    return whole


def _around_unknown(word: str, tokenize, vocabulary: Mapping[str, int]) -> list[str]:
    """The tokens of `word`, each character that the vocabulary lacks by itself."""
    values: list[str] = []
    start = 0
    for i, character in enumerate(word):
        if character not in vocabulary:
            values += [token.value for token in tokenize(word[start:i])] if i > start else []
            values.append(character)
            start = i + 1
    return values + ([token.value for token in tokenize(word[start:])] if start < len(word) else [])


# WordPiece


def _extend_wordpiece(model, backend, words, taken, number, coverage, first) -> int:
    prefix = model["continuing_subword_prefix"]
    limit = model["max_input_chars_per_word"]
    vocabulary: dict[str, int] = model["vocab"]

    def symbols(word: str) -> list[str]:
        return [word[0], *(prefix + character for character in word[1:])]

    usable = [i for i, word in enumerate(words.words) if len(word) <= limit]
    words = Words([words.words[i] for i in usable], words.weights[usable])
    alphabet, left_out = _missing_characters(words, vocabulary.__contains__, coverage, symbols)
    _check_alphabet(alphabet, number)
    base = vocabulary | {symbol: first + i for i, symbol in enumerate(alphabet)}
    known = [i for i, word in enumerate(words.words) if left_out.isdisjoint(symbols(word))]
    words = Words([words.words[i] for i in known], words.weights[known])

    options = {
        "unk_token": model["unk_token"],
        "max_input_chars_per_word": limit,
        "continuing_subword_prefix": prefix,
    }
    wanted = number - len(alphabet)
    tokenize = models.WordPiece(base, **options).tokenize
    # the pieces on the way to a long one save nothing here, so more are learned than wanted
    learned = learn_merges(
        [[token.value for token in tokenize(word)] for word in words.words],
        words.weights.tolist(),
        round(_CANDIDATES_PER_PIECE * wanted),
        taken=taken,
        join=lambda left, right: left + right.removeprefix(prefix),
        min_weight=_MIN_WEIGHT,
        barred={model["unk_token"]},
    )
    pieces = learned.tokens
    old_lengths = {piece: _longest_match_length(piece, base, prefix) for piece in pieces}
    done = False
    while not done:
        extended = base | {piece: len(base) + first + i for i, piece in enumerate(pieces)}
        counts, _ = _use(models.WordPiece(extended, **options), words, max(extended.values()) + 1)
        used = {piece: int(counts[extended[piece]]) for piece in pieces}
        pieces, done = _best(pieces, used, old_lengths, wanted)
    new = alphabet + pieces
    vocabulary.update((token, first + i) for i, token in enumerate(new))
    return len(new)


def _longest_match_length(piece: str, vocabulary: Mapping[str, int], prefix: str) -> int:
    """Tokens that `piece` takes in `vocabulary`."""
    inside = piece.startswith(prefix) and len(piece) > len(prefix)
    text = piece[len(prefix) :] if inside else piece
    start = length = 0
    while start < len(text):
        end = len(text)
        while end > start and ((prefix if inside or start else "") + text[start:end]) not in vocabulary:
            end -= 1
        start = max(end, start + 1)
        length += 1
    return length
