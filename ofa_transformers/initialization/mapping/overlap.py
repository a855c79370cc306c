"""Which overlapping tokens the source's languages really use: German "die" is no English "die"."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse

from ...tokenization.vocabulary import Vocabulary
from ...vectors import WordVectors
from .matches import Matches, MatchKind


# A copied token needs this share of the use that any one target language makes of it.
_SHARE = 0.1
# How fast a token's share in a word falls with the part of the word that it covers.
_EXPONENT = 4


@dataclass(frozen=True)
class Rejection:
    """A match that was taken back: with which source id, and how much the source uses it.

    `share` is its mass in the source's languages over that in `language`, the other language that uses it most.
    """

    source_id: int
    language: str
    share: float


def word_mass(
    vocabulary: Vocabulary, word_vectors: WordVectors, incidence: scipy.sparse.csr_array
) -> tuple[scipy.sparse.csr_array, list[str]]:
    """How much each language uses each token: the sum over its words of frequency x (token length / word length)^4.

    Args:
        vocabulary: V tokens.
        word_vectors: N words; where they have no frequencies, each counts once.
        incidence: (V, N), non-zero where a word contains a token.

    Returns:
        (V, L) CSR float64 and the L languages of the columns, sorted.
    """
    lengths = np.array([len(form.decode("utf-8", "ignore").strip()) if form else 0 for form in vocabulary.forms])
    word_lengths = np.array([max(len(word.replace("$", "").strip()), 1) for word in word_vectors.words])
    languages, columns = np.unique(word_vectors.languages, return_inverse=True)
    pairs = incidence.tocoo()
    covered = np.minimum(lengths[pairs.row] / word_lengths[pairs.col], 1.0) ** _EXPONENT
    frequencies = word_vectors.frequencies
    mass = scipy.sparse.coo_array(
        (covered if frequencies is None else frequencies[pairs.col] * covered, (pairs.row, columns[pairs.col])),
        shape=(len(vocabulary), len(languages)),
    )
    return mass.tocsr(), [str(language) for language in languages]


def largest_entries(matrix: scipy.sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """For each row the column of its largest entry, the first of equal ones, and the entry; -1 and 0 in empty rows."""
    columns, values = np.full(matrix.shape[0], -1), np.zeros(matrix.shape[0])
    lengths = np.diff(matrix.indptr)
    order = np.lexsort((-matrix.indices, matrix.data, np.repeat(np.arange(len(lengths)), lengths)))
    filled = np.flatnonzero(lengths)
    last = order[matrix.indptr[filled + 1] - 1]
    columns[filled], values[filled] = matrix.indices[last], matrix.data[last]
    return columns, values


def reject_unused(
    matches: Matches,
    source_mass: scipy.sparse.csr_array,
    target_mass: scipy.sparse.csr_array,
    languages: list[str],
    source_languages: Sequence[str],
) -> dict[int, Rejection]:
    """Takes back matches of ordinary tokens that the source's languages hardly use; in place, `MatchKind.REJECTED`.

    A match stays if its mass in the source's languages together is at least a tenth of that in any one other language,
    and where no word of another language contains it.

    Args:
        source_mass: (V_s, L), by the source's tokenizer.
        target_mass: (V_t, L), by the target's.
        languages: the L languages.
        source_languages: those that the source was trained on.

    Returns:
        What was taken back, by target id.
    """
    ours = np.isin(languages, source_languages)
    matched = np.flatnonzero((matches.source_ids >= 0) & (matches.kinds != MatchKind.ROLE))
    source_ids, others = matches.source_ids[matched], np.flatnonzero(~ours)
    used = source_mass[source_ids][:, ours].sum(axis=1)
    columns, wanted = largest_entries(target_mass[matched][:, others])
    rejected = np.flatnonzero(used < _SHARE * wanted)
    matches.source_ids[matched[rejected]] = -1
    matches.kinds[matched[rejected]] = MatchKind.REJECTED
    return {
        int(matched[i]): Rejection(int(source_ids[i]), languages[others[columns[i]]], float(used[i] / wanted[i]))
        for i in rejected
    }
