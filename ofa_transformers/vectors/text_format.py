"""Word vectors as text: word2vec and fastText .vec (a header line `N d`), GloVe (none); then a line a word."""

import itertools
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .compression import OpenFile


# Bytes read and parsed at once.
_BLOCK_BYTES = 1 << 22

# Blocks parsed side by side where pyarrow is there, which needs no GIL for it.
_THREADS = min(4, os.cpu_count() or 1)

_LARGEST = float(np.finfo(np.float32).max)


def read_word2vec_text(path: Path, file: OpenFile, progress: Callable[[], None]) -> tuple[list[str], np.ndarray]:
    """Keys and vectors (N, d) float32 of word2vec text, fastText .vec among it: header `N d`, `word v1 .. vd`."""
    count, dimension = parse_header(path, file.stream.readline(), file.max_bytes)
    vectors = np.empty((count, dimension), dtype=np.float32)
    keys: list[str] = []
    layout = _Layout(path, dimension, "the header says")
    for lines, heads, numbers in layout.parse_all(_line_blocks(file.stream), 2):  # lines count from 1
        if len(keys) + len(lines) > count:
            line = lines[count - len(keys)]
            raise ValueError(
                f"{path}, line {count + 2}: the header says {count} words, but more lines follow, first "
                f"{shown(line)}; correct the header's count."
            )
        vectors[len(keys) : len(keys) + len(lines)] = numbers
        keys.extend(heads)
        progress()
    if not keys:
        raise ValueError(f"{path} has a header ({count} words of {dimension} dimensions) but no words after it.")
    if len(keys) < count:
        raise ValueError(
            f"{path}, line {len(keys) + 1}: the file ends after {len(keys)} words, but its header says {count}; the "
            "file is cut short, or the header's count is wrong."
        )
    return keys, vectors


def read_glove_text(path: Path, file: OpenFile, progress: Callable[[], None]) -> tuple[list[str], np.ndarray]:
    """Keys and vectors (N, d) float32 of GloVe text: `word v1 .. vd`; the first line gives d.

    Words with spaces (glove.840B has a few, as `. . .`) are read from the right.
    """
    blocks = _line_blocks(file.stream)
    first = next(blocks, [b""])
    first[0] = first[0].removeprefix(b"\xef\xbb\xbf")
    layout = _Layout(path, glove_dimension(first[0]), "line 1 has", spaces_in_words=True)
    if not layout.dimension:
        raise ValueError(f"{path}, line 1: expected 'word v1 .. vd', but found {shown(first[0])}.")
    vectors = np.empty((0, layout.dimension), dtype=np.float32)
    keys: list[str] = []
    for _, heads, numbers in layout.parse_all(itertools.chain([first], blocks), 1):
        if len(keys) + len(heads) > len(vectors):
            # realloc moves pages rather than bytes: the peak stays near the final size.
            rows = max(len(keys) + len(heads), len(vectors) * 5 // 4)
            vectors.resize((rows, layout.dimension), refcheck=False)
        vectors[len(keys) : len(keys) + len(heads)] = numbers
        keys.extend(heads)
        progress()
    vectors.resize((len(keys), layout.dimension), refcheck=False)
    return keys, vectors


def parse_header(path: Path, line: bytes, max_bytes: int) -> tuple[int, int]:
    """N and d of the line `N d`, which word2vec's text and binary formats begin with."""
    fields = line.removeprefix(b"\xef\xbb\xbf").split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields) or not all(map(int, fields)):
        raise ValueError(
            f"{path}, line 1: expected the header of the word2vec format, 'N d' (number of words and dimension, both "
            f"at least 1), but found {shown(line)}."
        )
    count, dimension = int(fields[0]), int(fields[1])
    if count * dimension * 2 > max(max_bytes, 1 << 24):  # a digit and a space each; small files end later
        raise ValueError(
            f"{path}, line 1: the header says {count} words of {dimension} dimensions, which do not fit into a file "
            "of this size; the file is cut short, or the header is wrong."
        )
    return count, dimension


def glove_dimension(line: bytes) -> int:
    """The number of values at the end of `word v1 .. vd`; 0 if the line is none of these."""
    fields = line.split()
    numbers = 0
    while numbers < len(fields) - 1 and _is_number(fields[-1 - numbers]):
        numbers += 1
    return numbers


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


