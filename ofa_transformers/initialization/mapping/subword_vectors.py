"""Vectors of subwords in the space of the word vectors: U_s and U_t (OFA, section 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from transformers.utils import logging

from ...tokenization.vocabulary import Vocabulary
from ...vectors import WordVectors
from .word_tokens import count_subwords


# Words tokenized at once, in up to three forms each. Their vectors in float64, 26 MiB, are memory that malloc gives again.
_BLOCK_WORDS = 16_384


@dataclass(frozen=True, eq=False)
class SubwordVectors:
    """The vectors of V subwords.

    Attributes:
        vectors: (V, d), rows of zeros for subwords without a word.
        incidence: (V, N) CSR float32, the weight of each of the N words in each subword's mean before normalisation
            (columns are rows of the `WordVectors`), or None if it wasn't kept.
    """

    vectors: np.ndarray
    incidence: scipy.sparse.csr_array | None

    @property
    def covered(self) -> np.ndarray:
        """(V,) bool: subwords that have a vector."""
        return self.vectors.any(axis=1)


def subword_vectors(
    vocabulary: Vocabulary,
    word_vectors: WordVectors,
    words: np.ndarray,
    *,
    word_weights: np.ndarray | None = None,
    authors_compatible: bool = False,
    keep_incidence: bool = True,
    capitalised: bool = True,
    description: str = "Tokenizing words",
) -> SubwordVectors:
    """The vector of a subword is the mean of the vectors of the words whose tokenization contains it.

    Each word is tokenized in the forms of the published code: as it is, after a space, and capitalised. A word
    counts once for a subword, however many of its forms contain it; special tokens, unk and bare word boundaries have
    no vector.

    Args:
        vocabulary: of the tokenizer, V tokens.
        word_vectors: N words.
        words: indices of the words to use, ascending.
        word_weights: (N,) weights of the words in the means; all alike if None.
        authors_compatible: count a word once for each of its forms, give vectors to every token that occurs, and
            return float64, as the published code does.
        keep_incidence: whether to return the incidence (it takes 8 bytes for each pair of subword and word).
        capitalised: whether words count capitalised, too.
        description: of the progress bar.

    Raises:
        ValueError: a vector with NaN or infinite values.

    Returns:
        Vectors in float32 (float64 if `authors_compatible`), accumulated in float64.
    """
    size, dimension = len(vocabulary), word_vectors.dimension
    sums = np.zeros((size, dimension))
    totals = np.zeros(size)
    excluded = None if authors_compatible else vocabulary.wordless
    pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    bar = logging.tqdm(total=len(words), unit="word", unit_scale=True, desc=description, delay=2, leave=False)
    with bar:
        for start in range(0, len(words), _BLOCK_WORDS):
            block = words[start : start + _BLOCK_WORDS]
            subwords, members, counts = count_subwords(
                vocabulary, _words_at(word_vectors.words, block), per_form=authors_compatible, capitalised=capitalised
            )
            if excluded is not None:
                kept = ~excluded[subwords]
                subwords, members, counts = subwords[kept], members[kept], counts[kept]
            weights = counts.astype(np.float64)
            if word_weights is not None:
                weights *= word_weights[block][members]
            # Pairs come sorted by subword, so that they are the rows of a matrix as they stand.
            first = np.flatnonzero(np.diff(subwords, prepend=-1))
            rows, indptr = subwords[first], np.append(first, len(subwords))
            incidence = scipy.sparse.csr_array((weights, members, indptr), shape=(len(rows), len(block)))
            of_words = _rows_at(word_vectors.vectors, block)
            if not np.isfinite(of_words).all():  # of vectors that lie in a file, which are read only now
                word_vectors.check_finite(block)
            sums[rows] += incidence @ of_words
            totals[rows] += incidence.sum(axis=1)
            if keep_incidence:
                pairs.append((subwords.astype(np.int32), block[members].astype(np.int32), weights.astype(np.float32)))
            bar.update(len(block))
    np.divide(sums, totals[:, None], out=sums, where=totals[:, None] > 0)
    vectors = sums if authors_compatible else sums.astype(np.float32)

    incidence = None
    if keep_incidence:
        shape = (size, len(word_vectors))
        if pairs:
            rows, columns, data = (np.concatenate(parts) for parts in zip(*pairs))
            incidence = scipy.sparse.csr_array((data, (rows, columns)), shape=shape)
        else:
            incidence = scipy.sparse.csr_array(shape, dtype=np.float32)
    return SubwordVectors(vectors, incidence)


def _words_at(words: Sequence[str], indices: np.ndarray) -> list[str]:
    """The words at these indices, fetched together where they lie in a file."""
    take = getattr(words, "take", None)
    return take(indices) if take is not None else [words[i] for i in indices.tolist()]


def _rows_at(vectors: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The rows at these ascending indices, float64; without a copy on the way where they are all next to each other."""
    first, last = indices[0], indices[-1] + 1
    rows = vectors[first:last] if last - first == len(indices) else vectors[indices]
    return rows.astype(np.float64)
