"""Leave out of a tokenizer what a text has no use for, and cut the text as before.

A model that was trained on a hundred languages keeps a row for each of their pieces. Of ordinary pieces those stay that
the text needs; special and added tokens, bytes and characters always do, so that any other text has tokens, too.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from ..text.corpus import by_language, checked
from ..text.language_groups import called
from .backend import load_fast_tokenizer, plain_backend, with_backend
from .checks import LineSample
from .plan import BYTE_PIECES, with_templates
from .word_counts import word_splitter


logger = logging.get_logger(__name__)

_BLOCK = 1024  # lines tokenized at once

_BYTES = frozenset(BYTE_PIECES)


def trim_tokenizer(
    tokenizer: PreTrainedTokenizerBase | str | os.PathLike,
    texts: Mapping[str, Iterable[str]] | Sequence[os.PathLike],
    *,
    keep_languages: Iterable[str] | None = None,
    multiple_of: int = 1,
) -> PreTrainedTokenizerBase:
    """A copy of `tokenizer` with the pieces that `texts` need; `save_pretrained` writes an AutoTokenizer folder.

    `texts` are cut into the same pieces as before. The pieces that stay keep their order, and get ids without gaps:
    `OfaInitializer` finds their rows (method="fvt", which needs nothing else). By model of the tokenizer.json:

    - Unigram (XLM-R, T5): the best way through fewer pieces is the one that was best before. The piece with the lowest
      score stays, since the cost of an unknown character is reckoned from it.
    - BPE (GPT-2, Llama, Qwen): every merge of a piece that stays is kept, with what it merges.
    - WordPiece (BERT): words that end up unknown are followed to where they do, and stay unknown.

    Special and added tokens, bytes, and every piece of one character stay, and so do pieces with a character that has
    none of its own: what else the tokenizer can cut it still can, into smaller pieces.

    Args:
        tokenizer: a fast tokenizer, or a folder or Hub id with a tokenizer.json.
        texts: as for `extend_tokenizer`, read once and streamed.
        keep_languages: of `texts`, those that count, as `deu_Latn` or `deu`; all by default.
        multiple_of: of this the number of tokens shall be a multiple, for the hardware's sake: so many more pieces stay,
            those with the lowest ids, which are the most frequent ones of most tokenizers.

    Raises:
        ValueError: a tokenizer that isn't fast, or whose model has no pieces; a language without text; one of
            `keep_languages` that `texts` hasn't.
    """
    if multiple_of < 1:
        raise ValueError(f"multiple_of={multiple_of} must be at least 1")
    sample = LineSample(_kept_languages(by_language(texts), keep_languages))
    tokenizer = load_fast_tokenizer(tokenizer)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    model = state["model"]
    trim = {"Unigram": _trim_unigram, "BPE": _trim_bpe, "WordPiece": _trim_wordpiece}.get(model.get("type"))
    if trim is None:
        raise ValueError(
            f"tokenizer has a model of type {model.get('type')!r}, which has no pieces to leave out; Unigram, BPE and "
            "WordPiece do"
        )
    plain = plain_backend(tokenizer)
    used, unknown_words = _read(plain, sample.texts, model)
    needed = {*used, *plain.encode("", "").ids, *tokenizer.all_special_ids, *(t["id"] for t in state["added_tokens"])}
    trim(model, needed, unknown_words, multiple_of)
    _renumber(state)
    backend = Tokenizer.from_str(json.dumps(state, ensure_ascii=False))
    trimmed = with_backend(tokenizer, with_templates(backend, tokenizer.backend_tokenizer))
    _check(plain, plain_backend(trimmed), sample.lines)
    return trimmed


def _kept_languages(texts: dict[str, Iterable[str]], names: Iterable[str] | None) -> dict[str, Iterable[str]]:
    if names is None:
        return texts
    names = [names] if isinstance(names, str) else list(names)
    absent = [name for name in names if not called(name, texts)]
    if absent or not names:
        raise ValueError(f"keep_languages has {', '.join(absent) or 'no language'}, but texts has {', '.join(texts)}")
    kept = {language for name in names for language in called(name, texts)}
    return {language: text for language, text in texts.items() if language in kept}


def _read(backend: Tokenizer, texts: Mapping[str, Iterable[str]], model: dict[str, Any]) -> tuple[set[int], set[str]]:
    """The ids that the texts are cut into and, of WordPiece, their words that are unknown as a whole."""
    used: set[int] = set()
    words: set[str] = set()
    split = word_splitter(backend)
    unknown = backend.token_to_id(model["unk_token"]) if model["type"] == "WordPiece" else None
    for language in logging.tqdm(sorted(texts), desc="Reading text", unit="language", delay=2, leave=False):
        empty = True
        lines = (line for line in checked(language, texts[language]) if line and not line.isspace())
        while block := list(itertools.islice(lines, _BLOCK)):
            empty = False
            for line, encoding in zip(block, backend.encode_batch_fast(block, add_special_tokens=False)):
                used.update(encoding.ids)
                if unknown is not None and unknown in encoding.ids:
                    words.update(split(line))
        if empty:
            raise ValueError(f"no text for: {language}")
    return used, words


# By kind of model: which pieces stay. Each changes the model.


def _trim_unigram(model, needed, unknown_words, multiple_of) -> None:
    pieces = [piece for piece, _ in model["vocab"]]
    kept = {index for index in needed if index < len(pieces)} | ({model["unk_id"]} - {None})
    alone = {piece for piece in pieces if len(piece) == 1}
    whole = bool(model.get("byte_fallback"))
    kept.update(
        index
        for index, piece in enumerate(pieces)
        if len(piece) == 1 or piece in _BYTES or not (whole or alone.issuperset(piece))
    )
    lowest = min(score for _, score in model["vocab"])
    if all(model["vocab"][index][1] > lowest for index in kept):
        kept.add(next(index for index, (_, score) in enumerate(model["vocab"]) if score == lowest))
    ids = _filled(kept, needed, range(len(pieces)), multiple_of)
    model["vocab"] = [model["vocab"][index] for index in ids]
    if model["unk_id"] is not None:
        model["unk_id"] = ids.index(model["unk_id"])


def _trim_bpe(model, needed, unknown_words, multiple_of) -> None:
    prefix, suffix = (model.get(name) or "" for name in ("continuing_subword_prefix", "end_of_word_suffix"))
    vocabulary: dict[str, int] = model["vocab"]
    parts: dict[str, list[str]] = {}
    for left, right in model["merges"]:
        parts.setdefault(left + right.removeprefix(prefix), []).extend((left, right))

    def grow(kept: set[str], tokens: Iterable[str]) -> None:
        waiting = list(tokens)
        while waiting:
            token = waiting.pop()
            if token not in kept:
                kept.add(token)
                waiting += parts.get(token, ())

    kept: set[str] = set()
    grow(kept, (token for token, index in vocabulary.items() if index in needed))
    grow(kept, (t for t in vocabulary if len(t.removeprefix(prefix).removesuffix(suffix)) == 1 or len(t) == 1))
    grow(kept, [token for token in (*BYTE_PIECES, model.get("unk_token")) if token in vocabulary])
    spare = (i for t, i in sorted(vocabulary.items(), key=lambda item: item[1]) if kept.issuperset(parts.get(t, ())))
    _keep(model, _filled({vocabulary[token] for token in kept}, needed, spare, multiple_of))
    merged = model["vocab"].keys()
    model["merges"] = [
        [left, right]
        for left, right in model["merges"]
        if left in merged and right in merged and left + right.removeprefix(prefix) in merged
    ]


def _trim_wordpiece(model, needed, unknown_words, multiple_of) -> None:
    prefix = model.get("continuing_subword_prefix") or ""
    vocabulary: dict[str, int] = model["vocab"]

    def symbols(token: str) -> list[str]:
        inside = bool(prefix) and token.startswith(prefix) and len(token) > len(prefix)
        text = token[len(prefix) :] if inside else token
        return [(prefix if inside or place else "") + character for place, character in enumerate(text)]

    kept = (needed & set(vocabulary.values())) | {vocabulary[model["unk_token"]]}
    for token, index in vocabulary.items():
        found = symbols(token)
        if len(found) == 1 or not all(symbol in vocabulary for symbol in found):
            kept.add(index)
    limit = model.get("max_input_chars_per_word", 100)
    for word in unknown_words:
        if len(word) <= limit:
            kept.update(vocabulary[piece] for piece in _longest_matches(word, vocabulary, prefix))
    _keep(model, _filled(kept, needed, sorted(vocabulary.values()), multiple_of))


def _longest_matches(word: str, vocabulary: Mapping[str, int], prefix: str) -> Iterator[str]:
    """The pieces of a word up to where there is none any more."""
    start = 0
    while start < len(word):
        begin = prefix if start else ""
        ends = (end for end in range(len(word), start, -1) if begin + word[start:end] in vocabulary)
        end = next(ends, None)
        if end is None:
            return
        yield begin + word[start:end]
        start = end


def _keep(model: dict[str, Any], ids: list[int]) -> None:
    """Numbers what stays in the vocabulary of BPE and WordPiece anew."""
    tokens = {index: token for token, index in model["vocab"].items()}
    model["vocab"] = {tokens[index]: place for place, index in enumerate(ids)}


def _filled(kept: set[int], needed: set[int], spare: Iterable[int], multiple_of: int) -> list[int]:
    """The model's ids that stay, ascending, with the first spare ones up to a multiple, as far as there are any.

    Tokens that are `needed` and not among them are added ones outside of the model's vocabulary, and count.
    """
    missing = -len(kept | needed) % multiple_of
    return sorted({*kept, *itertools.islice((index for index in spare if index not in kept), missing)})


def _renumber(state: dict[str, Any]) -> None:
    """Gives added tokens their ids beside a model's vocabulary that was numbered anew, and takes out what else has ids."""
    vocabulary = state["model"]["vocab"]
    names = (
        {token: index for index, (token, _) in enumerate(vocabulary)}
        if isinstance(vocabulary, list)
        else dict(vocabulary)
    )
    for token in sorted(state["added_tokens"], key=lambda token: token["id"]):
        token["id"] = names.setdefault(token["content"], len(names))
    state["added_tokens"].sort(key=lambda token: token["id"])
    state["post_processor"] = state["padding"] = state["truncation"] = None


def _check(before: Tokenizer, after: Tokenizer, lines: Mapping[str, list[str]]) -> None:
    """
    Raises:
        RuntimeError: a line is cut otherwise than before.
    """
    for language, text in lines.items():
        pairs = zip(*(backend.encode_batch(text, add_special_tokens=False) for backend in (before, after)))
        for line, (old, new) in zip(text, pairs):
            if old.tokens != new.tokens:
                raise RuntimeError(
                    f"{line[:60]!r} ({language}) would be cut into {' '.join(new.tokens[:12])} and not into "
                    f"{' '.join(old.tokens[:12])}; please report this tokenizer"
                )
