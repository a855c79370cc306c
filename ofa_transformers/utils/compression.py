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
    """Unpacks zstd frames. zstandard's own stream reader takes a file that is cut short for a complete one."""

    def __init__(self, path: Path, raw: BinaryIO):
        try:
            import zstandard
        except ImportError as error:
            raise ImportError(
                f"{path} is packed with zstd, which needs `zstandard`: pip install 'ofa-transformers[zstd]', or "
                "unpack the file (zstd -d)."
            ) from error
        self._error = zstandard.ZstdError
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._frame = None
        self._raw, self._packed, self._unpacked = raw, b"", b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._unpacked:
            self._packed = self._packed or self._raw.read(1 << 16)
            if not self._packed:
                if self._frame is not None:
                    raise _DamagedZstd("the last zstd frame is not complete")
                return 0
            self._frame = self._frame or self._new_frame()
            try:
                self._unpacked = self._frame.decompress(self._packed)
            except self._error as error:
                raise _DamagedZstd(str(error)) from error
            self._packed = b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._unpacked))
        buffer[:size] = self._unpacked[:size]
        self._unpacked = self._unpacked[size:]
        return size
