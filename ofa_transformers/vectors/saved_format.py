"""The library's own format: a folder of arrays, words and metadata that is memory-mapped on load.

- `vectors.safetensors`: `vectors` (N, d) float32; `language_ids` (N,) int32; `word_ends` (N,) int64, the position
  behind each word's newline in words.txt (from version 2 on); and, if there are any, `frequencies` (N,) float32.
- `words.txt`: N words in UTF-8, one a line.
- `metadata.json`: format, version, numbers, language names, checksums (from version 2 on), and the user's metadata.
- `README.md`: the same for people, with the metadata that the Hub reads (from version 2 on).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from safetensors.torch import load_file

from ..utils.files import sha256
from ..utils.reading import fits, read_json, reading
from ..utils.strict_json import dumps
from .card import word_vectors_card
from .words import NEWLINE, CodedLanguages, Utf8Words


FORMAT = "ofa_transformers.word_vectors"
FORMAT_VERSION = 2
VECTORS, WORDS, METADATA, CARD = "vectors.safetensors", "words.txt", "metadata.json", "README.md"
FILES = (VECTORS, WORDS, METADATA)

# Arrays of vectors.safetensors -> what they are made of, and their number of dimensions.
_ARRAYS = {
    "vectors": (np.float32, 2),
    "language_ids": (np.int32, 1),
    "word_ends": (np.int64, 1),
    "frequencies": (np.float32, 1),
}
# Codes, with a script or a variety: deu, deu_Latn, zh-min-nan. Of what users call their own, any letters.
_LANGUAGE = re.compile(r"[\w-]{1,80}")

_AGAIN = "Save or download the word vectors again."


def is_saved_folder(folder: Path) -> bool:
    """Whether a folder was, by its files, written by `WordVectors.save`, even if some are missing now."""
    return (folder / METADATA).is_file() or (folder / VECTORS).is_file()


def write_folder(
    folder: Path,
    words: Sequence[str],
    languages: CodedLanguages,
    vectors: np.ndarray,
    frequencies: np.ndarray | None,
    metadata: dict[str, Any],
) -> None:
    """Writes the files into an existing folder.

    Raises:
        ValueError: a word that cannot be a line of UTF-8, a language that is no code, or metadata that JSON cannot hold.
    """
    if not isinstance(words, Utf8Words):
        words = Utf8Words.from_strings(words)
    _check_languages("Word vectors", languages.names.tolist())
    tensors = {
        "vectors": np.ascontiguousarray(vectors),
        "language_ids": np.ascontiguousarray(languages.ids, dtype=np.int32),
        "word_ends": np.ascontiguousarray(words.ends, dtype=np.int64),
    }
    if frequencies is not None:
        tensors["frequencies"] = np.ascontiguousarray(frequencies)
    description = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "num_words": len(words),
        "dimension": vectors.shape[1],
        "languages": languages.names.tolist(),
        "sha256": {},
        "metadata": metadata,
    }
    try:
        dumps(metadata)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"metadata is saved as JSON, which cannot hold all of it ({error}); keep to numbers, strings, lists and "
            "dictionaries."
        ) from error
    save_file(tensors, folder / VECTORS)
    words.data.tofile(folder / WORDS)
    description["sha256"] = {name: sha256(folder / name) for name in (VECTORS, WORDS)}
    text = dumps(description, ensure_ascii=False, indent=1)
    (folder / METADATA).write_text(text + "\n", encoding="utf-8")
    words_of = dict(zip(languages.names.tolist(), languages.counts().tolist()))
    (folder / CARD).write_text(word_vectors_card(words_of, vectors.shape[1], metadata), encoding="utf-8")


def read_folder(
    folder: Path, verify: bool = False
) -> tuple[Utf8Words, CodedLanguages, np.ndarray, np.ndarray | None, dict[str, Any]]:
    """Words, languages, vectors, frequencies and metadata, memory-mapped.

    Changes to the arrays stay in memory: the mapping is private.

    Raises:
        ValueError: files that are missing, damaged, of a newer version or, with `verify`, not those that were saved.
    """
    absent = [name for name in FILES if not (folder / name).is_file()]
    if absent:
        raise ValueError(
            f"{folder} is not a folder written by WordVectors.save: {', '.join(absent)} missing. For vectors in "
            "another format pass the file itself."
        )
    description = read_json(folder / METADATA, "save or download the word vectors again")
    with reading(f"{folder / VECTORS} is damaged. {_AGAIN}"):
        # Through torch, safetensors maps the file; through numpy it reads it.
        tensors = {name: tensor.numpy() for name, tensor in load_file(folder / VECTORS).items()}
    version = description.get("format_version") if isinstance(description, dict) else None
    if not isinstance(version, int) or description.get("format") != FORMAT or version > FORMAT_VERSION:
        raise ValueError(
            f"{folder / METADATA} says {_get(description, 'format')!r:.60}, version {version!r:.60}; this library reads "
            f"{FORMAT!r} up to version {FORMAT_VERSION}. Upgrade ofa-transformers."
        )
    if verify:
        _verify(folder, description)
    data = np.empty(0, dtype=np.uint8)
    if (folder / WORDS).stat().st_size:
        data = np.asarray(np.memmap(folder / WORDS, dtype=np.uint8, mode="r"))  # a plain array is quicker to slice
    _check_arrays(folder, tensors)
    words = Utf8Words(data, tensors.get("word_ends"))
    try:
        vectors, ids, count = tensors["vectors"], tensors["language_ids"], description["num_words"]
        names, metadata = description["languages"], description.get("metadata", {})
    except KeyError as error:
        raise ValueError(f"{folder} is damaged: it has no {error}. {_AGAIN}") from error
    if not fits(names, list[str]) or names != sorted(set(names)):
        raise ValueError(
            f"{folder / METADATA} is damaged: its languages, {names!r:.60}, are no sorted names. {_AGAIN}"
        )
    _check_languages(str(folder / METADATA), names)
    if not isinstance(metadata, dict):
        raise ValueError(f"{folder / METADATA} is damaged: its metadata are {metadata!r:.60}. {_AGAIN}")
    if not len(words) == len(vectors) == len(ids) == count:
        raise ValueError(
            f"{folder} is damaged: {len(words)} words, {len(vectors)} vectors and {len(ids)} languages, where the "
            f"metadata says {count!r:.60}. {_AGAIN}"
        )
    ends = words.ends
    in_order = count and ends[0] > 0 and (ends[1:] > ends[:-1]).all() and ends[-1] == len(data)
    if not in_order or (data[ends - 1] != NEWLINE).any() or ids.min() < 0 or ids.max() >= len(names):
        raise ValueError(f"{folder} is damaged: its words, languages and arrays don't belong together. {_AGAIN}")
    if verify:
        with reading(f"{folder / WORDS} is damaged. {_AGAIN}"):
            for _ in words:  # not valid UTF-8 is an error here
                pass
    return words, CodedLanguages(names, ids), vectors, tensors.get("frequencies"), metadata


def _check_arrays(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    for name, (dtype, dimensions) in _ARRAYS.items():
        array = tensors.get(name)
        if array is not None and (array.dtype != dtype or array.ndim != dimensions):
            raise ValueError(
                f"{folder / VECTORS} is damaged: {name} is an array of {array.dtype} of shape {array.shape}, not of "
                f"{np.dtype(dtype)} with {dimensions} dimension{'s' * (dimensions > 1)}. {_AGAIN}"
            )


def _check_languages(where: str, names: Sequence[str]) -> None:
    """That they are codes, or what can pass for one, rather than prose or markup: they are shown in cards and pages."""
    wrong = next((name for name in names if not _LANGUAGE.fullmatch(name)), None)
    if wrong is not None:
        raise ValueError(
            f"{where}: the language {wrong!r:.60} is no code, as deu or deu_Latn; name languages by letters, digits, - and _."
        )


def _verify(folder: Path, description: dict[str, Any]) -> None:
    expected = description.get("sha256")
    if not expected or not isinstance(expected, dict):
        raise ValueError(
            f"{folder} was saved by an older version, without checksums; leave verify out, and save it again for "
            "checksums."
        )
    for name in (VECTORS, WORDS):
        found = sha256(folder / name)
        if found != expected.get(name):
            said = " ".join(str(expected.get(name)).split())
            raise ValueError(
                f"{folder / name} is not what was saved: its SHA-256 is {found}, the metadata says {said:.64}. {_AGAIN}"
            )


def _get(description: Any, name: str) -> Any:
    return description.get(name) if isinstance(description, dict) else None
