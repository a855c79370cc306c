"""Readers of word vector files: which format a file has, and its words, languages and vectors.

A new format is one entry in `_STREAMED` or `_WHOLE`, in `_ENDINGS` and `_NAMES`, and in `_recognise`. Only "gensim"
unpickles, and only where the user allows it.
"""

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from transformers.utils import logging

from ..text.file_names import kind_of, published_language, unpacked_name
from ..text.languages import to_iso639_3
from ..utils.compression import open_compressed
from .bad_words import ON_BAD_WORDS, BadWords
from .binary_format import read_word2vec_binary
from .fasttext_format import MAGIC as FASTTEXT_MAGIC
from .fasttext_format import read_fasttext
from .frequencies import check_choice, frequencies_of
from .gensim_format import read_gensim
from .keys import split_keys
from .text_format import glove_dimension, header_numbers, read_glove_text, read_word2vec_text, shown
from .torch_format import read_torch
from .words import CodedLanguages, first_not_finite


logger = logging.get_logger(__name__)

_STREAMED = {"word2vec": read_word2vec_text, "glove": read_glove_text, "word2vec-binary": read_word2vec_binary}
_WHOLE = {"fasttext": read_fasttext, "gensim": read_gensim, "torch": read_torch}
FORMATS = (*_STREAMED, *_WHOLE)

# What files with these endings hold. Other endings say nothing.
_ENDINGS = {
    ".txt": ("word2vec", "glove"),
    ".vec": ("word2vec", "glove"),
    ".bin": ("word2vec-binary", "fasttext"),
    ".wv": ("gensim",),
    ".kv": ("gensim",),
    ".pt": ("torch",),
    ".pth": ("torch",),
}

_NAMES = {
    "word2vec": "word2vec text",
    "glove": "text without a header, as GloVe's",
    "word2vec-binary": "word2vec binary",
    "fasttext": "a fastText model",
    "gensim": "a pickle, as gensim's",
    "torch": "a torch file",
}

# What is often found in place of a file, in lower case: how it begins, what it is and what to do.
_MISTAKES = {
    b"version https://git-lfs": "a pointer of Git LFS; get the file that it stands for with 'git lfs pull'",
    b"<!doctype": "a web page; download the file that it links to",
    b"<html": "a web page; download the file that it links to",
    b"\xff\xfe": "text in UTF-16; convert it to UTF-8",
    b"\xfe\xff": "text in UTF-16; convert it to UTF-8",
    b"%pdf": "a PDF document; load the file of word vectors",
}

# Enough for a line of text vectors of some 10,000 dimensions.
_SAMPLE_BYTES = 1 << 17


@dataclass(frozen=True)
class ReadOptions:
    """How to read files of word vectors: the arguments of `WordVectors.load` by the same names."""

    format: str | None = None
    default_language: str = "eng"
    allow_pickle: bool = False
    frequencies: str | None = "auto"
    on_bad_words: str = "error"

    def __post_init__(self):
        if self.format is not None and self.format not in FORMATS:
            known = ", ".join(map(repr, FORMATS))
            raise ValueError(f"format is {self.format!r}; known formats: {known}, or None to find out.")
        check_choice(self.frequencies)
        if self.on_bad_words not in ON_BAD_WORDS:
            known = " or ".join(map(repr, ON_BAD_WORDS))
            raise ValueError(f"on_bad_words is {self.on_bad_words!r}, but must be {known}.")
        if self.default_language != "eng":  # which needs no table of languages, so that saved folders open at once
            object.__setattr__(self, "default_language", to_iso639_3(self.default_language, "default_language"))


class VectorFile(NamedTuple):
    """Words without prefix, their languages, vectors (N, d) float32, frequencies or None, and where they come from."""

    words: list[str]
    languages: CodedLanguages
    vectors: np.ndarray
    frequencies: np.ndarray | None
    metadata: dict[str, Any]


def read_vectors(
    path: Path,
    options: ReadOptions,
    *,
    language: str | None = None,
    extra_words: Iterable[str] = (),
    origin: str | None = None,
) -> VectorFile:
    """Reads a file of word vectors; the arguments and errors are those of `WordVectors.load`.

    `origin` is where the file comes from, its name by default.
    """
    if language is not None:
        language = to_iso639_3(language)
    format = _choose_format(path, options.format)
    extra_words = list(extra_words)
    if extra_words and format != "fasttext":
        raise ValueError(
            f"extra_words needs a fastText model, which has vectors for unseen words, but {path} is {_NAMES[format]}; "
            "leave extra_words out."
        )
    counts = None
    bad = BadWords(options.on_bad_words == "skip")
    if format in _STREAMED:
        with open_compressed(path) as file, _progress(path, file.raw) as progress:
            keys, vectors = _STREAMED[format](path, file, progress, bad)
    elif format == "gensim" and not options.allow_pickle:
        raise ValueError(_pickle_refused(path))
    else:
        keys, vectors, counts = _WHOLE[format](path, extra_words) if extra_words else _WHOLE[format](path)
        wrong = first_not_finite(vectors)
        if wrong is not None:
            raise ValueError(
                f"{path}: the vector of word {wrong + 1}, {keys[wrong]!r:.80}, has NaN or infinite values."
            )
        if counts is not None and len(wrong := np.flatnonzero(~(counts >= 0) | np.isinf(counts))):
            raise ValueError(
                f"{path}: the frequency of word {wrong[0] + 1}, {keys[wrong[0]]!r:.80}, is {counts[wrong[0]]}, but must be "
                "a finite number from 0 on; correct it, or leave the frequencies out."
            )
    bad.tell(path)
    words, languages = split_keys(
        keys,
        path=path,
        place=lambda i: _place(format, i),
        language=language,
        language_of_file=published_language(unpacked_name(path)) or published_language(origin or ""),
        default_language=options.default_language,
    )
    kept = _first_of_each(path, keys, format, options.on_bad_words == "skip")
    if kept is not None:
        words, languages, vectors = [words[i] for i in kept.tolist()], languages.take(kept), vectors[kept]
        counts = None if counts is None else counts[kept]
    origin = origin or path.name
    frequencies, kind = frequencies_of(origin, words, languages, counts, options.frequencies)
    metadata = {"origin": origin, "format": format} | ({"frequencies": kind} if kind else {})
    return VectorFile(words, languages, vectors, frequencies, metadata)