class _Layout:
    """Parses lines of one file."""

    def __init__(self, path: Path, dimension: int, says: str, spaces_in_words: bool = False):
        self.path, self.dimension, self.says, self.spaces_in_words = path, dimension, says, spaces_in_words

    def parse_all(
        self, blocks: Iterable[list[bytes]], first_line: int
    ) -> Iterator[tuple[list[bytes], list[str], np.ndarray]]:
        """Lines, words and numbers of each block, in order; at most `_THREADS` blocks are under way."""
        with ThreadPoolExecutor(_THREADS) as pool:
            under_way: deque = deque()
            for lines in blocks:
                under_way.append((lines, pool.submit(self.parse, lines, first_line)))
                first_line += len(lines)
                if len(under_way) > _THREADS:
                    lines, parsed = under_way.popleft()
                    yield lines, *parsed.result()
            while under_way:
                lines, parsed = under_way.popleft()
                yield lines, *parsed.result()

    def parse(self, lines: list[bytes], first_line: int) -> tuple[list[str], np.ndarray]:
        """Words and numbers of a block of lines: one split a line for the word, one parse for the numbers."""
        path, dimension = self.path, self.dimension
        lines = [line.rstrip() for line in lines]
        if any(b"\t" in line for line in lines):
            lines = [line.replace(b"\t", b" ") for line in lines]
        parts = [line.partition(b" ")[::2] for line in lines]
        for i in [i for i, line in enumerate(lines) if line.count(b" ") != dimension]:
            parts[i] = self._ragged(lines[i], first_line + i)
        numbers = _parse_numbers(b" ".join([rest for _, rest in parts]))
        if numbers.size != len(lines) * dimension or not np.isfinite(numbers).all():
            _name_bad_number(path, parts, first_line)
        try:
            text = b"\n".join([head for head, _ in parts]).decode("utf-8")
        except UnicodeDecodeError:
            _name_bad_word(path, parts, first_line)
            raise
        words = text.split("\n")
        if "" in words:
            line = words.index("")
            raise ValueError(
                f"{path}, line {first_line + line}: no word before the first space, in {shown(lines[line])}; correct "
                "or remove the line."
            )
        return words, numbers.reshape(len(lines), dimension)

    def _ragged(self, line: bytes, number: int) -> tuple[bytes, bytes]:
        fields = line.split(b" ")
        if self.spaces_in_words and len(fields) > self.dimension + 1:
            head, values = fields[: -self.dimension], fields[-self.dimension :]
            if not any(map(_is_number, head[1:])):
                return b" ".join(head), b" ".join(values)
        raise ValueError(
            f"{self.path}, line {number}: {max(len(fields) - 1, 0)} values where {self.says} {self.dimension}, in "
            f"{shown(line)}; correct or remove the line."
        )


def _parse_numbers(text: bytes) -> np.ndarray:
    """Numbers between single spaces, float32; empty where something else is among them.

    Both ways round twice, to float64 and to float32, and give the same.
    """
    try:
        import pyarrow
    except ImportError:
        pyarrow = None
    if pyarrow is not None and text.isascii():
        # An Arrow array of strings is their bytes in one buffer, and where each ends.
        ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord(" "))
        ends -= np.arange(len(ends))
        joined = text.translate(None, b" ")
        offsets = np.empty(len(ends) + 2, dtype=np.int32)
        offsets[0], offsets[1:-1], offsets[-1] = 0, ends, len(joined)
        strings = pyarrow.Array.from_buffers(
            pyarrow.string(), len(offsets) - 1, [None, pyarrow.py_buffer(offsets), pyarrow.py_buffer(joined)]
        )
        try:
            numbers = strings.cast(pyarrow.float64())
        except pyarrow.ArrowInvalid:
            pass  # numpy reads a few forms more, as +1
        else:
            with np.errstate(over="ignore"):  # what is too large for float32 is found afterwards
                return numbers.to_numpy().astype(np.float32)
    try:
        with warnings.catch_warnings():  # numpy before 2.4 warns, and stops at text that isn't a number
            warnings.simplefilter("ignore", DeprecationWarning)
            return np.fromstring(text, dtype=np.float32, sep=" ")
    except ValueError:
        return np.empty(0, dtype=np.float32)


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return b"_" not in field  # Python takes digits with underscores, which no vector file means


def _name_bad_number(path: Path, parts: list, first_line: int) -> None:
    for i, (head, rest) in enumerate(parts):
        for value in rest.split(b" "):
            if not _is_number(value) or not abs(float(value)) <= _LARGEST:
                what = "not a finite float32" if _is_number(value) else "not a number"
                raise ValueError(
                    f"{path}, line {first_line + i}: {shown(value)} is {what}, in the vector of "
                    f"{shown(head)}; correct or remove the line."
                )
    raise ValueError(f"{path}, lines {first_line} to {first_line + len(parts) - 1}: the numbers cannot be read.")


def _name_bad_word(path: Path, parts: list, first_line: int) -> None:
    for i, (head, _) in enumerate(parts):
        try:
            head.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, line {first_line + i}: the word {head[:60]!r} is not valid UTF-8 ({error.reason}); convert "
                "the file to UTF-8 or remove the line."
            ) from error


def shown(content: bytes, limit: int = 80) -> str:
    """Bytes of a file as they may stand in an error: quoted, cut short, undecodable bytes escaped."""
    text = content.rstrip(b"\r\n").decode("utf-8", errors="backslashreplace")
    return repr(text if len(text) <= limit else text[:limit] + "...")
