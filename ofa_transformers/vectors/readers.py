"""Readers of word vector files. Each returns words, languages (ISO 639-3) and vectors (N, d) float32.

A new format is one entry in `read_vectors`. No reader unpickles.
"""

import gzip
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from transformers.utils import logging


# Bytes read and parsed at once.
_BLOCK_BYTES = 1 << 24

# gzip packs at most about 1,032 to 1 (zlib's technical details).
_MAX_GZIP_RATIO = 1032

_LARGEST = float(np.finfo(np.float32).max)

_LANGUAGE_KEY = re.compile(r"[a-z]{3}:(?=.)", re.DOTALL)

_BINARY_SUFFIXES = {".wv", ".kv", ".bin", ".model", ".pkl", ".pickle", ".pt", ".pth", ".npy", ".npz"}


def read_vectors(path: Path, default_language: str = "eng") -> tuple[list[str], np.ndarray, np.ndarray]:
    """Reads a file of word vectors, choosing the reader by the file's first bytes and name."""
    with open(path, "rb") as file:
        magic = file.read(2)
    if not magic:
        raise ValueError(f"{path} is empty; word vectors in word2vec text format begin with a header line 'N d'.")
    gzipped = magic == b"\x1f\x8b"
    suffix = Path(path.stem).suffix if gzipped else path.suffix
    if magic[:1] == b"\x80" or suffix.lower() in _BINARY_SUFFIXES:
        kind = "a pickle" if magic[:1] == b"\x80" else f"a binary file ({suffix})"
        raise ValueError(
            f"{path} is {kind}. Unpickling a file can run any code, so this library doesn't. If you trust the file, "
            "convert it once where gensim is installed: "
            f"gensim.models.KeyedVectors.load({path.name!r}).save_word2vec_format('vectors.txt.gz', binary=False) "
            "(for the binary word2vec format: KeyedVectors.load_word2vec_format(..., binary=True)), and load "
            "vectors.txt.gz."
        )
    keys, vectors = _read_word2vec_text(path, gzipped)
    words, languages = split_keys(keys, default_language)
    return words, languages, vectors


def split_keys(keys: list[str], default_language: str = "eng") -> tuple[list[str], np.ndarray]:
    """Splits `lng:word` keys; a key without such a prefix is a word of `default_language`.

    Only the first colon counts (`deu:a:b` is the German word `a:b`), and `deu:` alone is a word, not a prefix.
    """
    prefixed = [_LANGUAGE_KEY.match(key) is not None for key in keys]
    words = [key[4:] if has else key for key, has in zip(keys, prefixed)]
    languages = np.array([key[:3] if has else default_language for key, has in zip(keys, prefixed)], dtype=np.str_)
    return words, languages


def _read_word2vec_text(path: Path, gzipped: bool) -> tuple[list[str], np.ndarray]:
    size = path.stat().st_size
    with (
        open(path, "rb") as raw,
        logging.tqdm(
            total=size, unit="B", unit_scale=True, desc=f"Reading {path.name}", delay=2, leave=False
        ) as progress,
    ):
        stream: BinaryIO = gzip.GzipFile(fileobj=raw) if gzipped else raw
        try:
            return _parse_word2vec_text(path, stream, size * (_MAX_GZIP_RATIO if gzipped else 1), raw, progress)
        except (EOFError, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is damaged or cut short ({error}); download it again.") from error


def _parse_word2vec_text(path, stream, max_bytes, raw, progress) -> tuple[list[str], np.ndarray]:
    count, dimension = _header(path, stream.readline(), max_bytes)
    vectors = np.empty((count, dimension), dtype=np.float32)
    keys: list[str] = []
    for lines in _line_blocks(stream):
        first_line = len(keys) + 2  # counted from 1, after the header
        heads, numbers = _parse_lines(path, lines, first_line, dimension)
        if len(keys) + len(lines) > count:
            line = lines[count - len(keys)]
            raise ValueError(
                f"{path}, line {count + 2}: the header says {count} words, but more lines follow, first "
                f"{_shown(line)}; correct the header's count."
            )
        vectors[len(keys) : len(keys) + len(lines)] = numbers
        keys.extend(heads)
        progress.update(raw.tell() - progress.n)
    if not keys:
        raise ValueError(f"{path} has a header ({count} words of {dimension} dimensions) but no words after it.")
    if len(keys) < count:
        raise ValueError(
            f"{path}, line {len(keys) + 1}: the file ends after {len(keys)} words, but its header says {count}; the "
            "file is cut short, or the header's count is wrong."
        )
    _check_unique(path, keys)
    return keys, vectors


def _header(path: Path, line: bytes, max_bytes: int) -> tuple[int, int]:
    fields = line.removeprefix(b"\xef\xbb\xbf").split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields) or b"0" in fields:
        raise ValueError(
            f"{path}, line 1: expected the header of word2vec text, 'N d' (number of words and dimension, both at "
            f"least 1), but found {_shown(line)}."
        )
    count, dimension = int(fields[0]), int(fields[1])
    if count * dimension * 2 > max(max_bytes, 1 << 24):  # a digit and a space each; small files end later
        raise ValueError(
            f"{path}, line 1: the header says {count} words of {dimension} dimensions, which do not fit into a file "
            "of this size; the file is cut short, or the header is wrong."
        )
    return count, dimension


