"""Vectors of subwords in the space of the word vectors: U_s and U_t (OFA, section 3.2)."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from transformers.utils import logging

from ..vectors import WordVectors
from .vocabulary import Vocabulary


# Words tokenized at once, in three forms each.
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
        description: of the progress bar.

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
            subwords, members, counts = _count_subwords(
                vocabulary, [word_vectors.words[i] for i in block.tolist()], authors_compatible
            )
            if excluded is not None:
                kept = ~excluded[subwords]
                subwords, members, counts = subwords[kept], members[kept], counts[kept]
            weights = counts.astype(np.float64)
            if word_weights is not None:
                weights *= word_weights[block][members]
            rows, row_of = np.unique(subwords, return_inverse=True)
            incidence = scipy.sparse.csr_array((weights, (row_of, members)), shape=(len(rows), len(block)))
            sums[rows] += incidence @ word_vectors.vectors[block].astype(np.float64)
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


def _word_forms(word: str) -> tuple[str, str, str] | None:
    """A word as it is, after a space, and capitalised; None for a word of nothing but a boundary mark."""
    text = word.replace("$", " ")
    if word.startswith("$"):
        if len(text) < 2:
            return None
        return text, " " + text, text[1].upper() + text[2:]
    if not text:
        return None
    return text, " " + text, " " + text[0].upper() + text[1:]


def _count_subwords(
    vocabulary: Vocabulary, words: list[str], per_form: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a subword and the position of a word that contains it, sorted, each pair once.

    Returns:
        Subword ids, positions in `words`, and in how many of its forms the word contains the subword (1 for all,
        unless `per_form`).
    """
    forms: dict[str, int] = {}  # many words share forms across languages and markings; each is tokenized once
    form_ids: list[int] = []
    owners: list[int] = []
    for position, word in enumerate(words):
        variants = _word_forms(word)
        if variants is not None:
            form_ids.extend(forms.setdefault(variant, len(forms)) for variant in variants)
            owners.append(position)
    encodings = vocabulary.encoder.encode_batch_fast(list(forms), add_special_tokens=False)
    ids_of = [encoding.ids for encoding in encodings]
    lengths = np.fromiter(map(len, ids_of), dtype=np.int64, count=len(ids_of))
    tokens = np.fromiter((token for ids in ids_of for token in ids), dtype=np.int64, count=int(lengths.sum()))
    starts = np.cumsum(lengths) - lengths

    form_ids = np.asarray(form_ids, dtype=np.int64)
    owners = np.repeat(np.asarray(owners, dtype=np.int64), 3)
    variants = np.tile(np.arange(3), len(form_ids) // 3)
    repeats = lengths[form_ids]
    offsets = np.arange(int(repeats.sum())) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    subwords = tokens[np.repeat(starts[form_ids], repeats) + offsets]
    pairs = subwords * len(words) + np.repeat(owners, repeats)
    if per_form:
        distinct = np.unique(pairs * 3 + np.repeat(variants, repeats)) // 3
        pairs, counts = np.unique(distinct, return_counts=True)
    else:
        pairs = np.unique(pairs)
        counts = np.ones(len(pairs), dtype=np.int64)
    return pairs // len(words), pairs % len(words), counts
