"""fastText's models (.bin, with the vectors of subwords), read by gensim without unpickling anything."""

import mmap
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from transformers.utils import logging

from ..utils.compression import open_compressed
from ..utils.reading import in_one_line


logger = logging.get_logger(__name__)

MAGIC = struct.pack("<i", 793712314)

# Behind magic and version: dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate, t
# (fastText's args.cc).
_ARGUMENTS = struct.Struct("<12id")

# Words, of these words and labels, tokens, pairs of the pruned index (dictionary.cc).
_DICTIONARY = struct.Struct("<3i2q")

# Whether the matrix is quantized, its rows and columns.
_MATRIX = struct.Struct("<?2q")

# Numbers of a model hardly pack at all.
_MAX_RATIO = 100

# Bytes unpacked at once.
_BLOCK_BYTES = 1 << 22


def read_fasttext(path: Path, extra_words: Iterable[str] = ()) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Keys, vectors (N, d) float32 and counts of a fastText model.

    Args:
        path: the model, plain or packed with gzip or zstd.
        extra_words: words to add that the model hasn't seen, with the vectors of their subwords. They count as seen
            once; those that it has seen are left alone.

    Raises:
        ImportError: gensim isn't installed.
        ValueError: the file is damaged, cut short, quantized or a classifier, or there are extra words and no
            subwords.
    """
    try:
        from gensim.models.fasttext import load_facebook_vectors
    except ImportError as error:
        raise ImportError(
            f"{path} is a fastText model, which needs `gensim`: pip install 'ofa-transformers[gensim]', or load the "
            ".vec file published beside it."
        ) from error
    extra_words = [extra_words] if isinstance(extra_words, str) else list(extra_words)
    with _unpacked(path) as plain:
        _check_structure(path, plain)
        try:
            model = load_facebook_vectors(str(plain))
        except MemoryError as error:
            raise ValueError(f"{path} is damaged, or too large for the memory; download it again.") from error
        except Exception as error:  # whatever numbers that aren't its own lead to
            raise ValueError(
                f"{path} cannot be read by gensim ({type(error).__name__}: {in_one_line(error)}); download it again."
            ) from error
    keys, vectors = list(model.index_to_key), np.asarray(model.vectors, dtype=np.float32)
    counts = np.asarray(model.expandos["count"], dtype=np.float32)
    unseen = [word for word in dict.fromkeys(extra_words) if word not in model.key_to_index]
    if unseen:
        if not model.bucket:
            raise ValueError(
                f"{path} has no subwords, so that it has no vector for {unseen[0]!r} and other words that it has not "
                "seen; leave extra_words out."
            )
        added = np.stack([model.get_vector(word) for word in unseen]).astype(np.float32)
        known = added.any(axis=1)
        if not known.all():
            dropped = [word for word, kept in zip(unseen, known) if not kept]
            logger.warning("%d extra words have no subwords in %s, as %r.", len(dropped), path, dropped[0])
        keys += [word for word, kept in zip(unseen, known) if kept]
        vectors = np.concatenate([vectors, added[known]])
        counts = np.concatenate([counts, np.ones(int(known.sum()), dtype=np.float32)])
    return keys, vectors, counts


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """The file itself, or a temporary one with what is packed in it, since gensim reads packed ones number by number."""
    with open_compressed(path) as file:
        if file.stream is file.raw:
            yield path
            return
        with tempfile.NamedTemporaryFile(suffix=".bin") as plain:
            most = max(_MAX_RATIO * path.stat().st_size, _BLOCK_BYTES)
            while block := file.stream.read(_BLOCK_BYTES):
                plain.write(block)
                if plain.tell() > most:
                    raise ValueError(
                        f"{path} unpacks to more than {most:,} bytes, {_MAX_RATIO} times its size, as no model does; it "
                        "is damaged, download it again."
                    )
            plain.flush()
            yield Path(plain.name)


def _check_structure(path: Path, plain: Path) -> None:
    """Walks over words to the matrix: gensim reads on for ever where a file ends among its words."""
    with open(plain, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            arguments, place = _ARGUMENTS.unpack_from(data, 8), 8 + _ARGUMENTS.size
            dimension, buckets, shortest, longest = (arguments[at] for at in (0, 8, 9, 10))
            count, _, labels, _, pruned = _DICTIONARY.unpack_from(data, place)
            place += _DICTIONARY.size
            if labels:
                raise ValueError(f"{path} is a classifier of fastText, with {labels} labels; load word vectors.")
            for i in range(count):
                end = data.find(b"\0", place)
                if end < 0:
                    raise ValueError(
                        f"{path} ends after {i} of {count} words; it is damaged or cut short, download it again."
                    )
                place = end + 10  # the count and the kind of entry follow
            is_quantized, rows, columns = _MATRIX.unpack_from(data, place + 8 * max(pruned, 0))
        except (struct.error, OverflowError) as error:
            raise ValueError(
                f"{path} is damaged or cut short: it ends at byte {len(data)}, before its vectors; download it again."
            ) from error
        if is_quantized or pruned > 0:
            raise ValueError(
                f"{path} is a quantized model of fastText (.ftz), which isn't read; load the .bin that it was made of."
            )
        size = place + _MATRIX.size + 4 * rows * columns
        if buckets < 0 or shortest < 0 or longest < 0:
            raise ValueError(
                f"{path} is damaged: {buckets} subwords of {shortest} to {longest} letters, by its head; download it again."
            )
        if columns != dimension or dimension < 1 or count < 1 or rows < count or size > len(data):
            raise ValueError(
                f"{path} is damaged or cut short: {rows} vectors of {columns} dimensions for {count} words of "
                f"{dimension}, {size} bytes or more, in a file of {len(data)}; download it again."
            )
