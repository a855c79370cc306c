"""Nearest neighbours by cosine, in blocks, and the weights of their mean (OFA, section 3.3)."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from transformers.utils import logging


# Similarities held at once: 2^25 float32 values are 128 MiB.
_BLOCK_SIMILARITIES = 1 << 25

# Rows normalized at once.
_BLOCK_ROWS = 16_384

# Candidates beyond the k asked for that are scored exactly. More are scored where ties need it.
_MARGIN = 22


def nearest_neighbors(
    queries: np.ndarray,
    candidates: np.ndarray,
    num_neighbors: int,
    *,
    device: torch.device | str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The `num_neighbors` candidates with the highest cosine to each query, best first, ties by lower index.

    A float32 matrix product finds all candidates that can be among the best, given the bound on its rounding; these
    are scored in float64. So the result is that of float64 throughout, whatever the device, the number of threads or
    the size of blocks.

    Args:
        queries: (n, d), float32 or float64, no row of zeros.
        candidates: (m, d), the same; rows of zeros have cosine 0 to everything.
        num_neighbors: k, from 1 to m.
        device: where the products are computed; a GPU if there is one by default.

    Returns:
        Indices (n, k) int64 into `candidates`, and cosines (n, k) float64.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    count, dimension = queries.shape
    units, norms = _normalize(candidates)
    units = torch.from_numpy(units).to(device)
    indices = np.empty((count, num_neighbors), dtype=np.int64)
    cosines = np.empty((count, num_neighbors), dtype=np.float64)

    # |fl(x.y) - x.y| <= (d + 2) u for unit vectors rounded to float32 with unit roundoff u (Higham, 2002, section 3.1).
    slack = 2 * (dimension + 2) * 2.0**-24
    block_rows = max(1, _BLOCK_SIMILARITIES // len(candidates))
    wide = min(num_neighbors + _MARGIN, len(candidates))
    bar = logging.tqdm(total=count, unit="token", unit_scale=True, desc="Finding neighbours", delay=2, leave=False)
    with bar, _full_precision(), torch.inference_mode():
        for start in range(0, count, block_rows):
            block = queries[start : start + block_rows]
            block_units, block_norms = _normalize(block)
            similarities = torch.from_numpy(block_units).to(device) @ units.T
            values, found = similarities.topk(wide, dim=1)
            threshold = values[:, num_neighbors - 1] - slack
            undecided = (values[:, -1] >= threshold) if wide < len(candidates) else torch.zeros_like(threshold) > 0
            rows = slice(start, start + len(block))
            indices[rows], cosines[rows] = _score(block, block_norms, candidates, norms, found.cpu(), num_neighbors)
            for row in undecided.nonzero().flatten().tolist():
                tied = (similarities[row] >= threshold[row]).nonzero().flatten().cpu()
                at = slice(row, row + 1)
                indices[start + row], cosines[start + row] = _score(
                    block[at], block_norms[at], candidates, norms, tied[None], num_neighbors
                )
            bar.update(len(block))
    return indices, cosines


def softmax_weights(cosines: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(cosines / temperature) over the last axis, float64, rows that sum to 1."""
    scaled = cosines / temperature
    weights = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _normalize(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows at unit length, float32, and their lengths, float64 (1 for rows of zeros)."""
    units = np.empty(vectors.shape, dtype=np.float32)
    norms = np.empty(len(vectors))
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = vectors[start : start + _BLOCK_ROWS].astype(np.float64)
        length = np.sqrt((block * block).sum(axis=1))
        length[length == 0] = 1
        units[start : start + _BLOCK_ROWS] = block / length[:, None]
        norms[start : start + _BLOCK_ROWS] = length
    return units, norms


def _score(block, block_norms, candidates, norms, found, num_neighbors) -> tuple[np.ndarray, np.ndarray]:
    """The best of the candidates `found` (n, w) for each row of `block`, scored in float64."""
    found = np.sort(found.numpy(), axis=1)
    products = candidates[found].astype(np.float64)
    products *= block[:, None, :]
    # A plain sum adds in an order that depends on the length alone, so that equal vectors have equal cosines.
    cosines = products.sum(axis=-1) / (norms[found] * block_norms[:, None])
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :num_neighbors]
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(cosines, order, axis=1)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Float32 products in float32: the bound on rounding does not hold for TF32 or bfloat16."""
    backends = [torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)]
    if all(hasattr(backend, "fp32_precision") for backend in backends):
        # From PyTorch 2.9 on; its older functions raise once somebody has used these attributes.
        before = [backend.fp32_precision for backend in backends]
        try:
            for backend in backends:
                backend.fp32_precision = "ieee"
            yield
        finally:
            for backend, precision in zip(backends, before):
                backend.fp32_precision = precision
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
