"""Lines of text files, each with its number for error messages."""

from collections.abc import Iterator
from pathlib import Path

from ..utils.compression import bounded_lines, open_compressed


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file, plain, gzip or zstd, that are not blank, without their line breaks, from 1 on.

    Raises:
        ValueError: a line that is not valid UTF-8 or far too long; file, line and content are named.
    """
    with open_compressed(path) as file:
        for number, line in bounded_lines(path, file.stream):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}, line {number}: not valid UTF-8 ({error.reason}), in {line[:60]!r}; convert the file to "
                    "UTF-8."
                ) from error
            if text and not text.isspace():
                yield number, text
