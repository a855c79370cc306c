"""How much text a file holds, about, without reading all of it."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..utils.compression import open_compressed
from .lines import lines_of, reading_parquet


# Bytes of a part of a file that is looked at, and how many parts: together 4 MiB, as much as is read of any file.
_PIECE = 1 << 16
_PIECES = 64
# Bytes that are unpacked at most to see how long a packed file is; what lies beyond is like that.
_MOST_UNPACKED = 1 << 26
# Rows of a Parquet file that are looked at.
_MOST_ROWS = 10_000


class TextSize(NamedTuple):
    """About how many characters and lines that aren't blank; and some of the lines, from all over the text."""

    characters: int
    lines: int
    sample: list[str]


def size_from_sample(texts: Iterable[str], factor: float) -> TextSize:
    """The size of a text that is `factor` times as long as these texts of it."""
    texts = list(texts)
    sample = list(lines_of(texts))
    return TextSize(round(factor * sum(map(len, texts))), round(factor * len(sample)), sample)


def size_of_lines(path: Path, texts: Callable[[BinaryIO], Iterator[str]]) -> TextSize:
    """Of a file of lines, plain or packed, that `texts` makes texts of.

    Raises:
        ValueError: what is read of it is no text.
    """
    with open_compressed(path) as file:
        packed = file.stream is not file.raw
        pieces, total = _stream_pieces(file.stream, file.raw, path) if packed else _spread_pieces(file.raw, path)
    if len(pieces) == 1:
        return size_from_sample(texts(io.BytesIO(pieces[0])), 1)
    whole = [pieces[0].rpartition(b"\n")[0], *(piece.partition(b"\n")[2].rpartition(b"\n")[0] for piece in pieces[1:])]
    read = sum(len(piece) + 1 for piece in whole if piece)
    if not read:  # lines as long as this are no even text
        with open_compressed(path) as file:
            return size_from_sample(texts(file.stream), 1)
    try:
        found = list(itertools.chain.from_iterable(texts(io.BytesIO(piece)) for piece in whole if piece))
    except ValueError:  # said again with the number of the line
        with open_compressed(path) as file:
            for _ in texts(file.stream):
                pass
        raise
    return size_from_sample(found, total / read)


def _spread_pieces(raw: BinaryIO, path: Path) -> tuple[list[bytes], int]:
    """Pieces of a plain file, from its whole length, or all of it as one piece; and its bytes."""
    size = path.stat().st_size
    if size <= _PIECE * _PIECES:
        return [raw.read()], size
    pieces = []
    for number in range(_PIECES):
        raw.seek(number * (size - _PIECE) // (_PIECES - 1))
        pieces.append(raw.read(_PIECE))
    return pieces, size


def _stream_pieces(stream: BinaryIO, raw: BinaryIO, path: Path) -> tuple[list[bytes], float]:
    """The same of a packed file, as it unpacks; and about how many bytes it unpacks to."""
    pieces: list[bytes] = []
    total, step = 0, 1
    for number in itertools.count():
        piece = stream.read(_PIECE)
        total += len(piece)
        if not piece or total > _MOST_UNPACKED:
            break
        if number % step == 0:
            pieces.append(piece)
        if len(pieces) > 2 * _PIECES:
            pieces, step = pieces[::2], 2 * step
    if total <= _PIECE * _PIECES:
        return [b"".join(pieces)], total
    return pieces, total * max(1.0, path.stat().st_size / raw.tell()) if piece else total


def size_of_rows(path: Path, column: str) -> TextSize:
    """Of a Parquet file, from row groups of its whole length.

    Raises:
        ValueError: it is damaged.
    """
    import pyarrow.parquet

    with reading_parquet(path):
        file = pyarrow.parquet.ParquetFile(path)
        rows = file.metadata.num_rows
        if not rows:
            return TextSize(0, 0, [])
        groups = range(0, file.num_row_groups, -(-file.num_row_groups // _PIECES))
        there = sum(file.metadata.row_group(group).num_rows for group in groups)
        share = min(1, _MOST_ROWS / there)
        texts: list[str] = []
        for group in groups:
            wanted = math.ceil(share * file.metadata.row_group(group).num_rows)
            batches = file.iter_batches(batch_size=wanted, row_groups=[group], columns=[column])
            texts += [text or "" for text in next(batches).column(0).to_pylist()]
        return size_from_sample(texts, rows / len(texts))
