"""Word vectors from parallel text by segment identity (Levy et al., 2017)."""

import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from transformers.utils import logging

from ..text.segmentation import WordSplitter, normalized
from ..text.segmentation import lowercase as lower
from ..text.segments import named_text, pivot_of, read_ids, read_segments, texts_by_language
from ..utils.progress import stage
from .aligned_words import aligned_words


logger = logging.get_logger(__name__)

# Up to this many segments or words, a dense eigendecomposition is exact, quick, and not bound to dim < both.
_DENSE_SIDE = 2048

_BLOCK_SEGMENTS = 8192

Columns = tuple[list[str], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]


def build_from_parallel(
    texts: Mapping[str, Any] | Iterable[str | os.PathLike],
    *,
    dim: int,
    min_count: int,
    lowercase: bool,
    segmentation: str,
    tokenize: Callable[[str], list[str]] | None,
    exclude: str | os.PathLike | Iterable[str] | None,
    seed: int,
    alignment_weight: float = 0.0,
) -> Columns:
    """See `WordVectors.from_parallel`. Returns words, languages, vectors, frequencies, metadata."""
    for name, value in (("dim", dim), ("min_count", min_count)):
        if value < 1:
            raise ValueError(f"{name} is {value}, but must be at least 1.")
    if tokenize is not None and segmentation != "auto":
        raise ValueError(f"segmentation={segmentation!r} and tokenize exclude each other; pass one of them.")
    if not alignment_weight >= 0:
        raise ValueError(f"alignment_weight is {alignment_weight}, but must be 0 or more.")
    sources = texts_by_language(texts)
    excluded, left_out = read_ids(exclude), set()

    def used(parts: list[Any]) -> Iterator[tuple[str, str]]:
        for identifier, text in itertools.chain.from_iterable(map(read_segments, parts)):
            if identifier in excluded:
                left_out.add(identifier)
            else:
                yield identifier, text

    splitter = None if tokenize is not None else WordSplitter(segmentation)
    segment_ids: dict[str, int] = {}
    words: list[str] = []
    blocks: list[scipy.sparse.csr_array] = []
    frequencies: list[np.ndarray] = []
    segments_of: dict[str, int] = {}
    unspaced: list[str] = []
    for language in logging.tqdm(sorted(sources), desc="Counting words", unit="language", delay=2, leave=False):
        named = named_text(language, sources[language])
        counts, language_words = count_words(
            language, [used(sources[language])], segment_ids, tokenize or splitter, lowercase=lowercase, named=named
        )
        totals = counts.sum(axis=1, dtype=np.float64)
        kept = np.flatnonzero(totals >= min_count)
        if not len(kept):
            raise ValueError(
                f"No word of {named} occurs {min_count} times or more in its {int(totals.sum())} words; pass a smaller "
                "min_count or more text."
            )
        if splitter is not None and splitter.met_unspaced:
            unspaced.append(language)
            splitter.met_unspaced = False
        segments_of[language] = len(np.unique(counts.indices))
        words.extend(language_words[i] for i in kept.tolist())
        blocks.append(counts[kept])
        frequencies.append(totals[kept])
    if excluded and not left_out:
        logger.warning("None of the %d ids of exclude is in the texts, so that nothing was left out.", len(excluded))
    for block in blocks:  # later languages brought more segments
        block.resize(block.shape[0], len(segment_ids))
    _check_aligned(dict(zip(segments_of, blocks)))
    counts = scipy.sparse.vstack(blocks, format="csr")
    _check_dim(dim, counts.shape)
    pivot = pivot_of(segments_of)
    together = alignment_weight > 0 and len(blocks) > 1
    aligned = aligned_words(dict(zip(segments_of, blocks)), pivot) if together else None
    del blocks
    contexts = _ppmi(counts)
    if aligned is not None:
        contexts = _beside(contexts, _ppmi(aligned), alignment_weight)
    vectors = _factorize(contexts, dim, seed)

    frequency = np.concatenate(frequencies)
    language = np.repeat(list(segments_of), list(map(len, frequencies)))
    norms = np.linalg.norm(vectors, axis=1)
    informative = norms > 1e-6 * norms.max()
    order = np.lexsort((np.arange(len(frequency)), -frequency))
    order = order[informative[order]]
    if not informative.all():
        logger.info("%d words occur evenly in all segments and were left out.", int((~informative).sum()))
    metadata = {
        "origin": "parallel text",
        "method": "segment identity, PPMI, truncated SVD",
        "segments": segments_of,
        "excluded_segments": len(left_out),
        "dim": dim,
        "min_count": min_count,
        "lowercase": lowercase,
        "segmentation": _described(splitter, unspaced),
        "frequencies": "counts",
        "seed": seed,
    }
    if aligned is not None:
        metadata |= {"alignment_weight": alignment_weight, "pivot": pivot}
    vectors = vectors[order]
    vectors /= norms[order, None]
    return [words[i] for i in order.tolist()], language[order], vectors, frequency[order].astype(np.float32), metadata


