"""Numbers about the rows of source and target, taken while both are there."""

from typing import Any

import numpy as np
import torch

from ..initialization.mapping.token_mapping import TokenKind, TokenMapping
from ..models.factorization import singular_values
from .map import EmbeddingMap, embedding_map


_BLOCK_ROWS = 16_384
_BINS = 40
# Rows behind the singular values where no factorization gives them: enough for three digits at D = 768.
_SPECTRUM_ROWS = 32_768
# The kinds whose norms are compared. Special tokens are too few.
KINDS_COMPARED = (TokenKind.COPIED, TokenKind.COMPOSED, TokenKind.FALLBACK)


def measure_rows(
    source: torch.Tensor,
    target: torch.Tensor,
    primitives: torch.Tensor | None,
    mapping: TokenMapping,
    values: dict[str, torch.Tensor],
    seed: int,
) -> tuple[dict[str, Any], EmbeddingMap]:
    """What the report draws of the input embeddings.

    Args:
        source: (V_s, D).
        target: (V_t, D), or (V_t, D') where there are primitives.
        primitives: (D', D) or None.
        mapping: what made the target's rows.
        values: the singular values by part, if known; else those of a sample of the source's rows are taken.
        seed: of the samples.

    Returns:
        `norms` and `similarity` (histograms: `edges`, and counts by name), `singular_values` by part, as plain values
        for JSON; and the map.
    """
    generator = np.random.default_rng([seed, 2])
    used = np.flatnonzero(mapping.source_rows)
    sampled = None
    if not values and len(used):
        rows = used if len(used) <= _SPECTRUM_ROWS else generator.choice(used, _SPECTRUM_ROWS, replace=False)
        sampled = len(rows)
        values = {"input": singular_values(source[torch.from_numpy(rows)].float())}
    figures = {
        "norms": _norm_histogram(source, target, primitives, mapping),
        "similarity": similarity_histogram(mapping),
        "singular_values": {part: [float(f"{v:.5g}") for v in found.tolist()] for part, found in values.items()},
        "singular_values_sample": sampled,
    }
    return figures, embedding_map(source, target, primitives, mapping, used, generator)


def similarity_histogram(mapping: TokenMapping) -> dict[str, Any]:
    """Composed tokens by the cosine of their nearest source token; none where a method knows no cosines."""
    nearest = nearest_cosines(mapping)
    nearest = nearest[~np.isnan(nearest)]
    low = min(0.0, float(np.floor(nearest.min(initial=0.0) * 10) / 10))
    counts, edges = np.histogram(nearest, bins=_BINS, range=(low, 1.0))
    return {
        "edges": [round(float(edge), 4) for edge in edges],
        "composed": counts.tolist(),
        "median": round(float(np.median(nearest)), 4) if len(nearest) else None,
    }


def nearest_cosines(mapping: TokenMapping) -> np.ndarray:
    """The highest cosine of each composed token, in the order of their ids; NaN where the method knows none."""
    starts = mapping.weights.indptr[:-1][mapping.kinds == TokenKind.COMPOSED]
    if not len(starts):
        return np.empty(0, dtype=np.float32)
    # Entries between two composed rows belong to matches, and have no cosine.
    return np.minimum(np.fmax.reduceat(mapping.cosines, starts), 1.0)


def _norm_histogram(
    source: torch.Tensor, target: torch.Tensor, primitives: torch.Tensor | None, mapping: TokenMapping
) -> dict[str, Any]:
    made = row_norms(target, primitives)
    groups = {"source": row_norms(source)[mapping.source_rows]}
    groups |= {kind.name.lower(): made[mapping.kinds == kind] for kind in KINDS_COMPARED}
    # A handful of extreme rows would squeeze all others into one bar; they count in the last one.
    top = max((float(np.quantile(norms, 0.999)) for norms in groups.values() if len(norms)), default=1.0) or 1.0
    edges = np.linspace(0, top * 1.02, _BINS + 1)
    return {
        "edges": [float(f"{edge:.5g}") for edge in edges],
        **{name: np.histogram(np.minimum(norms, edges[-1]), bins=edges)[0].tolist() for name, norms in groups.items()},
        "means": {name: float(f"{norms.mean():.4g}") for name, norms in groups.items() if len(norms)},
    }


def row_norms(rows: torch.Tensor, primitives: torch.Tensor | None = None) -> np.ndarray:
    """(V,) float32, the Euclidean norms of rows (V, D), or of `rows @ primitives` for (V, D') and (D', D)."""
    # ||f P||^2 = f (P P^T) f^T needs D' x D' numbers rather than a V x D matrix.
    gram = None if primitives is None else (primitives.float() @ primitives.float().T).to(rows.device)
    norms = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS].detach().float()
        found = block.norm(dim=1) if gram is None else ((block @ gram) * block).sum(dim=1).clamp_min(0).sqrt()
        norms[start : start + len(block)] = found.cpu().numpy()
    return norms
