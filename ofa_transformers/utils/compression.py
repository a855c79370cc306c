"""Files opened for reading bytes, unpacked where they are gzip or zstd by their first bytes, not their names."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple


# gzip packs at most about 1,032 to 1 (zlib's technical details). zstd has no such bound; its blocks of 128 KiB can be
# as small as 4 bytes.
_MAX_RATIO = {None: 1, "gzip": 1032, "zstd": 1 << 15}

# A longer line than this is no line of text.
MAX_LINE_BYTES = 1 << 24

COMPRESSED_SUFFIXES = (".gz", ".zst", ".zstd")


class OpenFile(NamedTuple):
    """An open file: its content unpacked, the file itself (for progress), and how large the content can be."""

    stream: BinaryIO
    raw: BinaryIO
    max_bytes: int


@contextmanager
def open_compressed(path: Path) -> Iterator[OpenFile]:
    """Opens a file for reading, whatever it is packed with.

    Raises:
        ImportError: zstd, and `zstandard` isn't installed.
        ValueError: in the block, where the packed data is damaged or cut short.
    """
    with open(path, "rb") as raw:
        magic = raw.read(4)
        raw.seek(0)
        stream: BinaryIO = raw
        kind = None
        if magic[:2] == b"\x1f\x8b":
            stream, kind = gzip.GzipFile(fileobj=raw), "gzip"
        elif magic == b"\x28\xb5\x2f\xfd":
            stream, kind = io.BufferedReader(_ZstdFile(path, raw), 1 << 17), "zstd"
        try:
            yield OpenFile(stream, raw, path.stat().st_size * _MAX_RATIO[kind])
        except (EOFError, gzip.BadGzipFile, zlib.error, _DamagedZstd) as error:
            raise ValueError(f"{path} is damaged or cut short ({error}); download it again.") from error


class _DamagedZstd(Exception):
    pass


class _ZstdFile(io.RawIOBase):
    """Unpacks zstd frames, never more at once than is asked for: 64 KiB can unpack to 2 GiB.

    zstandard's own stream reader takes a file that is cut short for a complete one; here that is an error.
    """

    def __init__(self, path: Path, raw: BinaryIO):
        try:
            import zstandard
        except ImportError as error:
            raise ImportError(
                f"{path} is packed with zstd, which needs `zstandard`: pip install 'ofa-transformers[zstd]', or "
                "unpack the file (zstd -d)."
            ) from error
        self._error = zstandard.ZstdError
        self._raw, self._path = raw, path
        unpacker = zstandard.ZstdDecompressor()
        self._reader = unpacker.stream_reader(raw, read_size=1 << 16, read_across_frames=True, closefd=False)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        try:
            size = self._reader.readinto(buffer)
        except self._error as error:
            raise _DamagedZstd(str(error)) from error
        if not size:
            _check_frames(self._path)
        return size


def _check_frames(path: Path) -> None:
    """That the last frame of a zstd file is complete, by the sizes of its blocks (RFC 8878, section 3.1)."""
    import zstandard

    size = path.stat().st_size
    with open(path, "rb") as file:
        while head := file.read(18):
            place = file.tell() - len(head)
            magic = int.from_bytes(head[:4], "little")
            if magic & 0xFFFFFFF0 == 0x184D2A50:  # to be skipped
                file.seek(place + 8 + int.from_bytes(head[4:8], "little"))
                if len(head) < 8 or file.tell() > size:
                    raise _DamagedZstd("the last zstd frame is not complete")
                continue
            try:
                file.seek(place + zstandard.frame_header_size(head))
                checksum = zstandard.get_frame_parameters(head).has_checksum
            except zstandard.ZstdError as error:
                raise _DamagedZstd(str(error)) from error
            last = False
            while not last:
                header = file.read(3)
                block = int.from_bytes(header, "little")
                last, kind, length = block & 1, block >> 1 & 3, block >> 3
                file.seek(1 if kind == 1 else length, 1)
                if len(header) < 3 or file.tell() + 4 * checksum > size:
                    raise _DamagedZstd("the last zstd frame is not complete")
            file.seek(4 * checksum, 1)


def bounded_line(path: Path, stream: BinaryIO, number: int) -> bytes:
    """The next line, with its line break; empty at the end.

    Raises:
        ValueError: it is longer than any line of text, so that memory would run out on it.
    """
    line = stream.readline(MAX_LINE_BYTES + 1)
    if len(line) > MAX_LINE_BYTES:
        raise too_long(path, number)
    return line


def too_long(path: Path, number: int) -> ValueError:
    return ValueError(
        f"{path}, line {number}: longer than {MAX_LINE_BYTES:,} bytes; this is no text in lines, or cut it into lines."
    )


def bounded_lines(path: Path, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers, from 1 on. Raises as `bounded_line`."""
    number = 1
    while line := bounded_line(path, stream, number):
        yield number, line
        number += 1
