"""With which words of the pivot language each word is aligned, in segments that translate each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse
from transformers.utils import logging

from ..utils.ibm_model_1 import posteriors


# Pairs of words in a segment that are aligned at once, of one language with the pivot: 1 GB. Of more text every second
# segment is taken, or every third ...
_MOST_PAIRS = 20_000_000
_ITERATIONS = 5
# Expected alignments that are too few to be one.
_LEAST = 0.05


def aligned_words(blocks: Mapping[str, scipy.sparse.csr_array], pivot: str) -> scipy.sparse.csr_array:
    """(W, P) float32: how often each word of all languages is aligned with each of the pivot's words.

    Words of a segment are a set; of two languages they are aligned by IBM model 1 in both directions, and counts are sums
    over the segments of the products of both posterior probabilities (alignment by agreement: Liang et al., 2006). A word
    of the pivot is aligned with itself, in all its segments.

    Args:
        blocks: language -> (words, segments) counts.
        pivot: one of the languages.
    """
    columns = blocks[pivot].tocsc()
    found = []
    for language in logging.tqdm(blocks, desc="Aligning words", unit="language", delay=2, leave=False):
        if language == pivot:
            segments = np.diff(blocks[pivot].indptr).astype(np.float32)
            found.append(scipy.sparse.diags_array(segments, format="csr"))
        else:
            found.append(_aligned(blocks[language].tocsc(), columns))
    return scipy.sparse.csr_array(scipy.sparse.vstack(found, format="csr"))


def _aligned(words: scipy.sparse.csc_array, others: scipy.sparse.csc_array) -> scipy.sparse.csr_array:
    """(W_l, P) float32 of one language."""
    shape = words.shape[0], others.shape[0]
    sizes, other_sizes = (np.diff(side.indptr).astype(np.int64) for side in (words, others))
    common = np.flatnonzero((sizes > 0) & (other_sizes > 0))
    common = common[:: -(-int((sizes[common] * other_sizes[common]).sum()) // _MOST_PAIRS) or 1]
    pairs = sizes[common] * other_sizes[common]
    if not len(common):
        return scipy.sparse.csr_array(shape, dtype=np.float32)
    # Of each pair of words in a segment, where they lie in the columns: word by word, each with all of the other side.
    segment = np.repeat(np.arange(len(common), dtype=np.int32), pairs)
    place = np.arange(int(pairs.sum())) - (np.cumsum(pairs) - pairs)[segment]
    ours = words.indptr[common][segment] + place // other_sizes[common][segment]
    theirs = others.indptr[common][segment] + place % other_sizes[common][segment]
    del segment, place
    keys = words.indices[ours].astype(np.int64) * shape[1] + others.indices[theirs]
    keys, parameter = np.unique(keys, return_inverse=True)  # a pair that occurs in many segments is one parameter
    word, other = keys // shape[1], keys % shape[1]
    both = posteriors(parameter, other, ours, _ITERATIONS)
    both *= posteriors(parameter, word, theirs, _ITERATIONS)
    counts = np.bincount(parameter, weights=both, minlength=len(keys)).astype(np.float32)
    kept = counts > _LEAST
    return scipy.sparse.csr_array((counts[kept], (word[kept], other[kept])), shape=shape)