def _line_blocks(stream: BinaryIO) -> Iterator[list[bytes]]:
    """The stream's lines without line ends, in blocks; empty lines at the end of the file are left out."""
    rest, blank = b"", 0
    while block := stream.read(_BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        filled = len(lines)
        while filled and not lines[filled - 1].strip():
            filled -= 1
        if filled:
            yield [b""] * blank + lines[:filled]
            blank = 0
        blank += len(lines) - filled
    if rest.strip():
        yield [b""] * blank + [rest]


def _parse_lines(path: Path, lines: list[bytes], first_line: int, dimension: int) -> tuple[list[str], np.ndarray]:
    """Words and numbers of a block of lines: one split a line for the word, one parse a block for the numbers."""
    lines = [line.rstrip() for line in lines]
    if any(b"\t" in line for line in lines):
        lines = [line.replace(b"\t", b" ") for line in lines]
    parts = [line.partition(b" ") for line in lines]
    ragged = next((i for i, line in enumerate(lines) if line.count(b" ") != dimension), None)
    if ragged is not None:
        found = max(len(lines[ragged].split(b" ")) - 1, 0)
        raise ValueError(
            f"{path}, line {first_line + ragged}: {found} values where the header says {dimension}, in "
            f"{_shown(lines[ragged])}; correct or remove the line."
        )
    try:
        with warnings.catch_warnings():  # numpy before 2.4 warns, and stops at text that isn't a number
            warnings.simplefilter("ignore", DeprecationWarning)
            numbers = np.fromstring(b" ".join([rest for _, _, rest in parts]), dtype=np.float32, sep=" ")
    except ValueError:
        numbers = np.empty(0, dtype=np.float32)
    if numbers.size != len(lines) * dimension or not np.isfinite(numbers).all():
        _name_bad_number(path, parts, first_line, dimension)
    try:
        text = b"\n".join([head for head, _, _ in parts]).decode("utf-8")
    except UnicodeDecodeError:
        _name_bad_word(path, parts, first_line)
        raise
    words = text.split("\n")
    if "" in words:
        line = words.index("")
        raise ValueError(
            f"{path}, line {first_line + line}: no word before the first space, in {_shown(lines[line])}; correct or "
            "remove the line."
        )
    return words, numbers.reshape(len(lines), dimension)


def _name_bad_number(path: Path, parts: list, first_line: int, dimension: int) -> None:
    for i, (head, _, rest) in enumerate(parts):
        for value in rest.split(b" "):
            try:
                number = float(value)
            except ValueError:
                number = None
            # Python's float() takes digits with underscores, which no vector file means.
            if number is None or b"_" in value or not abs(number) <= _LARGEST:
                what = "not a number" if number is None or b"_" in value else "not a finite float32"
                raise ValueError(
                    f"{path}, line {first_line + i}: {_shown(value)} is {what}, in the vector of "
                    f"{_shown(head)}; correct or remove the line."
                )
    raise ValueError(f"{path}, lines {first_line} to {first_line + len(parts) - 1}: the numbers cannot be read.")


def _name_bad_word(path: Path, parts: list, first_line: int) -> None:
    for i, (head, _, _) in enumerate(parts):
        try:
            head.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, line {first_line + i}: the word {head[:60]!r} is not valid UTF-8 ({error.reason}); convert "
                "the file to UTF-8 or remove the line."
            ) from error


def _check_unique(path: Path, keys: list[str]) -> None:
    if len(set(keys)) == len(keys):
        return
    seen: dict[str, int] = {}
    for i, key in enumerate(keys):
        if key in seen:
            raise ValueError(
                f"{path}, line {i + 2}: the word {key!r} is there twice, first in line {seen[key] + 2}; remove one."
            )
        seen[key] = i


def _shown(content: bytes, limit: int = 80) -> str:
    """Bytes of a file as they may stand in an error: quoted, cut short, undecodable bytes escaped."""
    text = content.rstrip(b"\r\n").decode("utf-8", errors="backslashreplace")
    return repr(text if len(text) <= limit else text[:limit] + "...")


def open_text(path: Path) -> io.BufferedIOBase:
    """A file opened for reading bytes, unpacked if it is gzipped (by its first bytes, not its name)."""
    with open(path, "rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if gzipped else open(path, "rb")
