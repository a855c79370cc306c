"""OMP (tokensurgeon of mergekit; Goddard and Fernandes Neto, 2025): a donor's rows as sparse codes of shared tokens."""

import numpy as np
import torch
from transformers.utils import logging

from ...tokenization.vocabulary import Vocabulary
from ..mapping import TokenMapping
from ..mapping.matches import match_tokens
from .inputs import MethodInputs, rows_of_entries
from .registry import register_method


# Products of residuals and shared rows held at once, float32.
_BLOCK_PRODUCTS = 1 << 24


@register_method("omp", needs=("donor",), published="Goddard and Fernandes Neto, 2025 (mergekit's tokensurgeon)")
def omp(inputs: MethodInputs, *, atoms: int = 64) -> TokenMapping:
    """A new token's row in the donor is coded by `atoms` tokens that both models have; the source's rows take their place."""
    donor = Vocabulary.from_tokenizer(inputs.donor.tokenizer, "donor")
    rows = inputs.donor.embeddings.float()
    to_donor = match_tokens(donor, inputs.target, fuzzy_match=False, num_source_rows=len(rows)).source_ids
    shared = match_tokens(donor, inputs.source, fuzzy_match=False, num_source_rows=len(rows)).source_ids
    usable = (shared >= 0) & ~inputs.source.special
    usable[inputs.num_source_rows :] = False
    points = np.flatnonzero(usable)
    if len(points) < atoms:
        raise ValueError(
            f"donor: its tokenizer shares {len(points)} tokens with the source's, fewer than atoms={atoms}; pass a "
            "donor of the same scripts, or fewer atoms."
        )
    new = np.flatnonzero((inputs.matches.source_ids < 0) & (to_donor >= 0) & ~inputs.target.special)
    indices, coefficients = sparse_codes(rows[to_donor[new]], rows[shared[points]], atoms)
    matrix = rows_of_entries(
        np.repeat(new, atoms), points[indices.numpy()].ravel(), coefficients.numpy().ravel(), inputs.shape
    )
    return inputs.mapping(matrix, settings={"atoms": atoms})


def sparse_codes(targets: torch.Tensor, points: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Orthogonal matching pursuit: each target as a combination of `count` points, chosen one after the other.

    The next point is the one with the largest inner product with what is left of the target; all coefficients are
    those of least squares (Pati et al., 1993), by a QR factorization that grows by a column a step.

    Args:
        targets: (n, d) float32.
        points: (m, d) float32, m >= count.
        count: of points a target.

    Returns:
        Indices (n, count) int64 into `points`, and coefficients (n, count) float32; on the CPU.
    """
    block = max(1, _BLOCK_PRODUCTS // len(points))
    found = [
        _codes_of_block(targets[start : start + block], points, count)
        for start in logging.tqdm(
            range(0, len(targets), block), desc="Coding rows", unit="block", delay=2, leave=False
        )
    ]
    if not found:
        return torch.empty(0, count, dtype=torch.int64), torch.empty(0, count)
    indices, coefficients = zip(*found)
    return torch.cat(indices).cpu(), torch.cat(coefficients).cpu()


def _codes_of_block(targets: torch.Tensor, points: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    size, dimension = targets.shape
    basis = targets.new_zeros(size, dimension, count)
    upper = targets.new_zeros(size, count, count)
    chosen = torch.zeros(size, count, dtype=torch.int64, device=targets.device)
    open_ = torch.ones(size, len(points), dtype=torch.bool, device=targets.device)
    left = targets.clone()
    every = torch.arange(size, device=targets.device)
    for step in range(count):
        products = (left @ points.T).abs_().masked_fill_(~open_, -1)
        index = products.argmax(dim=1)
        chosen[:, step] = index
        open_[every, index] = False
        atom = points[index]
        shares = torch.einsum("ndk,nd->nk", basis[..., :step], atom)
        rest = atom - torch.einsum("ndk,nk->nd", basis[..., :step], shares)
        # Once more, for what rounding has left (Björck, 1967: Gram and Schmidt twice is enough).
        again = torch.einsum("ndk,nd->nk", basis[..., :step], rest)
        rest = rest - torch.einsum("ndk,nk->nd", basis[..., :step], again)
        norm = rest.norm(dim=1).clamp(min=1e-8)
        upper[:, :step, step] = shares + again
        upper[:, step, step] = norm
        basis[..., step] = rest / norm[:, None]
        left = left - basis[..., step] * (basis[..., step] * left).sum(dim=1, keepdim=True)
    projected = torch.einsum("ndk,nd->nk", basis, targets)
    coefficients = torch.linalg.solve_triangular(upper, projected[..., None], upper=True)[..., 0]
    return chosen, coefficients
