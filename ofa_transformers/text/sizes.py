"""How much text a file holds, about, without reading all of it."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..utils.compression import MAX_LINE_BYTES, open_compressed
from .lines import lines_of, reading_parquet


# Bytes of a file whose lines are read, about: parts of its whole length.
_SAMPLE = 1 << 22
# Bytes that are gone through at most, only to count line breaks; what lies beyond is like that. A plain file that is
# longer isn't gone through, but looked at in so many places.
_MOST_PLAIN, _MOST_UNPACKED = 1 << 26, 1 << 27
_PIECE = 1 << 16
_PLACES = 256
# Rows of a Parquet file that are looked at.
_MOST_ROWS = 10_000


class TextSize(NamedTuple):
    """About how many characters and lines that aren't blank; and some of the lines, from all over the text."""

    characters: int
    lines: int
    sample: list[str]


def size_from_sample(texts: Iterable[str], factor: float, line_factor: float | None = None) -> TextSize:
    """The size of a text that has `factor` times the characters of these texts of it, and as many times the lines if
    there is no factor of their own."""
    texts = list(texts)
    sample = list(lines_of(texts))
    lines = (factor if line_factor is None else line_factor) * len(sample)
    return TextSize(round(factor * sum(map(len, texts))), round(lines), sample)


class _Parts(NamedTuple):
    """Parts of a file, whole lines each; about how many bytes and lines the file has, and whether the parts are all."""

    parts: list[bytes]
    total: float
    lines: float
    complete: bool


def size_of_lines(path: Path, texts: Callable[[BinaryIO], Iterator[str]]) -> TextSize:
    """Of a file of lines, plain or packed, that `texts` makes texts of.

    Lines are counted where that takes a fraction of a second; in a longer file, those that begin in some places of it.
    Long and short ones have the same chance to begin there, which they haven't to lie there as a whole.

    Raises:
        ValueError: what is read of it is no text.
    """
    with open_compressed(path) as file:
        size, found = path.stat().st_size, None
        if file.stream is file.raw and size > _MOST_PLAIN:
            found = _spread_parts(file.raw, size)
            file.raw.seek(0)
        if found is None:
            found = _counted_parts(file.stream, file.raw, size)
    try:
        read = list(itertools.chain.from_iterable(texts(io.BytesIO(part)) for part in found.parts))
    except ValueError:
        if not found.complete:  # said again with the number of the line
            with open_compressed(path) as file:
                for _ in texts(file.stream):
                    pass
        raise
    if found.complete:
        return size_from_sample(read, 1)
    length, lines = sum(map(len, found.parts)), sum(map(_lines_in, found.parts))
    return size_from_sample(read, found.total / length, found.lines / lines)


def _counted_parts(stream: BinaryIO, raw: BinaryIO, size: int) -> _Parts:
    """Of a stream that is read to its end, or so far that the rest can be taken for the same."""
    parts: list[bytes] = []
    total = lines = kept = 0
    step = 1
    for number in itertools.count():
        part = _whole_lines(stream, _PIECE)
        if not part:
            break
        total += len(part)
        lines += _lines_in(part)
        if number % step == 0:
            parts.append(part)
            kept += len(part)
        if kept > 2 * _SAMPLE and len(parts) > 1:
            parts, step = parts[::2], 2 * step
            kept = sum(map(len, parts))
        if total > _MOST_UNPACKED:
            longer = max(1.0, size / raw.tell())
            return _Parts(parts, total * longer, lines * longer, False)
    return _Parts([b"".join(parts)] if step == 1 else parts, total, lines, step == 1)


def _spread_parts(raw: BinaryIO, size: int) -> _Parts | None:
    """Of a plain file: the lines that begin in places all over it; None where too few do to say anything."""
    parts, width = [], _SAMPLE // _PLACES
    for number in range(_PLACES):
        begin = number * (size - width) // (_PLACES - 1)
        raw.seek(max(begin - 1, 0))
        if begin and not raw.readline(width + 1).endswith(b"\n"):
            continue  # none begins here
        if (left := begin + width - raw.tell()) > 0:
            parts.append(_whole_lines(raw, left))
    begun = sum(map(_lines_in, parts))
    if begun < _PLACES:
        return None
    return _Parts(parts, size, begun * size / _SAMPLE, False)


def _whole_lines(stream: BinaryIO, size: int) -> bytes:
    """So many bytes, and what is left of their last line."""
    part = stream.read(size)
    return part if part.endswith(b"\n") or not part else part + stream.readline(MAX_LINE_BYTES + 1)


def _lines_in(part: bytes) -> int:
    return part.count(b"\n") + (not part.endswith(b"\n"))


def size_of_rows(path: Path, column: str) -> TextSize:
    """Of a Parquet file: characters and rows are counted in all row groups, or in as many of them as take a second.

    Raises:
        ValueError: it is damaged.
    """
    import pyarrow.compute
    import pyarrow.parquet

    with reading_parquet(path):
        file = pyarrow.parquet.ParquetFile(path)
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        if not sum(group.num_rows for group in groups):
            return TextSize(0, 0, [])
        columns = [groups[0].column(number).path_in_schema for number in range(groups[0].num_columns)]
        sizes = [group.column(columns.index(column)).total_uncompressed_size for group in groups]
        chosen = range(0, len(groups), -(-sum(sizes) // _MOST_UNPACKED))
        step = -(-sum(groups[number].num_rows for number in chosen) // _MOST_ROWS)
        texts: list[str] = []
        characters = breaks = rows = 0
        for batch in file.iter_batches(batch_size=1_000, row_groups=list(chosen), columns=[column]):
            found = batch.column(0)
            found = found.dictionary_decode() if hasattr(found, "dictionary_decode") else found
            characters += pyarrow.compute.sum(pyarrow.compute.utf8_length(found)).as_py() or 0
            breaks += pyarrow.compute.sum(pyarrow.compute.count_substring(found, "\n")).as_py() or 0
            texts += [text or "" for text in found[-rows % step :: step].to_pylist()]
            rows += len(found)
    longer = sum(sizes) / max(sum(sizes[number] for number in chosen), 1)
    sampled = sum(text.count("\n") + 1 for text in texts)
    size = size_from_sample(texts, 1, longer * (breaks + rows) / sampled)
    return size._replace(characters=round(longer * characters))