def count_words(
    language: str,
    parts: Iterable[Any],
    segment_ids: dict[str, int],
    tokenize: Callable[[str], list[str]],
    *,
    lowercase: bool,
    named: str,
) -> tuple[scipy.sparse.csr_array, list[str]]:
    """The word x segment counts of one language, float32, and its words; new ids are added to `segment_ids`.

    `named` is what the text is called in errors, as `named_text` has it.

    Raises:
        ValueError: a line or pair that isn't one, or no words.
    """
    vocabulary: defaultdict[str, int] = defaultdict()
    vocabulary.default_factory = vocabulary.__len__
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    segments = itertools.chain.from_iterable(map(read_segments, parts))
    cut = partial(tokenize, language=language) if isinstance(tokenize, WordSplitter) else tokenize
    while block := list(itertools.islice(segments, _BLOCK_SEGMENTS)):
        texts = (normalized(text) for _, text in block)
        found = [cut(lower(text, language) if lowercase else text) for text in texts]
        ids = [segment_ids.setdefault(identifier, len(segment_ids)) for identifier, _ in block]
        columns.append(np.repeat(np.array(ids, dtype=np.int32), list(map(len, found))))
        numbers = map(vocabulary.__getitem__, itertools.chain.from_iterable(found))
        rows.append(np.fromiter(numbers, dtype=np.int32, count=len(columns[-1])))
    if not vocabulary:
        raise ValueError(
            f"The text of {named} has no words in the segments to use; pass a text, or leave the language out."
        )
    cells = np.concatenate(rows), np.concatenate(columns)
    ones = np.ones(len(cells[0]), dtype=np.float32)
    counts = scipy.sparse.coo_array((ones, cells), shape=(len(vocabulary), len(segment_ids)))
    return counts.tocsr(), list(vocabulary)


def _check_aligned(counts: Mapping[str, scipy.sparse.csr_array]) -> None:
    """Every language shares a segment with another one."""
    present = np.array([np.bincount(block.indices, minlength=block.shape[1]) > 0 for block in counts.values()])
    shared = present.sum(axis=0) > 1
    alone = [language for language, row in zip(counts, present) if not (row & shared).any()]
    if alone and len(counts) > 1:
        raise ValueError(
            f"The text{'s' * (len(alone) > 1)} of {', '.join(alone)} share no segment id with another language, so "
            "nothing aligns them; give the same id to segments that are translations of each other."
        )


def _described(splitter: WordSplitter | None, unspaced: list[str]) -> dict[str, Any]:
    if splitter is None:
        return {"method": "custom"}
    if not unspaced:
        return {"method": "spaces"}
    return {"method": splitter.method, "version": splitter.version, "languages": unspaced}


