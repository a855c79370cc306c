"""Word vectors as text: word2vec and fastText .vec (a header line `N d`), GloVe (none); then a line a word."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from ..utils.compression import MAX_LINE_BYTES, OpenFile, bounded_line, too_long
from .bad_words import BadWords


# Bytes read and parsed at once.
_BLOCK_BYTES = 1 << 20

# Blocks parsed side by side.
_THREADS = min(4, os.cpu_count() or 1)

_LARGEST = float(np.finfo(np.float32).max)


def read_word2vec_text(
    path: Path, file: OpenFile, progress: Callable[[], None], bad: BadWords
) -> tuple[list[str], np.ndarray]:
    """Keys and vectors (N, d) float32 of word2vec text, fastText .vec among it: header `N d`, `word v1 .. vd`."""
    count, dimension = parse_header(path, bounded_line(path, file.stream, 1), file.max_bytes)
    vectors = np.empty((count, dimension), dtype=np.float32)
    keys: list[str] = []
    layout = _Layout(path, dimension, "the header says", bad=bad)
    for block, heads, numbers in layout.parse_all(file.stream, 2):
        if len(keys) + len(heads) > count:
            line = block.lines()[count - len(keys)]
            raise ValueError(
                f"{path}, line {count + 2}: the header says {count} words, but more lines follow, first "
                f"{shown(line)}; correct the header's count."
            )
        vectors[len(keys) : len(keys) + len(heads)] = numbers
        keys.extend(heads)
        progress()
    if not keys:
        raise ValueError(
            f"{path}, line 2: there are no words after the header ({count} words of {dimension} dimensions); download "
            "or write the file again."
        )
    if len(keys) + bad.count < count:
        raise ValueError(
            f"{path}, line {len(keys) + 1}: the file ends after {len(keys)} words, but its header says {count}; the "
            "file is cut short, or the header's count is wrong."
        )
    return keys, vectors[: len(keys)]


def read_glove_text(
    path: Path, file: OpenFile, progress: Callable[[], None], bad: BadWords
) -> tuple[list[str], np.ndarray]:
    """Keys and vectors (N, d) float32 of GloVe text: `word v1 .. vd`; the first line gives d.

    Words with spaces (glove.840B has a few, as `. . .`) are read from the right.
    """
    line = bounded_line(path, file.stream, 1)
    first = line.removeprefix(b"\xef\xbb\xbf")
    layout = _Layout(path, glove_dimension(first), "line 1 has", spaces_in_words=True, bad=bad)
    if not layout.dimension:
        raise ValueError(f"{path}, line 1: expected 'word v1 .. vd', but found {shown(first)}.")
    vectors = np.empty((0, layout.dimension), dtype=np.float32)
    keys: list[str] = []
    for _, heads, numbers in layout.parse_all(file.stream, 1, first):
        if len(keys) + len(heads) > len(vectors):
            # realloc moves pages rather than bytes: the peak stays near the final size.
            rows = max(len(keys) + len(heads), len(vectors) * 5 // 4)
            vectors.resize((rows, layout.dimension), refcheck=False)
        vectors[len(keys) : len(keys) + len(heads)] = numbers
        keys.extend(heads)
        progress()
    vectors.resize((len(keys), layout.dimension), refcheck=False)
    return keys, vectors


def header_numbers(line: bytes) -> tuple[int, int] | None:
    """The numbers of a line `N d`; None where it is another one, or they are larger than any file."""
    fields = line.removeprefix(b"\xef\xbb\xbf").split()
    if len(fields) != 2 or not all(field.isdigit() and len(field) < 19 for field in fields):
        return None
    return int(fields[0]), int(fields[1])


def parse_header(path: Path, line: bytes, max_bytes: int) -> tuple[int, int]:
    """N and d of the line `N d`, which word2vec's text and binary formats begin with."""
    numbers = header_numbers(line)
    if numbers is None or not all(numbers):
        raise ValueError(
            f"{path}, line 1: expected the header of the word2vec format, 'N d' (number of words and dimension, both "
            f"at least 1), but found {shown(line)}."
        )
    count, dimension = numbers
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


class _Block(NamedTuple):
    """Whole lines, each with its newline, and the number of the first of them in the file."""

    data: bytes
    first_line: int

    def lines(self) -> list[bytes]:
        return self.data.split(b"\n")[:-1]


def _blocks(path: Path, stream: BinaryIO, first_line: int, rest: bytes) -> Iterator[_Block]:
    """`rest` and the stream in blocks of whole lines; blank lines at the end of the file are left out."""
    blank = 0  # lines at the end of the last block
    while True:
        read = stream.read(_BLOCK_BYTES)
        data = rest + read if read else rest + b"\n"
        cut = data.rfind(b"\n") + 1
        whole, rest = data[:cut], data[cut:]
        if len(rest) > MAX_LINE_BYTES:
            raise too_long(path, first_line + blank + whole.count(b"\n"))
        text = len(whole.rstrip())
        end = whole.find(b"\n", text) + 1 if text else 0
        if end:
            block = _Block(b"\n" * blank + whole[:end], first_line)
            first_line += block.data.count(b"\n")
            blank = 0
            yield block
        blank += whole.count(b"\n", end)
        if not read:
            return


