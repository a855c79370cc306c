"""Readers of word vector files: which format a file has, and its words, languages and vectors.

A new format is one entry in `_READERS` and in `_recognise`. Only "gensim" unpickles, and only where the user allows it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from transformers.utils import logging

from .binary_format import read_word2vec_binary
from .compression import COMPRESSED_SUFFIXES, open_compressed
from .gensim_format import read_gensim
from .language_codes import language_of_file, to_iso639_3
from .text_format import glove_dimension, read_glove_text, read_word2vec_text, shown


logger = logging.get_logger(__name__)

_READERS = {"word2vec": read_word2vec_text, "glove": read_glove_text, "word2vec-binary": read_word2vec_binary}
FORMATS = (*_READERS, "gensim")

# What files with these endings hold. Other endings say nothing.
_ENDINGS = {
    ".txt": ("word2vec", "glove"),
    ".vec": ("word2vec", "glove"),
    ".bin": ("word2vec-binary",),
    ".wv": ("gensim",),
    ".kv": ("gensim",),
}

_NAMES = {
    "word2vec": "word2vec text",
    "glove": "text without a header, as GloVe's",
    "word2vec-binary": "word2vec binary",
    "gensim": "a pickle, as gensim's",
}

# Enough for a line of text vectors of some 10,000 dimensions.
_SAMPLE_BYTES = 1 << 17

_LANGUAGE_KEY = re.compile(r"[a-z]{3}:(?=.)", re.DOTALL)


class VectorFile(NamedTuple):
    """Words without prefix, languages (N,) ISO 639-3, vectors (N, d) float32, counts or None, and their origin."""

    words: list[str]
    languages: np.ndarray
    vectors: np.ndarray
    frequencies: np.ndarray | None
    metadata: dict[str, Any]


def read_vectors(
    path: Path,
    *,
    language: str | None = None,
    format: str | None = None,
    default_language: str = "eng",
    allow_pickle: bool = False,
) -> VectorFile:
    """Reads a file of word vectors; the arguments and errors are those of `WordVectors.load`."""
    if format is not None and format not in FORMATS:
        raise ValueError(f"format is {format!r}; known formats: {', '.join(map(repr, FORMATS))}, or None to find out.")
    if language is not None:
        language = to_iso639_3(language)
    default_language = to_iso639_3(default_language, "default_language")
    format = _choose_format(path, format)
    frequencies = None
    if format == "gensim":
        if not allow_pickle:
            raise ValueError(_pickle_refused(path))
        keys, vectors, frequencies = read_gensim(path)
    else:
        with open_compressed(path) as file, _progress(path, file.raw) as progress:
            keys, vectors = _READERS[format](path, file, progress)
        keys, vectors = _unique(path, keys, vectors, format)
    words, languages = _languages(path, keys, language, default_language)
    return VectorFile(words, languages, vectors, frequencies, {"origin": path.name, "format": format})


def open_text(path: Path) -> Any:
    """A context of a text file opened for reading bytes, unpacked if it is gzip or zstd by its first bytes."""
    return _stream(path)


@contextmanager
def _stream(path: Path) -> Iterator[BinaryIO]:
    with open_compressed(path) as file:
        yield file.stream


def _choose_format(path: Path, format: str | None) -> str:
    """The format to read the file in, once content, ending and the caller's wish agree."""
    with _stream(path) as stream:
        sample = stream.read(_SAMPLE_BYTES)
    found = _recognise(path, sample)
    if format is None:
        expected = _ENDINGS.get(Path(_unpacked_name(path)).suffix.lower())
        if expected is not None and found not in expected and found != "gensim":
            raise ValueError(
                f"{path} ends like {' or '.join(_NAMES[name] for name in expected)}, but its content, {shown(sample)}, "
                f"looks like {_NAMES[found]}; rename the file, or pass format={found!r}."
            )
        return found
    text = {"word2vec", "glove"}
    if format != found and not {format, found} <= text:
        raise ValueError(
            f"format is {format!r}, but the content of {path}, {shown(sample)}, looks like {_NAMES[found]}; leave "
            f"format out, or pass format={found!r}."
        )
    return format


