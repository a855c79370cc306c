"""Trans-tokenization (Remy et al., 2024): a new token is the mean of the source tokens that it is aligned with."""

import itertools
from collections.abc import Sequence

import numpy as np
import scipy.sparse

from ...tokenization.vocabulary import Vocabulary, has_no_words
from ...utils.ibm_model_1 import posteriors
from ..mapping import TokenMapping
from .inputs import MethodInputs, rows_of_entries
from .registry import register_method


# Pairs of sentences whose tokens are paired at once; of some 30 tokens each, 4 million pairs.
_BLOCK_SENTENCES = 4096


@register_method("alignment", needs=("parallel_text",), published="Remy et al., 2024 (trans-tokenizers)")
def alignment(
    inputs: MethodInputs, *, iterations: int = 5, min_count: float = 1.0, max_tokens: int = 10
) -> TokenMapping:
    """New rows are means of the source tokens that translations align with the token, weighted by how often.

    Tokens are aligned by IBM model 1 in both directions (`iterations` of expectation maximisation), and what both agree
    on is counted. A token with fewer than `min_count` expected alignments is copied where the source has it, or falls
    back; the `max_tokens` most frequent source tokens count.
    """
    counts = aligned_counts(inputs.source, inputs.target, inputs.parallel_text, iterations)
    counts.resize(inputs.shape)
    usable = ~inputs.source.wordless
    usable[inputs.num_source_rows :] = False
    usable = np.pad(usable, (0, max(0, inputs.num_source_rows - len(usable))))[: inputs.num_source_rows]
    counts = (counts @ scipy.sparse.diags_array(usable.astype(np.float32))).tocsr()
    counts = _largest(counts, max_tokens)
    totals = counts.sum(axis=1)
    aligned = (totals >= min_count) & ~inputs.target.wordless
    scale = np.where(aligned, 1 / np.where(totals > 0, totals, 1), 0).astype(np.float32)
    weights = (scipy.sparse.diags_array(scale) @ counts).tocsr()
    weights.eliminate_zeros()
    # As published, whatever is aligned is composed, tokens of both vocabularies, too; but for punctuation.
    texts = ((form or b"").decode("utf-8", "ignore").strip() for form in inputs.target.forms)
    copied = ~aligned | np.fromiter(map(has_no_words, texts), dtype=bool, count=len(aligned))
    return inputs.mapping(weights, copied=copied, settings={"iterations": iterations, "min_count": min_count})


def aligned_counts(
    source: Vocabulary, target: Vocabulary, pairs: Sequence[tuple[str, str]], iterations: int
) -> scipy.sparse.csr_array:
    """(V_t, V_s) float32: how often tokens are aligned in translations, by IBM model 1 in both directions.

    A target token's probability is that of one source token of the sentence, or of none; counts are the products of the
    posterior probabilities of both directions (Liang et al., 2006, alignment by agreement, once EM has ended).

    Args:
        pairs: (line of the source's language, its translation).
        iterations: of EM.
    """
    keys, sizes = _token_pairs(source, target, pairs)
    if not len(keys):
        return scipy.sparse.csr_array((len(target), len(source)), dtype=np.float32)
    # A pair of tokens that occurs in many sentences is one parameter.
    unique, parameter = np.unique(keys, return_inverse=True)
    target_ids, source_ids = unique // len(source), unique % len(source)
    # Which target token of the text, and which source token, each pair belongs to.
    lengths_t, lengths_s = sizes[:, 0], sizes[:, 1]
    sentence_start = np.cumsum(lengths_t * lengths_s) - lengths_t * lengths_s
    sentence = np.repeat(np.arange(len(sizes)), lengths_t * lengths_s)
    place = np.arange(len(keys)) - sentence_start[sentence]
    of_target = (np.cumsum(lengths_t) - lengths_t)[sentence] + place // lengths_s[sentence]
    of_source = (np.cumsum(lengths_s) - lengths_s)[sentence] + place % lengths_s[sentence]
    del sentence, place
    found = [
        posteriors(parameter, given, other, iterations, "Aligning tokens")
        for given, other in ((source_ids, of_target), (target_ids, of_source))
    ]
    counts = np.bincount(parameter, weights=found[0] * found[1], minlength=len(unique))
    return rows_of_entries(target_ids, source_ids, counts, (len(target), len(source)))


def _token_pairs(
    source: Vocabulary, target: Vocabulary, pairs: Sequence[tuple[str, str]]
) -> tuple[np.ndarray, np.ndarray]:
    """target id x V_s + source id of every pair of tokens of a sentence pair, target by target; (n, 2) their lengths."""
    keys, sizes = [np.empty(0, dtype=np.int64)], [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(pairs), _BLOCK_SENTENCES):
        sides = zip(*pairs[start : start + _BLOCK_SENTENCES])
        encoded = [
            [encoding.ids for encoding in vocabulary.encoder.encode_batch_fast(list(lines), add_special_tokens=False)]
            for vocabulary, lines in zip((source, target), sides)
        ]
        lengths = np.array([[len(theirs), len(ours)] for ours, theirs in zip(*encoded)], dtype=np.int64)
        ours, theirs = (np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int64) for ids in encoded)
        per_target = np.repeat(lengths[:, 1], lengths[:, 0])  # how many source tokens each target token meets
        first = np.repeat(np.cumsum(lengths[:, 1]) - lengths[:, 1], lengths[:, 0])
        offset = np.arange(int(per_target.sum())) - np.repeat(np.cumsum(per_target) - per_target, per_target)
        keys.append(np.repeat(theirs, per_target) * len(source) + ours[np.repeat(first, per_target) + offset])
        sizes.append(lengths)
    return np.concatenate(keys), np.concatenate(sizes)


def _largest(matrix: scipy.sparse.csr_array, count: int) -> scipy.sparse.csr_array:
    """The `count` largest entries of each row."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, row))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - matrix.indptr[row[order]]
    kept = rank < count
    return rows_of_entries(row[kept], matrix.indices[kept], matrix.data[kept], matrix.shape)
