"""Tokenizers written to a folder, with proof that AutoTokenizer reads back what was passed.

AutoTokenizer chooses a class by the model's type, by the tokenizer's settings, or by both, and many classes build their
tokenizer anew from the vocabulary: another normaliser or pre-tokenizer, or another kind of model, then cuts the text, and
the rows of other tokens are read without a word.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.utils import logging

from ..utils.quiet import quiet
from ..utils.targets import writing_to
from .sample_text import sample_text
from .stand_in import write_stand_in


logger = logging.get_logger(__name__)

SETTINGS_FILE = "tokenizer_config.json"

# The class that takes tokenizer.json as it is. Transformers 5 calls it TokenizersBackend, which version 4 doesn't know.
_GENERIC = "PreTrainedTokenizerFast"

# Of config.json, what AutoTokenizer chooses the class by.
_CONFIG_KEYS = ("model_type", "tokenizer_class", "model_name")

# Of tokenizer.json for each token: 15 with WordPiece's short ones, 70 with Unigram's scores.
_TOKEN_BYTES = 40

# Digests of the files that were read back well: the checkpoints of a training have the same ones again and again.
_proven: set[str] = set()

_SETTINGS = ("model_max_length", "padding_side", "truncation_side", "model_input_names")


def save_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    folder: str | os.PathLike,
    *,
    rows: int | None = None,
    text: Iterable[str] | Mapping[str, Iterable[str]] = (),
    name: str = "tokenizer",
) -> None:
    """Writes a tokenizer beside the model's config.json, where there is one, and proves that AutoTokenizer reads it back.

    Where the tokenizer's own class, or the one of the model's type, gives something else, the settings name
    `PreTrainedTokenizerFast`, which takes tokenizer.json as it is.

    Args:
        tokenizer: fast or slow.
        folder: a temporary one, so that nothing wrong ever lies under its name.
        rows: of the model's embeddings; by default what config.json says.
        text: lines to compare on, or lines by language, beside a sample of all scripts of the vocabulary.
        name: of the argument that it came from, for the error.

    Raises:
        ValueError: what AutoTokenizer makes of the folder has other ids, another decoding, other special tokens, another
            length or vocabulary, whatever the class that the settings name; or a token has no row in the model.
    """
    folder = Path(folder)
    files = [Path(file) for file in tokenizer.save_pretrained(folder)]
    settings = _portable(_read(folder / SETTINGS_FILE), tokenizer)
    _write(folder / SETTINGS_FILE, settings)
    config = _read(folder / "config.json")
    _check_rows(tokenizer, _rows(config) if rows is None else rows, name)
    written = _digest(files, config)
    if written in _proven:
        return
    sample = sample_text(tokenizer, text)
    if _stand_in_is_read_back(tokenizer, folder, sample):
        _proven.add(written)
        return
    found = _difference(tokenizer, folder, sample)
    if found is None:
        _proven.add(written)
        return
    own = settings.get("tokenizer_class")
    if own != _GENERIC and isinstance(tokenizer, PreTrainedTokenizerFast):
        plain = {key: getattr(tokenizer, key) for key in _SETTINGS}
        _write(folder / SETTINGS_FILE, settings | plain | {"tokenizer_class": _GENERIC})
        again = _difference(tokenizer, folder, sample)
        if again is None:
            _proven.add(_digest(files, config))
            logger.warning_once(
                f"{name}: written as {_GENERIC}, since as {own} it would be another tokenizer: {found}."
            )
            return
    model_type = config.get("model_type")
    beside = f" beside the configuration of a model of type {model_type!r}" if model_type else ""
    raise ValueError(
        f"{name}: AutoTokenizer would not read back the tokenizer that was passed{beside}: {found}. Nothing was written. "
        "Extend the model's own tokenizer, or train one like= it (--like), with same_normalizer=True "
        "(--same-normalizer) where it folds case."
    )


def tokenizer_bytes(tokens: int) -> int:
    """About what a tokenizer of so many tokens takes on a disk."""
    return _TOKEN_BYTES * tokens


def check_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    config: PreTrainedConfig,
    *,
    text: Iterable[str] | Mapping[str, Iterable[str]] = (),
    name: str = "tokenizer",
) -> None:
    """That a tokenizer can be saved beside a model of this configuration; for before the work.

    Raises:
        ValueError: as `save_tokenizer`, but for the rows.
    """
    known = {key: getattr(config, key, None) for key in _CONFIG_KEYS}
    with tempfile.TemporaryDirectory() as folder, writing_to(folder):
        _write(Path(folder) / "config.json", {key: value for key, value in known.items() if value is not None})
        save_tokenizer(tokenizer, folder, text=text, name=name)


def check_saved_tokenizer(folder: str | os.PathLike) -> None:
    """Proves that AutoTokenizer gives what the tokenizer.json in a folder says; a folder without one is left alone.

    Raises:
        ValueError: it gives another tokenizer, or a token has no row in the model.
    """
    folder = Path(folder)
    if not (folder / "tokenizer.json").is_file():
        return
    with quiet(bars=True):
        written = PreTrainedTokenizerFast.from_pretrained(folder)
    config = _read(folder / "config.json")
    _check_rows(written, _rows(config), str(folder))
    found = _difference(written, folder, sample_text(written), only_ids=True)
    if found is not None:
        raise ValueError(
            f"{folder}: AutoTokenizer would not read what tokenizer.json holds: {found}. Nothing was pushed. Write the "
            "model with `ofa adapt` or `ofa pretrain`, which say what can be done, or give it its own tokenizer again."
        )


def _portable(settings: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The settings in the layout of Transformers 4, which version 5 reads as well, and faster for large vocabularies."""
    settings = dict(settings)
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = _GENERIC
    if isinstance(settings.get("extra_special_tokens"), list):
        settings["additional_special_tokens"] = settings.pop("extra_special_tokens")
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        added = tokenizer.added_tokens_decoder
        settings["added_tokens_decoder"] = {str(index): token.__getstate__() for index, token in added.items()}
        # Of Llama, Gemma and Cohere, version 4 asks the settings whether these go around a text, and not tokenizer.json.
        ids = tokenizer.backend_tokenizer.encode("").ids
        for place, role in ((0, "bos"), (-1, "eos")):
            index = getattr(tokenizer, f"{role}_token_id")
            if index is not None:
                settings[f"add_{role}_token"] = bool(ids) and ids[place] == index
    return settings


