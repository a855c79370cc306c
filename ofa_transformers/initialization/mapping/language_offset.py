"""A direction of its own for each language, added to the rows that are composed for it.

The rows of translations are composed of the same neighbours, so that they are nearly equal, and a masked LM cannot
tell from them in which language to answer. Beyond the paper.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse

from ...tokenization.vocabulary import Vocabulary
from ...vectors import WordVectors
from .overlap import largest_entries, word_mass


_BLOCK_ROWS = 16_384


def dominant_languages(
    vocabulary: Vocabulary, word_vectors: WordVectors, incidence: scipy.sparse.csr_array
) -> np.ndarray:
    """(V,) str: the language that uses each token most, by `word_mass`; "" for tokens of no word.

    Args:
        vocabulary: V tokens.
        word_vectors: N words; where they have no frequencies, each counts once.
        incidence: (V, N) CSR, non-zero where a word contains a token.
    """
    mass, languages = word_mass(vocabulary, word_vectors, incidence)
    columns, values = largest_entries(mass)
    return np.array([*languages, ""])[np.where(values > 0, columns, len(languages))]


def language_directions(languages: Sequence[str], size: int, seed: int) -> np.ndarray:
    """(L, size) float64: a random unit vector for each language, which depends on its code and the seed alone."""
    draws = [np.random.default_rng([seed, *code.encode()]).standard_normal(size) for code in languages]
    directions = np.stack(draws) if draws else np.empty((0, size))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def add_language_offset(
    rows: np.ndarray,
    languages: np.ndarray,
    source_rows: np.ndarray,
    used: np.ndarray,
    language_offset: float,
    seed: int,
    primitives: np.ndarray | None = None,
    source_norm: float | None = None,
) -> None:
    """Adds to each of `rows` (V_t, D') the direction of its language, in place.

    The offset is as long as `language_offset` times the mean norm of the source's rows. Factorized, both are measured
    in the space of embeddings, after the primitives, and the direction is the projection onto that space of the one
    at full size.

    Args:
        rows: the target's embeddings or coordinates.
        languages: (V_t,) str, "" for a row that gets none.
        source_rows: (V_s, D'), the source's.
        used: (V_s,) bool, the source rows that count.
        language_offset: g, a share.
        seed: of the directions.
        primitives: (D', D), what `rows` are coordinates of; None if they are embeddings themselves.
        source_norm: the mean norm of the source's rows, if it is known.
    """
    codes, index = np.unique(languages, return_inverse=True)
    if primitives is None:
        offsets = language_directions(codes.tolist(), rows.shape[1], seed)
    else:
        primitives = np.asarray(primitives, dtype=np.float64)
        offsets = language_directions(codes.tolist(), primitives.shape[1], seed) @ np.linalg.pinv(primitives)
        offsets /= np.linalg.norm(offsets @ primitives, axis=1, keepdims=True)
    offsets *= language_offset * (mean_norm(source_rows, used, primitives) if source_norm is None else source_norm)
    chosen = np.flatnonzero(languages != "")
    rows[chosen] += offsets[index[chosen]].astype(rows.dtype)


def mean_norm(rows: np.ndarray, used: np.ndarray, primitives: np.ndarray | None = None) -> float:
    """The mean Euclidean norm of the used rows, after the primitives if there are any."""
    # ||f P||^2 = f (P P^T) f^T needs D' x D' numbers rather than a V x D matrix.
    gram = None if primitives is None else primitives @ primitives.T
    total = 0.0
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS][used[start : start + _BLOCK_ROWS]].astype(np.float64)
        squares = np.einsum("nk,nk->n", block if gram is None else block @ gram, block)
        total += float(np.sqrt(np.maximum(squares, 0)).sum())
    return total / max(int(used.sum()), 1)
