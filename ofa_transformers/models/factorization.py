"""Factorization of an embedding matrix into coordinates and primitives, E ≈ F P (OFA, section 3.1)."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor


# Rows multiplied at once: 16,384 x 1,024 float64 values are 128 MiB.
_BLOCK_ROWS = 16_384

# Kinds of devices that have no float64. What lies there is factorized on the CPU, and its factors are moved back.
_WITHOUT_FLOAT64 = ("mps",)

# Stripes of the Gram matrix: with 4 of them, 10 of its 16 parts are computed.
_GRAM_STRIPES = 4

# Below this ratio to the largest, a singular value taken from the Gram matrix (whose eigenvalues are the squares, exact
# to about 1e-16 of the largest) no longer gives a coordinate column that is orthonormal to float32.
_SMALLEST_SINGULAR_RATIO = 1e-4


def factorize(
    embeddings: Tensor,
    embedding_size: int,
    *,
    return_singular_values: bool = False,
    decomposition: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, ...]:
    """The best approximation E ≈ F P of rank `embedding_size` in Frobenius norm (Eckart and Young, 1936).

    The split is that of OFA (Liu et al., 2024, section 3.1): without centring, the coordinates F are the left singular
    vectors, which are orthonormal, and the primitives P hold the singular values times the right singular vectors.
    The right singular vectors come from the D x D Gram matrix, accumulated in float64 over blocks of rows, so that the
    cost is one pass over E for the matrix and one for the coordinates. Signs are fixed by making the entry of largest
    magnitude in each row of P positive.

    Args:
        embeddings: (V, D), any floating dtype, on any device; the work happens on that device, for MPS on the CPU.
        embedding_size: D', the rank, at least 1 and at most min(V, D).
        return_singular_values: return all singular values, too.
        decomposition: what `decompose` returned for the same matrix, where it is factorized at several sizes.

    Returns:
        Coordinates (V, D') with orthonormal columns and primitives (D', D), float32, on the device of `embeddings`; and,
        if asked for, the min(V, D) singular values, float64, largest first; those of a matrix on MPS are on the CPU.

    Raises:
        ValueError: `embeddings` is not a matrix or has NaN or infinite entries, or `embedding_size` is out of range.
    """
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings must be a matrix (V, D), but has the shape {tuple(embeddings.shape)}.")
    rows, columns = embeddings.shape
    if isinstance(embedding_size, bool) or not isinstance(embedding_size, int):
        raise ValueError(f"embedding_size must be an integer, but is {embedding_size!r}.")
    if not 1 <= embedding_size <= min(rows, columns):
        raise ValueError(
            f"embedding_size is {embedding_size}, but a factorization of a {rows} x {columns} embedding matrix needs "
            f"a size from 1 to {min(rows, columns)}; pass embedding_size=None to keep the matrix as it is."
        )
    device, embeddings = embeddings.device, _where_float64_is(embeddings.detach())
    eigenvalues, eigenvectors = decompose(embeddings) if decomposition is None else decomposition
    values = eigenvalues[: min(rows, columns)].sqrt()
    scale, right = values[:embedding_size], eigenvectors[:, :embedding_size]  # (D',), (D, D')

    if columns_divide(eigenvalues, embedding_size):
        coordinates = _project(embeddings, right / scale, torch.float32)
        primitives = (right * scale).T
    else:
        # A matrix of (nearly) lower rank: its last columns cannot be had by division. A QR decomposition gives
        # orthonormal columns whatever the rank, and the same product.
        coordinates, triangle = torch.linalg.qr(_project(embeddings, right, torch.float64))
        primitives = triangle @ right.T
    signs = _signs(primitives)
    coordinates = coordinates.to(torch.float32).mul_(signs.to(torch.float32))
    primitives = (primitives * signs[:, None]).to(torch.float32).contiguous()
    coordinates, primitives = coordinates.to(device), primitives.to(device)
    return (coordinates, primitives, values) if return_singular_values else (coordinates, primitives)


def project(embeddings: Tensor, embedding_size: int, decomposition: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """E ≈ F P where the primitives P are the leading directions of other rows than E's, such as those E is to make.

    P has orthonormal rows and F = E Pᵀ, the best coordinates on it: F has the scale of embeddings, so that a learning
    rate means to it what it means to embeddings at full size. Beyond the paper; see `factors.Factorizer`.

    Args:
        embeddings: (V, D), any floating dtype, on any device; the work happens on that device, in float64, for MPS on the CPU.
        embedding_size: D', the rank, from 1 to D. Coordinates of a smaller size are the first columns of a larger one's,
            and its primitives the first rows.
        decomposition: what `decompose` returned for the other rows.

    Returns:
        Coordinates (V, D') and primitives (D', D), float32, on the device of `embeddings`; signs as in `factorize`.
    """
    device, embeddings = embeddings.device, _where_float64_is(embeddings.detach())
    directions = decomposition[1][:, :embedding_size].to(embeddings.device)
    primitives = directions.T * _signs(directions.T)[:, None]
    coordinates = _project(embeddings, primitives.T, torch.float32)
    return coordinates.to(device), primitives.to(torch.float32).contiguous().to(device)


def columns_divide(eigenvalues: Tensor, embedding_size: int) -> bool:
    """Whether the coordinates of this size are projections divided by singular values, one column at a time.

    Then those of a smaller size are their first columns, and its primitives the first rows.
    """
    values = eigenvalues.sqrt()
    return bool(values[embedding_size - 1] > _SMALLEST_SINGULAR_RATIO * values[0])


def singular_values(embeddings: Tensor) -> Tensor:
    """The min(V, D) singular values of a matrix (V, D), float64, largest first, from the Gram matrix as above."""
    eigenvalues, _ = decompose(embeddings.detach())
    return eigenvalues[: min(embeddings.shape)].sqrt()


def truncation_errors(values: np.ndarray) -> np.ndarray:
    """||E - F P|| / ||E|| in Frobenius norm at each rank from 0 to D, from the D singular values of E, largest first."""
    squares = np.square(np.asarray(values, dtype=np.float64))
    left = np.append(np.cumsum(squares[::-1])[::-1], 0.0)
    return np.sqrt(left / left[0]) if left[0] else np.zeros_like(left)


def decompose(embeddings: Tensor | Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Eigenvalues (D,) of the Gram matrix, largest first and none negative, and its eigenvectors (D, D) in columns.

    Args:
        embeddings: (V, D), or at least one block of its rows.

    Returns:
        Both are float64, on the device of `embeddings`, for MPS on the CPU.

    Raises:
        ValueError: `embeddings` has NaN or infinite entries.
    """
    gram, start = None, 0
    for block in embeddings.split(_BLOCK_ROWS) if isinstance(embeddings, Tensor) else embeddings:
        block = _where_float64_is(block)
        columns = block.shape[1]
        if gram is None:
            gram = torch.zeros(columns, columns, dtype=torch.float64, device=block.device)
        stripe = -(-columns // _GRAM_STRIPES)
        block = block.to(torch.float64)
        check_finite(block, start)
        # The matrix is symmetric, and `eigh` reads one triangle of it.
        for first in range(0, columns, stripe):
            gram[first:, first : first + stripe].addmm_(block[:, first:].T, block[:, first : first + stripe])
        start += len(block)

    eigenvalues, eigenvectors = torch.linalg.eigh(gram, UPLO="L")  # ascending
    return eigenvalues.flip(0).clamp_min(0), eigenvectors.flip(1)


def check_finite(rows: Tensor, first: int = 0) -> None:
    """Raises ValueError for rows (n, D) with NaN or infinite entries; names the row, counted from `first`."""
    # The sum shows quickly that all is well; that of large numbers may overflow, though.
    if not (torch.isfinite(rows.sum()) or torch.isfinite(rows).all()):
        row = first + int((~torch.isfinite(rows)).any(dim=1).nonzero()[0])
        raise ValueError(
            f"embeddings has NaN or infinite entries, first in row {row}; repair or remove these rows before factorizing."
        )


def has_float64(device: torch.device | str) -> bool:
    """Whether a device computes in float64, in which everything is factorized."""
    return torch.device(device).type not in _WITHOUT_FLOAT64


def _where_float64_is(tensor: Tensor) -> Tensor:
    return tensor if has_float64(tensor.device) else tensor.cpu()


def _signs(primitives: Tensor) -> Tensor:
    """(D',) signs that make the entry of largest magnitude in each row of primitives (D', D) positive."""
    largest = primitives.gather(1, primitives.abs().argmax(dim=1, keepdim=True)).squeeze(1)
    return torch.where(largest < 0, -1.0, 1.0).to(primitives.dtype)


def _project(embeddings: Tensor, directions: Tensor, dtype: torch.dtype) -> Tensor:
    """`embeddings` (V, D) times `directions` (D, D'), multiplied in float64 blocks and stored as `dtype`."""
    product = torch.empty(len(embeddings), directions.shape[1], dtype=dtype, device=embeddings.device)
    for start in range(0, len(embeddings), _BLOCK_ROWS):
        block = embeddings[start : start + _BLOCK_ROWS].to(torch.float64)
        product[start : start + _BLOCK_ROWS] = block @ directions
    return product