class _Layout:
    """Parses the lines of one file."""

    def __init__(
        self, path: Path, dimension: int, says: str, spaces_in_words: bool = False, bad: BadWords | None = None
    ):
        self.path, self.dimension, self.says, self.spaces_in_words = path, dimension, says, spaces_in_words
        self.bad = bad or BadWords()

    def parse_all(
        self, stream: BinaryIO, first_line: int, begin: bytes = b""
    ) -> Iterator[tuple[_Block, list[str], np.ndarray]]:
        """Words and numbers (n, d) of each block of `begin` and what follows in the stream, in order.

        At most `_THREADS` blocks are under way.
        """
        with ThreadPoolExecutor(_THREADS) as pool:
            under_way: deque = deque()
            for block in _blocks(self.path, stream, first_line, begin):
                under_way.append((block, pool.submit(self.parse, block)))
                if len(under_way) > _THREADS:
                    block, parsed = under_way.popleft()
                    yield block, *parsed.result()
            while under_way:
                block, parsed = under_way.popleft()
                yield block, *parsed.result()

    def parse(self, block: _Block) -> tuple[list[str], np.ndarray]:
        """Words and numbers of a block of lines."""
        parsed = self._parse_regular(block.data)
        if parsed is None:
            # fastText's own files have a space at the end of each line.
            tidy = block.data.replace(b"\r\n", b"\n").replace(b"\t", b" ").replace(b" \n", b"\n")
            parsed = self._parse_regular(tidy) if tidy != block.data else None
        return self._parse_lines(block) if parsed is None else parsed

    def _parse_regular(self, data: bytes) -> tuple[list[str], np.ndarray] | None:
        """All at once, where every line has a word and d numbers; None where any line has anything else."""
        codes = np.frombuffer(data, dtype=np.uint8)
        ends = np.flatnonzero(codes <= ord(" ")).astype(np.int32)  # where a field ends
        if len(ends) % (self.dimension + 1):
            return None
        ends = ends.reshape(-1, self.dimension + 1)
        if (codes[ends[:, :-1]] != ord(" ")).any() or (codes[ends[:, -1]] != ord("\n")).any():
            return None
        numbers = _parse_fields(data, ends)
        if numbers is None or not np.isfinite(numbers).all():
            return None
        starts = np.append(0, ends[:-1, -1] + 1)
        lengths = ends[:, 0] + 1 - starts
        if lengths.min() < 2:  # a line that begins with a space
            return None
        places = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
        try:
            return codes[places].tobytes().decode("utf-8").split(" ")[:-1], numbers
        except UnicodeDecodeError:
            return None

    def _parse_lines(self, block: _Block) -> tuple[list[str], np.ndarray]:
        """Line by line: for words with spaces and for errors with their line."""
        words: list[str] = []
        numbers = np.empty((block.data.count(b"\n"), self.dimension), dtype=np.float32)
        for number, line in enumerate(block.lines(), start=block.first_line):
            try:
                word, values = self._parse_line(line.rstrip().replace(b"\t", b" "), number)
            except ValueError as error:
                self.bad.add(error)
                continue
            numbers[len(words)] = values
            words.append(word)
        return words, numbers[: len(words)]

    def _parse_line(self, line: bytes, number: int) -> tuple[str, list[float]]:
        head, _, rest = line.partition(b" ")
        if line.count(b" ") != self.dimension:
            head, rest = self._ragged(line, number)
        try:
            word = head.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self.path}, line {number}: the word {head[:60]!r} is not valid UTF-8 ({error.reason}); convert the file "
                "to UTF-8 or remove the line."
            ) from error
        if not head:
            raise ValueError(
                f"{self.path}, line {number}: no word before the first space, in {shown(line)}; correct or remove the "
                "line."
            )
        values = rest.split(b" ")
        for value in values:
            if not _is_number(value) or not abs(float(value)) <= _LARGEST:
                what = "not a finite float32" if _is_number(value) else "not a number"
                raise ValueError(
                    f"{self.path}, line {number}: {shown(value)} is {what}, in the vector of {shown(head)}; correct or "
                    "remove the line."
                )
        return word, list(map(float, values))

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


def _parse_fields(data: bytes, ends: np.ndarray) -> np.ndarray | None:
    """The numbers (n, d) float32 of lines of a word and d numbers; None where one of them is none.

    Args:
        data: the lines.
        ends: (n, d + 1) int32, the position behind each field.
    """
    # An Arrow array of strings is their bytes in one buffer, and where each ends. Words, and the space after each
    # field, are strings as well, but null, so that nothing has to be cut out.
    offsets = np.zeros(2 * ends.size + 1, dtype=np.int32)
    offsets[1::2], offsets[2::2] = ends.reshape(-1), ends.reshape(-1) + 1
    valid = np.zeros((*ends.shape, 2), dtype=bool)
    valid[:, 1:, 0] = True
    buffers = [np.packbits(valid, bitorder="little"), offsets, data]
    strings = pa.Array.from_buffers(pa.string(), 2 * ends.size, list(map(pa.py_buffer, buffers)))
    try:
        numbers = strings.cast(pa.float64())  # rounded twice, as Python and gensim do; faster than to float32 at once
    except pa.ArrowInvalid:
        return None
    values = np.frombuffer(numbers.buffers()[1], dtype=np.float64, count=valid.size).reshape(valid.shape)
    with np.errstate(over="ignore"):  # what is too large for float32 is found afterwards
        return values[:, 1:, 0].astype(np.float32)


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return b"_" not in field  # Python takes digits with underscores, which no vector file means


def shown(content: bytes, limit: int = 80) -> str:
    """Bytes of a file as they may stand in an error: quoted, cut short, undecodable bytes escaped."""
    text = content.rstrip(b"\r\n").decode("utf-8", errors="backslashreplace")
    return repr(text if len(text) <= limit else text[:limit] + "...")
