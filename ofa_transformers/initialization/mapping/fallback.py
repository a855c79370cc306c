"""Rows for target tokens that can neither be copied nor composed."""

import itertools

import numpy as np


# Transformers' resize_token_embeddings draws with so much of the covariance: near the mean, and all different.
_COVARIANCE_SHARE = 1e-9

# Rows drawn from one generator. Part of the result: another number gives other draws.
_DRAW_ROWS = 4096


def fallback_rows(
    result: np.ndarray,
    missing: np.ndarray,
    source_rows: np.ndarray,
    used: np.ndarray,
    fallback: str,
    seed: int,
    authors_compatible: bool = False,
    stream: int = 0,
) -> None:
    """Writes the rows `missing` of `result` (V_t, D'), in place.

    Args:
        missing: target ids, ascending.
        source_rows: (V_s, D'), whose columns give mean and standard deviation.
        used: (V_s,) bool, the rows that count for these.
        fallback: one of `settings.FALLBACKS`.
        seed: each block of target ids has its own generator, seeded with this and the block's number.
        authors_compatible: statistics over all rows in the precision of the input, and one `RandomState` for the
            whole matrix, as in the published code (whose seed is 114514).
        stream: other numbers give draws that are independent of those of 0.
    """
    if not len(missing) or fallback == "zeros":
        result[missing] = 0
        return
    if authors_compatible:
        mean, std = source_rows.mean(axis=0), source_rows.std(axis=0)
    else:
        mean, std = _column_statistics(source_rows, used)
    if fallback == "mean":
        result[missing] = mean
        return
    if fallback == "multivariate_normal":
        std = _covariance_root(source_rows, used, mean)
    generator = np.random.RandomState(seed) if authors_compatible else None
    bounds = np.searchsorted(missing, np.arange(0, len(result) + _DRAW_ROWS, _DRAW_ROWS))
    for block, (first, last) in enumerate(itertools.pairwise(bounds)):
        start = block * _DRAW_ROWS
        shape = (min(_DRAW_ROWS, len(result) - start), result.shape[1])
        rows = missing[first:last]
        if generator is not None:  # one stream of numbers, so that blocks without missing rows are drawn, too
            result[rows] = generator.normal(mean, std, shape)[rows - start]
        elif len(rows):
            draws = np.random.default_rng([seed, block, stream] if stream else [seed, block]).standard_normal(
                shape, dtype=np.float32
            )
            chosen = draws[rows - start]
            result[rows] = mean + (chosen @ std.T if std.ndim == 2 else std * chosen)


def _covariance_root(rows: np.ndarray, used: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(k, k) float64: a square root of the share of the rows' covariance that draws have."""
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), _DRAW_ROWS):
        centred = rows[start : start + _DRAW_ROWS][used[start : start + _DRAW_ROWS]] - mean
        covariance += centred.T @ centred
    values, vectors = np.linalg.eigh(covariance * (_COVARIANCE_SHARE / max(int(used.sum()) - 1, 1)))
    return vectors * np.sqrt(np.maximum(values, 0))


def _column_statistics(rows: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column over the used rows, accumulated in float64."""
    count = max(int(used.sum()), 1)
    total, squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    shift = rows[int(used.argmax())].astype(np.float64)  # near the mean, so that the squares don't drown the variance
    for start in range(0, len(rows), _DRAW_ROWS):
        block, kept = rows[start : start + _DRAW_ROWS], used[start : start + _DRAW_ROWS]
        centred = (block if kept.all() else block[kept]) - shift
        total += centred.sum(axis=0)
        squares += np.einsum("nd,nd->d", centred, centred)
    mean = total / count
    return shift + mean, np.sqrt(np.maximum(squares / count - mean**2, 0))
