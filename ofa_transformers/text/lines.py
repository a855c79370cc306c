"""Lines and rows of text files, plain, gzip or zstd, each with its number for error messages."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..utils.compression import bounded_lines, open_compressed
from ..utils.reading import in_one_line, parse_json


Row = tuple[int, Mapping[str, Any]]


def decoded_lines(path: Path, stream: BinaryIO) -> Iterator[tuple[int, str]]:
    """The lines of an open UTF-8 file without their line breaks, from 1 on.

    Raises:
        ValueError: what is no text in UTF-8, or far too long for a line; file, line and content are named.
    """
    for number, line in bounded_lines(path, stream):
        is_all = number == 1 and not line.endswith(b"\n") and len(line) >= path.stat().st_size
        if is_all and b"\r" in line.rstrip(b"\r"):
            raise ValueError(
                f"{path} has no line breaks but carriage returns, as from old Macs; convert them (tr '\\r' '\\n')."
            )
        if b"\0" in line:
            raise ValueError(
                f"{path}, line {number}: holds a NUL byte, so this is no text in UTF-8; convert it or leave it out."
            )
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, line {number}: not valid UTF-8 ({error.reason} at byte {error.start}), in {line[:60]!r}; "
                "convert the file to UTF-8, for instance with iconv."
            ) from error


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file that are not blank; see `decoded_lines`."""
    with open_compressed(path) as file:
        for number, line in decoded_lines(path, file.stream):
            if line and not line.isspace():
                yield number, line


def json_row(path: Path, number: int, line: str, fields: str) -> Mapping[str, Any]:
    """The object of a line of a .jsonl file, with certain fields as the error names them.

    Raises:
        ValueError: the line is none; file and line are named.
    """
    row = parse_json(line, f"{path}, line {number}", "a .jsonl file has one object a line")
    if not isinstance(row, dict):
        raise ValueError(f"{path}, line {number}: expected an object with {fields}, but found {type(row).__name__}.")
    return row


def parquet_rows(path: Path, columns: list[str] | None = None) -> Iterator[Row]:
    """The rows of a Parquet file, from 1 on.

    Raises:
        ValueError: it is damaged; the file is named.
    """
    import pyarrow.parquet

    number = 0
    with reading_parquet(path):
        batches = iter(pyarrow.parquet.ParquetFile(path).iter_batches(columns=columns))
    while True:
        with reading_parquet(path):
            rows = next(batches, None)
            rows = None if rows is None else rows.to_pylist()
        if rows is None:
            return
        for row in rows:
            number += 1
            yield number, row


def lines_of(texts: Iterable[str | None]) -> Iterator[str]:
    """Their lines, without blank ones.

    Raises:
        ValueError: something that is no text.
    """
    for text in texts:
        if text is not None and not isinstance(text, str):
            raise ValueError(f"Found {type(text).__name__} {text!r:.50} for text; name the column that holds text.")
        yield from (line for line in (text or "").splitlines() if line.strip())


@contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    """Names the file in what pyarrow raises of a damaged one, which is many things.

    Raises:
        ValueError: it is damaged.
    """
    try:
        yield
    except (FileNotFoundError, ImportError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(
            f"{path} is damaged or not a Parquet file ({in_one_line(error)}); download or write it again."
        ) from error