def dimension_of(path: Path, options: ReadOptions) -> int | None:
    """The dimension of the vectors, where the first line of the file tells it."""
    format = _choose_format(path, options.format)
    with _stream(path) as stream:
        line = stream.readline(_SAMPLE_BYTES)
    if format == "glove":
        return glove_dimension(line.removeprefix(b"\xef\xbb\xbf"))
    numbers = header_numbers(line) if format in _STREAMED else None
    return None if numbers is None else numbers[1]


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
        expected = _ENDINGS.get(kind_of(path))
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
        raise ValueError(f"{path} is empty; download or write it again.")
    for beginning, what in _MISTAKES.items():
        if sample.lstrip().lower().startswith(beginning):
            raise ValueError(f"{path} is {what}.")
    if sample[:1] == b"\x80" and sample[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        # torch once wrote such files, too, which it still reads without running anything.
        return "torch" if "torch" in _ENDINGS.get(path.suffix.lower(), ()) else "gensim"
    if sample[:4] == b"PK\x03\x04":
        if _is_torch(path):
            return "torch"
        raise ValueError(
            f"{path} is a zip archive; unpack it and load the file in it. (A numpy .npz file is an archive, too: build "
            "WordVectors(words, languages, vectors) from what you load from it with allow_pickle=False.)"
        )
    if sample[:6] == b"\x93NUMPY":
        raise ValueError(
            f"{path} is a numpy array, without words. If it belongs to a .wv or .kv file of gensim, load that file; "
            "otherwise build WordVectors(words, languages, vectors)."
        )
    if sample[:4] == FASTTEXT_MAGIC:
        return "fasttext"
    line, _, rest = sample.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    if (numbers := header_numbers(line)) is not None:
        return "word2vec-binary" if _is_binary(rest, numbers[1]) else "word2vec"
    if glove_dimension(line):
        return "glove"
    raise ValueError(
        f"{path}, line 1: expected a header 'N d' (number of words and dimension) or a word and its vector, 'word v1 "
        f".. vd', but found {shown(line)}; this is no format of word vectors that this library reads. Convert it to text "
        "with such lines, or build WordVectors(words, languages, vectors)."
    )


def _is_torch(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):  # damaged, or of another version of zip
        return False


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


def has_known_ending(path: Path) -> bool:
    """Whether a file's ending says that it can hold word vectors."""
    return kind_of(path) in _ENDINGS


def _place(format: str, index: int) -> str:
    if format in ("word2vec", "glove"):
        return f"line {index + (2 if format == 'word2vec' else 1)}"
    return f"word {index + 1}"


def _first_of_each(path: Path, keys: list[str], format: str, skip: bool = False) -> np.ndarray | None:
    """Indices of the keys, each once, or None for all: GloVe's own files have a few twice, in others it's an error."""
    if len(set(keys)) == len(keys):
        return None
    seen: dict[str, int] = {}
    twice = [i for i, key in enumerate(keys) if seen.setdefault(key, i) != i]
    first = keys[twice[0]]
    where = (
        f"{path}, {_place(format, twice[0])}: the word {first!r:.80} is there twice, first in "
        f"{_place(format, seen[first])}"
    )
    if format != "glove" and not skip:
        raise ValueError(f"{where}; remove one.")
    logger.warning("%s; of %d such words the first vector is kept.", where, len(twice))
    return np.fromiter(seen.values(), dtype=np.int64, count=len(seen))


@contextmanager
def _progress(path: Path, raw: BinaryIO) -> Iterator[Any]:
    with logging.tqdm(
        total=path.stat().st_size, unit="B", unit_scale=True, desc=f"Reading {path.name}", delay=2, leave=False
    ) as bar:
        shown_bytes = 0  # the bar itself doesn't count where bars are switched off

        def update() -> None:
            nonlocal shown_bytes
            position = raw.tell()
            bar.update(position - shown_bytes)
            shown_bytes = position

        yield update
