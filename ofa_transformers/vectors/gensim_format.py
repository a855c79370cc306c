"""Files that gensim saves (.wv, .kv, with large arrays in .npy files beside): pickles, read by gensim itself."""

import pickle
from pathlib import Path

import numpy as np


def read_gensim(path: Path) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """Keys, vectors (N, d) float32 and counts (or None) of a saved KeyedVectors, or of a saved Word2Vec or FastText.

    This unpickles the file, which can run any code: call it only where the user allowed it in so many words.

    Raises:
        ImportError: gensim isn't installed.
        FileNotFoundError: a .npy file that belongs to it is missing.
        ValueError: gensim cannot read it, or it holds something else.
    """
    try:
        from gensim.models import KeyedVectors
    except ImportError as error:
        raise ImportError(
            f"{path} is a pickle of gensim, which needs `gensim`: pip install 'ofa-transformers[gensim]'."
        ) from error
    try:
        loaded = KeyedVectors.load(str(path))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} keeps its arrays in files beside it, of which {error.filename} is missing; put all files that "
            f"begin with {path.name} into one folder."
        ) from error
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, ValueError) as error:
        raise ValueError(f"{path} cannot be read by gensim ({type(error).__name__}: {error}).") from error
    vectors = getattr(loaded, "wv", loaded)
    if not isinstance(vectors, KeyedVectors):
        raise ValueError(f"{path} holds {type(loaded).__name__}, not gensim's KeyedVectors or a model with .wv.")
    keys, matrix = list(vectors.index_to_key), np.asarray(vectors.vectors)
    bad = next((key for key in keys if not isinstance(key, str)), None)
    if bad is not None:
        raise ValueError(f"{path}: the key {bad!r:.80} is not a string; keys of word vectors are words.")
    if matrix.ndim != 2 or len(matrix) != len(keys):
        raise ValueError(f"{path} is damaged: {len(keys)} words, but vectors of shape {matrix.shape}.")
    return keys, matrix.astype(np.float32, copy=False), _counts(vectors)


def _counts(vectors) -> np.ndarray | None:
    counts = vectors.expandos.get("count")
    if counts is None or len(counts) != len(vectors.index_to_key):
        return None
    counts = np.asarray(counts, dtype=np.float32)
    # Where a file had no counts, gensim numbers the words backwards (or leaves zeros).
    invented = np.array_equal(counts, np.arange(len(counts), 0, -1)) or not counts.any()
    return None if invented else counts
