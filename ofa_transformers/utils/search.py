"""Exact search by cosine, in blocks: nearest neighbours (OFA, section 3.3), CSLS, and ranks among translations."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from transformers.utils import logging

from .precision import cpu_multiplies_bfloat16


# Similarities that a thread holds at once: 2^25 bfloat16 values are 64 MiB.
_BLOCK_SIMILARITIES = 1 << 25

# Queries and candidates multiplied at once. A tile of 2^21 products lies in the processor's cache.
_TILE_QUERIES, _TILE_CANDIDATES = 256, 8192

# How much more of all these a GPU takes at once, so that starting kernels costs it no time.
_GPU_SCALE = 8

# Candidates of which only the best is looked at first.
_GROUP = 64

# Rows normalized at once, and pairs of a query and a candidate scored at once.
_BLOCK_ROWS = 16_384

# Cosines of pairs that are ranked, held at once; those that differ by less are ties: hidden states are float32.
_BLOCK_RANKED = 1 << 22
_TIE = 1e-9


def nearest_neighbors(
    queries: np.ndarray,
    candidates: np.ndarray,
    num_neighbors: int,
    *,
    device: torch.device | str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The `num_neighbors` candidates with the highest cosine to each query, best first, ties by lower index.

    A matrix product in low precision (bfloat16 where the processor multiplies it, else float32) finds all candidates
    that can be among the best, given the bound on its error; these are scored in float64. So the result is that of
    float64 throughout, whatever the device, the number of threads or the size of blocks.

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
    units, norms = _normalize(candidates)
    search = _Search(torch.from_numpy(units), num_neighbors, torch.device(device))
    indices = np.empty((len(queries), num_neighbors), dtype=np.int64)
    cosines = np.empty((len(queries), num_neighbors), dtype=np.float64)

    @torch.inference_mode()
    def find(start: int) -> int:
        block = queries[start : start + search.block_rows]
        block_units, block_norms = _normalize(block)
        rows, found = search.candidates(torch.from_numpy(block_units))
        scores = _score(block, block_norms, candidates, norms, rows, found)
        best = _best(rows, found, scores, num_neighbors)
        indices[start : start + len(block)] = found[best].reshape(-1, num_neighbors)
        cosines[start : start + len(block)] = scores[best].reshape(-1, num_neighbors)
        return len(block)

    bar = logging.tqdm(
        total=len(queries), unit="token", unit_scale=True, desc="Finding neighbours", delay=2, leave=False
    )
    with bar, _full_precision(), _one_thread_a_block(search.device) as run:
        for done in run(find, range(0, len(queries), search.block_rows)):
            bar.update(done)
    return indices, cosines


@contextmanager
def _one_thread_a_block(device: torch.device) -> Iterator[Callable[..., Iterator]]:
    """A `map` that works on several blocks at once, each on one thread, as many as PyTorch has; on a GPU on one by one.

    Threads that share a block would wait for each other after each of its many small products, which takes several
    times as long as the products where another program has one of the cores.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield map
        return
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # the number of new threads, which the pool has changed


