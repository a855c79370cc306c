"""The map of the report: source and new rows in two dimensions, and which tokens translate each other."""

from dataclasses import dataclass

import numpy as np
import torch

from ..initialization.mapping.token_mapping import TokenKind, TokenMapping
from ..models.factorization import factorize


# Points of the map.
_SOURCE_POINTS, _TARGET_POINTS = 1_000, 3_000
# Tokens of other languages that are taken for translations of a token: one a language, and how near they must be.
_TRANSLATIONS, _NEAR = 8, 0.5
# Below so many points, neighbourhoods are no picture.
_FEWEST_POINTS = 100
NOTHING = 65_535


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """Source and new rows at unit length, less the mean of their language, in two dimensions.

    Attributes:
        points: (n, 2) float32, between -1 and 1.
        ids: (n,) uint32, source ids before target ids.
        num_source: how many of them are the source's.
        method: "t-SNE", or "principal components" where openTSNE isn't installed.
        explained: the share of the variance that two principal components have.
        translations: (n, 8) uint16: places, in `ids`, of the tokens of other languages whose words mean most nearly the
            same; `NOTHING` where there are fewer, and for the source's.
    """

    points: np.ndarray
    ids: np.ndarray
    num_source: int
    method: str
    explained: float
    translations: np.ndarray


def embedding_map(
    source: torch.Tensor,
    target: torch.Tensor,
    primitives: torch.Tensor | None,
    mapping: TokenMapping,
    used: np.ndarray,
    generator: np.random.Generator,
) -> EmbeddingMap:
    """A map of a sample of the source's rows (V_s, D), of those in `used`, and of the target's, factorized or not."""
    source_ids = np.sort(generator.choice(used, min(_SOURCE_POINTS, len(used)), replace=False))
    target_ids = _sample_languages(mapping, generator)
    new = target[torch.from_numpy(target_ids)].float()
    if primitives is not None:
        new = new @ primitives.float()
    rows = torch.cat([source[torch.from_numpy(source_ids)].float().to(new.device), new]).cpu()
    rows = torch.nn.functional.normalize(rows, dim=1)
    # What all tokens of a language share, its offset among it, would be all that one sees.
    languages = np.concatenate([np.full(len(source_ids), "source"), mapping.languages[target_ids]])
    _, group = np.unique(languages, return_inverse=True)
    group = torch.from_numpy(group)
    counts = torch.bincount(group)
    means = torch.zeros(len(counts), rows.shape[1]).index_add(0, group, rows) / counts.unsqueeze(1)
    rows = rows - means[group]
    coordinates, components, singular = factorize(rows, min(2, *rows.shape), return_singular_values=True)
    points = coordinates * components.norm(dim=1)
    points = torch.nn.functional.pad(points, (0, 2 - points.shape[1])).numpy()
    total = singular.square().sum().item()
    nearby = _neighbourhoods(rows.numpy(), points, int(generator.integers(2**31)))
    points = points if nearby is None else nearby
    return EmbeddingMap(
        points=(points / max(float(np.abs(points).max(initial=0)), 1e-12)).astype(np.float32),
        ids=np.concatenate([source_ids, target_ids]).astype(np.uint32),
        num_source=len(source_ids),
        method="principal components" if nearby is None else "t-SNE",
        explained=round(singular[:2].square().sum().item() / total, 4) if total else 0.0,
        translations=_translations(mapping, target_ids, len(source_ids)),
    )


def _neighbourhoods(rows: np.ndarray, start: np.ndarray, seed: int) -> np.ndarray | None:
    """(n, 2) by t-SNE (van der Maaten and Hinton, 2008) from principal components; None without openTSNE."""
    try:
        import openTSNE
    except ImportError:
        return None
    if len(rows) < _FEWEST_POINTS:
        return None
    spread = start / max(float(start[:, 0].std()), 1e-12) * 1e-4  # as Kobak and Berens (2019) begin
    tsne = openTSNE.TSNE(perplexity=30, metric="cosine", initialization=spread, random_state=seed, n_jobs=1)
    return np.asarray(tsne.fit(rows))


def _translations(mapping: TokenMapping, ids: np.ndarray, offset: int) -> np.ndarray:
    """For each point the places of the nearest tokens of other languages, by the mean vector of their words."""
    found = np.full((offset + len(ids), _TRANSLATIONS), NOTHING, dtype=np.uint16)
    vectors, incidence = mapping.word_vectors, mapping.incidence
    known = np.flatnonzero((np.diff(incidence.indptr)[ids] > 0) & (mapping.languages[ids] != ""))
    if not len(known) or not len(vectors):
        return found
    meanings = (incidence[ids[known]] @ vectors.vectors).astype(np.float32)
    meanings /= np.maximum(np.linalg.norm(meanings, axis=1, keepdims=True), 1e-12)
    languages, language = np.unique(mapping.languages[ids[known]], return_inverse=True)
    cosines = meanings @ meanings.T
    best = np.full((len(known), len(languages)), -1, dtype=np.int64)
    scores = np.full((len(known), len(languages)), -1.0, dtype=np.float32)
    for number in range(len(languages)):
        members = np.flatnonzero(language == number)
        near = cosines[:, members].argmax(axis=1)
        scores[:, number] = cosines[np.arange(len(known)), members[near]]
        best[:, number] = members[near]
    scores[np.arange(len(known)), language] = -1
    order = np.argsort(-scores, axis=1, kind="stable")[:, :_TRANSLATIONS]
    chosen = np.take_along_axis(best, order, axis=1)
    places = np.where(np.take_along_axis(scores, order, axis=1) >= _NEAR, offset + known[chosen], NOTHING)
    found[offset + known, : places.shape[1]] = places
    return found


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
