"""Packed files take no more memory than is asked for, and lines have an end."""

import gzip
import io
import random
import tracemalloc

import pytest

from ofa_transformers.text.corpus import TextFile
from ofa_transformers.text.lines import numbered_lines
from ofa_transformers.utils import compression
from ofa_transformers.utils.compression import open_compressed
from ofa_transformers.vectors.readers import ReadOptions, read_vectors


zstandard = pytest.importorskip("zstandard")


def test_a_bomb_takes_little_memory(tmp_path):
    packed = tmp_path / "bomb.txt.zst"
    with open(packed, "wb") as raw, zstandard.ZstdCompressor(19).stream_writer(raw) as file:
        file.write(b"7 7\n")
        for _ in range(1 << 9):
            file.write(b"\0" * (1 << 20))
    assert packed.stat().st_size < 1 << 17
    tracemalloc.start()
    for read in (
        lambda: list(numbered_lines(packed)),
        lambda: list(TextFile(packed)),
        lambda: read_vectors(packed, ReadOptions(format="glove")),
        lambda: read_vectors(packed, ReadOptions(format="word2vec")),
    ):
        with pytest.raises(ValueError, match=r"bomb.txt.zst, line [23]: longer than 16,777,216 bytes"):
            read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20


@pytest.mark.parametrize("format", ["glove", "word2vec"])
def test_a_long_line_among_vectors(format, tmp_path, monkeypatch):
    monkeypatch.setattr("ofa_transformers.vectors.text_format.MAX_LINE_BYTES", 1 << 20)
    head = b"3 2\n" if format == "word2vec" else b""
    (tmp_path / "x.vec").write_bytes(head + b"a 1 2\n\nb 1 2\nc " + b"1" * (3 << 20))
    with pytest.raises(ValueError, match=f"x.vec, line {5 if head else 4}: longer than"):
        read_vectors(tmp_path / "x.vec", ReadOptions(format=format))


def frames(*contents: bytes, **options: bool) -> list[bytes]:
    return [zstandard.ZstdCompressor(**options).compress(content) for content in contents]


def read(path) -> bytes:
    with open_compressed(path) as file:
        return file.stream.read()


@pytest.mark.parametrize("checksum", [True, False])
def test_frames(checksum, tmp_path):
    parts = frames(b"one\n" * 99_999, b"", b"two", write_checksum=checksum, write_content_size=not checksum)
    skipped = (0x184D2A53).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"notes"
    whole = parts[0] + skipped + parts[1] + parts[2]
    path = tmp_path / "x.zst"
    path.write_bytes(whole)
    assert read(path) == b"one\n" * 99_999 + b"two"
    ends = {len(parts[0]), len(parts[0]) + len(skipped), len(whole) - len(parts[2])}
    for size in sorted({*range(4, len(whole), 7), len(whole) - 1} - ends):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="damaged or cut short"):
            read(path)
            pytest.fail(f"{size} of {len(whole)} bytes")


@pytest.mark.timeout(60)
def test_a_frame_cut_between_its_blocks(tmp_path):
    (whole,) = frames(random.Random(0).randbytes(300_000), write_checksum=False)
    begin = zstandard.frame_header_size(whole)
    length = int.from_bytes(whole[begin : begin + 3], "little") >> 3
    (tmp_path / "x.zst").write_bytes(whole[: begin + 3 + length])
    with pytest.raises(ValueError, match="damaged or cut short"):
        read(tmp_path / "x.zst")


def test_lines_of_any_kind(tmp_path, monkeypatch):
    monkeypatch.setattr(compression, "MAX_LINE_BYTES", 4)
    read = list(compression.bounded_lines(tmp_path, io.BytesIO(b"abc\n\nab\r\ncd")))
    assert read == [(1, b"abc\n"), (2, b"\n"), (3, b"ab\r\n"), (4, b"cd")]
    with gzip.open(tmp_path / "x.gz", "wb") as file:
        file.write(b"abc\nabcd\n")
    with pytest.raises(ValueError, match=r"x.gz, line 2: longer than 4 bytes"):
        list(numbered_lines(tmp_path / "x.gz"))