def _ppmi(counts: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Positive pointwise mutual information of words and segments, float32, in place of `counts`."""
    row_sums, column_sums = (counts.sum(axis=axis, dtype=np.float64) for axis in (1, 0))
    row_of = np.repeat(np.arange(counts.shape[0], dtype=np.int32), np.diff(counts.indptr))
    ratios = counts.data * row_sums.sum() / row_sums[row_of]
    ratios /= column_sums[counts.indices]
    counts.data = np.log(np.maximum(ratios, 1)).astype(np.float32)
    counts.eliminate_zeros()
    return counts


def _check_dim(dim: int, shape: tuple[int, int]) -> None:
    side = min(shape)
    if dim > side:
        raise ValueError(
            f"dim is {dim}, but {shape[0]} words in {shape[1]} segments give at most {side} dimensions; "
            f"pass dim={side} or less, or more text."
        )


def _beside(ppmi: scipy.sparse.csr_array, other: scipy.sparse.csr_array, weight: float) -> scipy.sparse.csr_array:
    """Further contexts of the same words, whose squares sum up to those of the first, times the square of `weight`."""
    first, second = (float(np.square(each.data, dtype=np.float64).sum()) for each in (ppmi, other))
    if not second:
        return ppmi
    other.data *= np.float32(weight * np.sqrt(first / second))
    return scipy.sparse.csr_array(scipy.sparse.hstack([ppmi, other], format="csr"))


def _factorize(ppmi: scipy.sparse.csr_array, dim: int, seed: int) -> np.ndarray:
    """(words, dim) U sqrt(S), float32, the signs such that the largest entry of each column is positive.

    The square root of the singular values is what Levy et al. (2015, "Improving distributional similarity with lessons
    learned from word embeddings", section 3.3) found best for SVD of PPMI.
    """
    side = min(ppmi.shape)
    dense = side <= max(_DENSE_SIDE, 2 * dim)
    if not ppmi.nnz:
        raise ValueError(
            "Every word occurs evenly in all segments, so that nothing tells words apart; pass more text."
        )
    tall = ppmi if ppmi.shape[0] >= ppmi.shape[1] else ppmi.T.tocsr()
    if dense:
        precise = tall.astype(np.float64)
        gram = (precise.T @ precise).toarray()
        squares, directions = scipy.linalg.eigh(gram, subset_by_index=(side - dim, side - 1))
    else:
        squares, directions = _largest(tall, dim, seed)
    squares, directions = squares[::-1], directions[:, ::-1].astype(np.float32)
    values = np.sqrt(np.maximum(squares, 0))
    if tall is ppmi:
        # X v = u s; a direction without weight stays zero.
        left = ppmi @ directions
        left *= np.where(values > 1e-4 * values[0], 1 / np.sqrt(np.maximum(values, 1e-30)), 0).astype(np.float32)
    else:
        left = directions * np.sqrt(values).astype(np.float32)
    largest = np.abs(left).argmax(axis=0)
    left *= np.where(left[largest, np.arange(dim)] < 0, -1, 1).astype(np.float32)
    return left


def _largest(matrix: scipy.sparse.csr_array, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of matrix^T matrix, rising, and their eigenvectors (columns, dim), by ARPACK.

    Of 274,039 words in 29,905 segments, 200 take 17 seconds of CPU and 280 MiB. Fewer Lanczos vectors than ARPACK's own
    choice of twice `dim` take less of both.
    """
    width = matrix.shape[1]
    gram = scipy.sparse.linalg.LinearOperator(
        (width, width), matvec=lambda vector: matrix.T @ (matrix @ vector), dtype=np.float32
    )
    start = np.random.default_rng(seed).standard_normal(width, dtype=np.float32)
    with stage("Factorizing"):
        squares, vectors = scipy.sparse.linalg.eigsh(
            gram, dim, v0=start, ncv=min(dim + max(dim // 4, 20), width), tol=1e-5
        )
    order = np.argsort(squares)
    return squares[order], vectors[:, order]