class _Search:
    """Which candidates can be among the k best of a query, given the error of the products.

    Products are made a tile at a time, and the best of every group of candidates is noted while the tile is in the
    cache. The k-th best of these is a lower bound on the k-th best product, so that only groups that reach it, less
    the error, are looked at again. That avoids a selection over whole rows, which would cost as much as the products.

    Args:
        units: (m, d) float32, rows of unit length or zeros.
        num_neighbors: k, at most m.
        device: where the products are computed.
    """

    def __init__(self, units: torch.Tensor, num_neighbors: int, device: torch.device) -> None:
        self.num_neighbors, self.device = num_neighbors, device
        self.dtype = torch.bfloat16 if device.type == "cpu" and cpu_multiplies_bfloat16() else torch.float32
        count, dimension = units.shape
        # There must be as many groups as neighbours; with several times as many, few of the best share a group.
        self.group = _GROUP
        while self.group > 1 and count < 8 * num_neighbors * self.group:
            self.group //= 2
        scale = 1 if device.type == "cpu" else _GPU_SCALE
        self.tile_queries = scale * _TILE_QUERIES
        tiles = -(-count // (scale * _TILE_CANDIDATES))
        self.tile = -(-count // (tiles * self.group)) * self.group
        self.count = count
        rounded = units.to(self.dtype)
        self.error = _distance(rounded, units)
        padded = torch.zeros(tiles * self.tile, dimension, dtype=self.dtype, device=device)
        padded[:count] = rounded
        self.tiles = padded.unflatten(0, (tiles, self.tile))
        self.block_rows = max(1, scale * _BLOCK_SIMILARITIES // len(padded))
        if self.block_rows > self.tile_queries:
            self.block_rows -= self.block_rows % self.tile_queries
        self.buffers = threading.local()

    def candidates(self, units: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Rows of `units` (n, d) and indices of candidates, int64 pairs sorted by row and candidate."""
        rounded = units.to(self.dtype)
        # |x'.y' - x.y| <= |x' - x| + |y' - y| + |x' - x| |y' - y| for unit vectors x, y and what they are rounded to;
        # float32 sums err by (d + 2) u (Higham, 2002, section 3.1), and the product is rounded to its type.
        own = _distance(rounded, units)
        error = own + self.error + own * self.error + 2 * (units.shape[1] + 2) * 2.0**-24
        if self.dtype == torch.bfloat16:
            error += 2.0**-8
        queries = rounded.to(self.device)
        products, groups = self._buffer()[:, : len(queries)], self.tile // self.group
        best = torch.empty(len(queries), len(self.tiles), groups, device=self.device)
        for first in range(0, len(queries), self.tile_queries):
            rows = slice(first, min(first + self.tile_queries, len(queries)))
            for number, tile in enumerate(self.tiles):
                product = torch.mm(queries[rows], tile.T, out=products[number, rows])
                if (number + 1) * self.tile > self.count:
                    product[:, self.count - (number + 1) * self.tile :] = -torch.inf
                best[rows, number] = product.float().unflatten(1, (groups, self.group)).amax(2)
        best = best.flatten(1)
        threshold = best.topk(self.num_neighbors, dim=1).values[:, -1:] - 2 * error
        rows, reached = (best >= threshold).nonzero().unbind(1)
        members = products.unflatten(2, (groups, self.group))[reached // groups, rows, reached % groups]
        pairs, member = (members >= threshold[rows]).nonzero().unbind(1)
        return rows[pairs].cpu().numpy(), (reached[pairs] * self.group + member).cpu().numpy()

    def _buffer(self) -> torch.Tensor:
        """Where this thread's products go: (tiles, rows, candidates of a tile), used again and again."""
        if not hasattr(self.buffers, "products"):
            shape = (len(self.tiles), self.block_rows, self.tile)
            self.buffers.products = torch.empty(shape, dtype=self.dtype, device=self.device)
        return self.buffers.products


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


def _distance(rounded: torch.Tensor, units: torch.Tensor) -> float:
    """How far a row is from what it was rounded to, at most."""
    if rounded.dtype == units.dtype:
        return 0.0
    pairs = zip(rounded.split(_BLOCK_ROWS), units.split(_BLOCK_ROWS))
    return 1.001 * max((a.float() - b).norm(dim=1).max().item() for a, b in pairs)  # itself in float32


def _score(
    queries: np.ndarray,
    query_norms: np.ndarray,
    candidates: np.ndarray,
    norms: np.ndarray,
    rows: np.ndarray,
    found: np.ndarray,
) -> np.ndarray:
    """The cosines of pairs of a query and a candidate, in float64."""
    scores = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK_ROWS):
        pairs = slice(start, start + _BLOCK_ROWS)
        products = candidates[found[pairs]].astype(np.float64)
        products *= queries[rows[pairs]]
        # A plain sum adds in an order that depends on the length alone, so that equal vectors have equal cosines.
        scores[pairs] = products.sum(axis=1)
    return scores / (norms[found] * query_norms[rows])


def _best(rows: np.ndarray, found: np.ndarray, scores: np.ndarray, num_neighbors: int) -> np.ndarray:
    """Positions of the best `num_neighbors` of each row, best first; of equal ones the lower candidate."""
    order = np.lexsort((found, -scores, rows))
    first = np.searchsorted(rows, np.arange(rows[-1] + 1))
    return order[(first[:, None] + np.arange(num_neighbors)).ravel()]


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


def csls_neighbors(
    queries: np.ndarray,
    candidates: np.ndarray,
    num_neighbors: int,
    population: np.ndarray,
    *,
    neighborhood: int = 10,
    device: torch.device | str | None = None,
) -> np.ndarray:
    """(n, k) int64: the candidates with the highest CSLS to each query, best first (Conneau et al., 2018, section 2.3).

    CSLS(x, y) = 2 cos(x, y) - r(x) - r(y), where r(y) is the mean cosine of y to its `neighborhood` nearest vectors of
    `population`, all words of the queries' language. r(x) is the same for all candidates and does not change ranks.
    """
    nearest = min(neighborhood, len(population))
    density = nearest_neighbors(candidates, population, nearest, device=device)[1].mean(axis=1)
    # A search by cosine finds the highest 2 x.y - r(y) if both become vectors of one length: (x, 1, 0) and
    # (2 y, -r, s) with s^2 + r^2 the same for all y.
    queries, candidates = unit_rows(queries), unit_rows(candidates)
    padding = np.sqrt(np.maximum((density**2).max() - density**2, 0))
    queries = np.column_stack([queries, np.ones(len(queries)), np.zeros(len(queries))])
    candidates = np.column_stack([2 * candidates, -density, padding])
    return nearest_neighbors(queries, candidates, num_neighbors, device=device)[0]


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """The rows of `vectors` at unit length; rows of zeros stay."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1)


def retrieval_ranks(queries: torch.Tensor, candidates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How many candidates come before a query's own, the row of the same number, by cosine; and the other way round.

    The search is exact, both ways in one pass over blocks of the cosines: no N x N matrix is held.

    **Ties count against the query, both ways**: every other candidate whose cosine is that of its own, or below it by no
    more than 1e-9, comes before it. Vectors that are all the same then find nothing, where a search that took the first
    of equals, or drew one, would find a share of them. Sentences that occur twice in a pool are such ties, too.

    Args:
        queries: (N, D).
        candidates: (N, D).

    Returns:
        (N,) int64 for each query among the candidates, and (N,) for each candidate among the queries; on the CPU.

    Raises:
        ValueError: other shapes than pairs have.
    """
    if queries.shape != candidates.shape:
        raise ValueError(f"queries {tuple(queries.shape)} and candidates {tuple(candidates.shape)} must be pairs")
    if queries.device.type == "mps":  # which has no float64
        queries, candidates = queries.cpu(), candidates.cpu()
    queries, candidates = (torch.nn.functional.normalize(rows.double(), dim=-1) for rows in (queries, candidates))
    own = (queries * candidates).sum(1) - _TIE
    there = torch.empty(len(queries), dtype=torch.int64)
    back = torch.full((len(queries),), -1)  # the own one counts once
    block = max(1, _BLOCK_RANKED // max(len(candidates), 1))
    for start in range(0, len(queries), block):
        chosen = slice(start, start + block)
        cosines = queries[chosen] @ candidates.T
        there[chosen] = (cosines >= own[chosen, None]).sum(1) - 1
        back += (cosines >= own).sum(0).cpu()
    return there, back
