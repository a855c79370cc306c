"""Numbers about the rows of source and target, taken while both are there."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..initialization.mapping.token_mapping import TokenKind, TokenMapping
from ..models.factorization import factorize, singular_values


_BLOCK_ROWS = 16_384
_BINS = 40
# Rows behind the singular values where no factorization gives them: enough for three digits at D = 768.
_SPECTRUM_ROWS = 32_768
# Points of the map.
_SOURCE_POINTS, _TARGET_POINTS = 1_000, 3_000
# The kinds whose norms are compared. Special tokens are too few.
KINDS_COMPARED = (TokenKind.COPIED, TokenKind.COMPOSED, TokenKind.FALLBACK)


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """Source and new rows at unit length, on the two principal components of both.

    Attributes:
        points: (n, 2) float32, between -1 and 1.
        ids: (n,) uint32, source ids before target ids.
        num_source: how many of them are the source's.
        explained: the share of the variance that the two components have.
    """

    points: np.ndarray
    ids: np.ndarray
    num_source: int
    explained: float


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
    return figures, _map(source, target, primitives, mapping, used, generator)


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


def _map(
    source: torch.Tensor,
    target: torch.Tensor,
    primitives: torch.Tensor | None,
    mapping: TokenMapping,
    used: np.ndarray,
    generator: np.random.Generator,
) -> EmbeddingMap:
    source_ids = np.sort(generator.choice(used, min(_SOURCE_POINTS, len(used)), replace=False))
    target_ids = _sample_languages(mapping, generator)
    new = target[torch.from_numpy(target_ids)].float()
    if primitives is not None:
        new = new @ primitives.float()
    rows = torch.cat([source[torch.from_numpy(source_ids)].float().to(new.device), new]).cpu()
    rows = torch.nn.functional.normalize(rows, dim=1)
    rows -= rows.mean(dim=0)
    coordinates, primitives, singular = factorize(rows, min(2, *rows.shape), return_singular_values=True)
    points = coordinates * primitives.norm(dim=1)
    points = torch.nn.functional.pad(points, (0, 2 - points.shape[1]))
    total = singular.square().sum().item()
    return EmbeddingMap(
        points=(points / points.abs().max().clamp_min(1e-12)).numpy(),
        ids=np.concatenate([source_ids, target_ids]).astype(np.uint32),
        num_source=len(source_ids),
        explained=round(singular[:2].square().sum().item() / total, 4) if total else 0.0,
    )


def _sample_languages(mapping: TokenMapping, generator: np.random.Generator) -> np.ndarray:
    """Target ids, ascending: a sample in which a language of few tokens has more than its share."""
    candidates = np.flatnonzero((mapping.kinds != TokenKind.SPECIAL) & mapping.target.exists)
    _, index, counts = np.unique(mapping.languages[candidates], return_inverse=True, return_counts=True)
    weights = counts[index] ** -0.5
    # The smallest of exponential draws at these rates: sampling by weight without replacement (Efraimidis and
    # Spirakis, 2006).
    keys = generator.standard_exponential(len(candidates)) / weights
    wanted = min(_TARGET_POINTS, len(candidates))
    return np.sort(candidates[np.argpartition(keys, wanted - 1)[:wanted]]) if wanted else candidates