def _stand_in_is_read_back(passed: PreTrainedTokenizerBase, folder: Path, sample: list[str]) -> bool:
    """Whether that was enough: a large vocabulary's stand-in is read back in a fraction of the time."""
    with tempfile.TemporaryDirectory() as other:
        ids = itertools.chain.from_iterable(ids for ids, _ in _encode(passed, sample))
        state = write_stand_in(passed, folder, ids, Path(other))
        return state is not None and _difference(passed, Path(other), sample, state=state) is None


def _difference(
    passed: PreTrainedTokenizerBase,
    folder: Path,
    sample: list[str],
    *,
    state: bytes | None = None,
    only_ids: bool = False,
) -> str | None:
    """What AutoTokenizer's reading of the folder has otherwise, in words, or None.

    Args:
        state: of the model that must be read, where it isn't that of `passed`.
        only_ids: compare what ids depend on alone.
    """
    # Only a class from somebody's code that was asked for already may come from the folder.
    trusted = type(passed).__module__.startswith("transformers_modules")
    try:
        with quiet(bars=True), _without_collection():
            loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted)
    except Exception as error:  # classes fail in any way on what isn't theirs
        return f"loading it fails with {type(error).__name__}: {' '.join(str(error).split())}"
    kind = type(loaded).__name__
    if len(loaded) != len(passed):
        return f"it makes a {kind} of {len(loaded):,} tokens, not {len(passed):,}"
    if not _same_vocabulary(passed, loaded, state):
        if state is not None:
            return f"it makes a {kind} of other pieces"
        ids = loaded.get_vocab()
        token, index = next((t, i) for t, i in passed.get_vocab().items() if ids.get(t) != i)
        return f"it makes a {kind} in which {token!r} has the id {ids.get(token)}, not {index}"
    for line, before, after in zip(sample, _encode(passed, sample), _encode(loaded, sample)):
        if before != after:
            old, new = (" ".join(t.convert_ids_to_tokens(e[0][:12])) for t, e in ((passed, before), (loaded, after)))
            return f"it makes a {kind}, which cuts {line[:40]!r} into {new} and not into {old}"
        if only_ids:
            continue
        old, new = (tokenizer.decode(before[0]) for tokenizer in (passed, loaded))
        if old != new:
            return f"it makes a {kind}, which decodes {line[:40]!r} to {new[:60]!r} and not to {old[:60]!r}"
    if only_ids:
        return None
    if _special(loaded) != _special(passed):
        return f"it makes a {kind} with the special tokens {_special(loaded)}, not {_special(passed)}"
    for key in _SETTINGS:
        if getattr(loaded, key) != getattr(passed, key):
            return f"it makes a {kind} with {key} {getattr(loaded, key)!r}, not {getattr(passed, key)!r}"
    return None


