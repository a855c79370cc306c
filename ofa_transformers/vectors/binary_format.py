"""word2vec binary: a header line `N d`, then for each word its UTF-8 bytes, a space and d little-endian float32."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..utils.compression import OpenFile, bounded_line
from .bad_words import BadWords
from .text_format import parse_header, shown


# Bytes read and parsed at once.
_BLOCK_BYTES = 1 << 24

# No word is longer; a longer one means that the file isn't what it seems.
_MAX_WORD_BYTES = 1 << 14


def read_word2vec_binary(
    path: Path, file: OpenFile, progress: Callable[[], None], bad: BadWords
) -> tuple[list[str], np.ndarray]:
    """Keys and vectors (N, d) float32 of word2vec's binary format, as word2vec.c and gensim write it."""
    header = bounded_line(path, file.stream, 1)
    count, dimension = parse_header(path, header, file.max_bytes)
    width = 4 * dimension
    if count * (width + 2) > file.max_bytes:  # a letter and a space at least
        raise ValueError(
            f"{path}, line 1: the header says {count} words of {dimension} dimensions, {count * (width + 2)} bytes or "
            "more in word2vec binary, which is more than the file has; the file is cut short, or the header is wrong."
        )
    vectors = np.empty((count, dimension), dtype=np.float32)
    keys: list[str | None] = []  # None for one that is passed over
    offset, rest = len(header), b""
    while len(keys) < count:
        block = file.stream.read(_BLOCK_BYTES)
        data = rest + block
        heads, rows, end = [], [], 0
        # A word's place is known only once the word before it has been read.
        for _ in range(count - len(keys)):
            space = data.find(b" ", end, end + _MAX_WORD_BYTES)
            if space < 0 or space + 1 + width > len(data):
                break
            heads.append(data[end:space])
            rows.append(data[space + 1 : space + 1 + width])
            end = space + 1 + width
        if space < 0 and len(data) - end >= _MAX_WORD_BYTES:
            raise ValueError(
                f"{path}, byte {offset + end}: no word of less than {_MAX_WORD_BYTES} bytes where word "
                f"{len(keys) + len(heads) + 1} should be, but {shown(data[end : end + 60])}; the file is damaged or "
                "not word2vec binary."
            )
        if heads:
            numbers = np.frombuffer(b"".join(rows), dtype="<f4").reshape(len(rows), dimension)
            _check_finite(path, numbers, heads, len(keys))
            vectors[len(keys) : len(keys) + len(rows)] = numbers
            keys.extend(_decode(path, heads, len(keys), bad))
        offset += end
        rest = data[end:]
        progress()
        if not block and len(keys) < count:
            raise ValueError(
                f"{path}, byte {offset + len(rest)}: the file ends after {len(keys)} words, but its header says "
                f"{count}; the file is cut short, or the header's count is wrong."
            )
    rest = (rest + file.stream.read(1 << 10)).lstrip(b"\r\n")
    if rest:
        raise ValueError(
            f"{path}, byte {offset}: the header says {count} words, but more follow, first {shown(rest[:60])}; "
            "correct the header's count."
        )
    if bad.count:
        kept = [place for place, key in enumerate(keys) if key is not None]
        return [keys[place] for place in kept], vectors[kept]
    return keys, vectors


def _decode(path: Path, heads: list[bytes], first: int, bad: BadWords) -> list[str | None]:
    # word2vec.c ends each vector with a line break, gensim doesn't: it stands before the next word.
    heads = [head.lstrip(b"\r\n") for head in heads]
    try:
        words = [head.decode("utf-8") for head in heads]
        if "" not in words and not any("\n" in word for word in words):
            return words
    except UnicodeDecodeError:
        pass
    found: list[str | None] = []
    for number, head in enumerate(heads, start=first + 1):
        try:
            word = head.decode("utf-8")
            if not word:
                raise ValueError(f"{path}, word {number} is empty; the file is damaged.")
            if "\n" in word:
                raise ValueError(f"{path}, word {number}: {head[:60]!r} has a line break; the file is damaged.")
        except UnicodeDecodeError as error:
            # word2vec.c cuts long words off at 60 bytes or so, inside a character too.
            bad.add(
                ValueError(
                    f"{path}, word {number}: {head[:60]!r} is not valid UTF-8 ({error.reason}); the file is damaged, not "
                    "word2vec binary, or in another encoding."
                )
            )
            word = None
        except ValueError as error:
            bad.add(error)
            word = None
        found.append(word)
    return found


def _check_finite(path: Path, numbers: np.ndarray, heads: list[bytes], first: int) -> None:
    finite = np.isfinite(numbers).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"{path}, word {first + row + 1}: the vector of {shown(heads[row])} has NaN or infinite values; the file "
            "is damaged or not word2vec binary."
        )