def _recognise(path: Path, sample: bytes) -> str:
    """The format by the first bytes of a file, unpacked; formats that aren't read get their error here."""
    if not sample:
        raise ValueError(f"{path} is empty; word vectors in text begin with a header line 'N d' or the first word.")
    if sample[:1] == b"\x80" and sample[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "gensim"
    if sample[:4] == b"PK\x03\x04":
        raise ValueError(
            f"{path} is a zip archive; unpack it and load the file in it. (A torch or numpy file is an archive, too: "
            "build WordVectors(words, languages, vectors) from what you load from it in safety.)"
        )
    if sample[:6] == b"\x93NUMPY":
        raise ValueError(
            f"{path} is a numpy array, without words. If it belongs to a .wv or .kv file of gensim, load that file; "
            "otherwise build WordVectors(words, languages, vectors)."
        )
    if sample[:4] == b"\xba\x16\x4f\x2f":
        raise ValueError(
            f"{path} is a fastText model (.bin with subwords), which this library doesn't read. Load the .vec file "
            "published beside it, or write one where fasttext is installed: model = fasttext.load_model(...), then a "
            "header line 'N d' and for each word of model.get_words() a line with model.get_word_vector(word)."
        )
    line, _, rest = sample.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    fields = line.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        return "word2vec-binary" if _is_binary(rest, int(fields[1])) else "word2vec"
    if glove_dimension(line):
        return "glove"
    raise ValueError(
        f"{path}, line 1: expected a header 'N d' (number of words and dimension) or a word and its vector, 'word v1 "
        f".. vd', but found {shown(line)}; this is no format of word vectors that this library reads."
    )


def _is_binary(content: bytes, dimension: int) -> bool:
    """Whether what follows a header is the first word's vector in bytes rather than in digits."""
    _, _, values = content.replace(b"\t", b" ").partition(b" ")
    if glove_dimension(b"w " + values.split(b" ", 1)[0].split(b"\n", 1)[0]):
        return False
    return any(byte < 9 or 13 < byte < 32 or byte > 126 for byte in values[: 4 * dimension])


def _pickle_refused(path: Path) -> str:
    name = path.name
    return (
        f"{path} is a pickle, as gensim writes it. Unpickling a file can run any code, so this library does it only "
        "where allow_pickle=True says that you trust where the file is from. Otherwise convert it once in a sandbox: "
        f"gensim.models.KeyedVectors.load({name!r}).save_word2vec_format('vectors.txt.gz', binary=False), and load "
        "vectors.txt.gz."
    )


def _unpacked_name(path: Path) -> str:
    return path.stem if path.suffix.lower() in COMPRESSED_SUFFIXES else path.name


def _languages(path: Path, keys: list[str], language: str | None, default: str) -> tuple[list[str], np.ndarray]:
    """Words and their languages: as the caller says, else as the keys say, else as the file's name says."""
    of_file = None if language is not None else language_of_file(_unpacked_name(path))
    if language is None and of_file is None:
        return split_keys(keys, default)
    num_prefixed = sum(_LANGUAGE_KEY.match(key) is not None for key in keys)
    if num_prefixed * 2 <= len(keys):
        # A file of one language; what looks like a prefix is part of the word.
        return keys, np.full(len(keys), language or of_file)
    if language is not None:
        raise ValueError(
            f"language is {language!r}, but {num_prefixed} of {len(keys)} words in {path} name their language "
            f"themselves, as {next(filter(_LANGUAGE_KEY.match, keys))!r}; leave language out, and select the words of "
            "a language afterwards."
        )
    return split_keys(keys, default)


def split_keys(keys: list[str], default_language: str = "eng") -> tuple[list[str], np.ndarray]:
    """Splits `lng:word` keys; a key without such a prefix is a word of `default_language`.

    Only the first colon counts (`deu:a:b` is the German word `a:b`), and `deu:` alone is a word, not a prefix.
    """
    prefixed = [_LANGUAGE_KEY.match(key) is not None for key in keys]
    words = [key[4:] if has else key for key, has in zip(keys, prefixed)]
    languages = np.array([key[:3] if has else default_language for key, has in zip(keys, prefixed)], dtype=np.str_)
    return words, languages


def _unique(path: Path, keys: list[str], vectors: np.ndarray, format: str) -> tuple[list[str], np.ndarray]:
    """Keys and vectors once each: GloVe's own files have a few words twice, in others that is an error."""
    if len(set(keys)) == len(keys):
        return keys, vectors
    seen: dict[str, int] = {}
    twice = [i for i, key in enumerate(keys) if seen.setdefault(key, i) != i]
    first = keys[twice[0]]
    unit, offset = ("word", 1) if format == "word2vec-binary" else ("line", 1 if format == "glove" else 2)
    where = (
        f"{path}, {unit} {twice[0] + offset}: the word {first!r} is there twice, first in {unit} "
        f"{seen[first] + offset}"
    )
    if format != "glove":
        raise ValueError(f"{where}; remove one.")
    logger.warning("%s; of %d such words the first vector is kept.", where, len(twice))
    keep = np.ones(len(keys), dtype=bool)
    keep[twice] = False
    return list(seen), vectors[keep]


@contextmanager
def _progress(path: Path, raw: BinaryIO) -> Iterator[Any]:
    with logging.tqdm(
        total=path.stat().st_size, unit="B", unit_scale=True, desc=f"Reading {path.name}", delay=2, leave=False
    ) as bar:
        yield lambda: bar.update(raw.tell() - bar.n)