def _same_vocabulary(
    passed: PreTrainedTokenizerBase, loaded: PreTrainedTokenizerBase, state: bytes | None = None
) -> bool:
    backends = [getattr(tokenizer, "backend_tokenizer", None) for tokenizer in (passed, loaded)]
    if all(isinstance(backend, Tokenizer) for backend in backends):
        # Bytes compare in a moment where dictionaries of 400,000 tokens take a second.
        models, added = zip(*((b.model.__getstate__(), b.get_added_tokens_decoder()) for b in backends))
        if models[1] == (state or models[0]) and list(map(str, added[0].values())) == list(
            map(str, added[1].values())
        ):
            return added[0].keys() == added[1].keys()
    return state is None and passed.get_vocab() == loaded.get_vocab()


def _encode(tokenizer: PreTrainedTokenizerBase, lines: list[str]) -> list[tuple[list[int], list[int]]]:
    """(ids, types) of each line, and of two as a pair, with special tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    pairs = [*lines, *zip(lines[:8], lines[8:16])]
    if not isinstance(backend, Tokenizer):
        return [(ids, []) for ids in (tokenizer(line)["input_ids"] for line in lines)]
    # Not through the tokenizer itself: some classes want boxes or entities beside the text.
    truncation, padding, as_text = backend.truncation, backend.padding, backend.encode_special_tokens
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = bool(getattr(tokenizer, "split_special_tokens", False))  # the last call's stays
    try:
        return [(encoding.ids, encoding.type_ids) for encoding in backend.encode_batch(pairs)]
    finally:
        backend.encode_special_tokens = as_text
        if truncation is not None:
            backend.enable_truncation(**truncation)
        if padding is not None:
            backend.enable_padding(**padding)


def _special(tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    tokens = {role: str(token) for role, token in tokenizer.special_tokens_map.items()}
    every = dict.fromkeys([*tokens.values(), *map(str, tokenizer.all_special_tokens)])
    return tokens | {token: tokenizer.convert_tokens_to_ids(token) for token in every}


def _check_rows(tokenizer: PreTrainedTokenizerBase, rows: int | None, name: str) -> None:
    if rows is None:
        return
    largest = len(tokenizer) - 1
    if largest < rows:
        return
    largest, token = max((index, token) for token, index in tokenizer.get_vocab().items())
    if largest >= rows:
        raise ValueError(
            f"{name}: the token {token!r} has the id {largest}, but the model's embeddings have {rows} rows. Resize them, "
            "or take the token out of the tokenizer."
        )


def _digest(files: list[Path], config: dict[str, Any]) -> str:
    digest = hashlib.sha256(repr([config.get(key) for key in _CONFIG_KEYS]).encode())
    for file in sorted(file for file in files if file.is_file()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _rows(config: dict[str, Any]) -> int | None:
    text = config.get("text_config")
    return config.get("vocab_size", text.get("vocab_size") if isinstance(text, dict) else None)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _write(path: Path, settings: dict[str, Any]) -> None:
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


@contextmanager
def _without_collection() -> Iterator[None]:
    """Without looking for garbage: among 400,000 new objects that takes half of the time of loading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
