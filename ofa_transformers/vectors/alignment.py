"""Vectors of one language turned into the space of others by an orthogonal map (Procrustes), from a dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers.utils import logging

from ..utils.search import csls_neighbors, unit_rows
from .dictionaries import Dictionary
from .evaluation import precision
from .lookup import find_rows


if TYPE_CHECKING:
    from .word_vectors import WordVectors

logger = logging.get_logger(__name__)

# Words held out to judge by; fewer say little.
_MIN_HELD_OUT = 10

# Rows mapped at once.
_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class AlignmentScore:
    """Lexicon induction with held-out entries; see `LexiconScore`."""

    step: str
    pairs: int
    cosine_top1: float
    cosine_top5: float
    csls_top1: float
    csls_top5: float


@dataclass(frozen=True)
class AlignmentReport:
    """What an alignment rests on, and how good it is.

    Attributes:
        target: the language of the space with the most entries, in which translations are searched.
        anchors: dictionary entries with both words known, in all languages.
        held_out: words whose entries were kept aside to judge by, 0 if there are too few. The maps judged were fitted
            without them; the map that is used was fitted with them.
        candidates: words of `target` that competed.
        scores: "before" (where the dimensions allow it), "dictionary", and each refinement, with the pairs of words
            that its map was fitted on.
    """

    target: str
    anchors: int
    held_out: int
    candidates: int
    scores: list[AlignmentScore]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def align(
    vectors: WordVectors,
    space: WordVectors,
    dictionary: Dictionary,
    *,
    center: bool,
    refinements: int,
    held_out: float,
    max_words: int,
    neighborhood: int,
    seed: int,
    device: torch.device | str | None,
) -> tuple[np.ndarray, AlignmentReport]:
    """The vectors (N, d of the space) float32 of `vectors` in `space`; see `WordVectors.aligned_to`."""
    if vectors.dimension > space.dimension:
        raise ValueError(
            f"The vectors have {vectors.dimension} dimensions, the space {space.dimension}, and no orthogonal map goes "
            f"from more dimensions to fewer; reduce the vectors to {space.dimension} dimensions first, or make the "
            f"space with dim={vectors.dimension}."
        )
    if not 0 <= held_out < 1 or refinements < 0 or max_words < 1:
        raise ValueError(
            f"held_out is {held_out}, refinements {refinements} and max_words {max_words}, but they must be from 0 to "
            "below 1, 0 or more, and 1 or more."
        )
    anchors = _anchors(vectors, space, dictionary)
    if len(anchors) < vectors.dimension:
        logger.warning(
            "Only %d dictionary entries have both words among the vectors, fewer than the %d dimensions of the map; "
            "expect a poor alignment.",
            len(anchors),
            vectors.dimension,
        )
    names, counts = np.unique(space.languages[anchors[:, 1]], return_counts=True)
    target = str(names[counts.argmax()])
    vectors.check_finite()
    space.check_finite(np.union1d(anchors[:, 1], space.select(target, max_words)))
    space.check_finite(np.arange(min(_BLOCK_ROWS, len(space))))
    problem = _Problem(
        _Side.of(vectors.vectors, center),
        _Side.of(space.vectors, center),
        np.arange(min(max_words, len(vectors))),
        space.select(target, max_words),
        refinements,
        neighborhood,
        device,
    )
    judged = _held_out(anchors, problem.target_words, held_out, seed)
    scores = problem.scores(anchors[~judged], anchors[judged]) if judged.any() else []
    *_, (rotation, _) = problem.maps(anchors)
    num_judged = len(np.unique(anchors[judged, 0]))
    report = AlignmentReport(target, len(anchors), num_judged, len(problem.target_words), scores)
    return problem.mapped(rotation), report


def procrustes(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(d, d') float64 W with orthonormal rows that brings `sources` (n, d) W nearest to `targets` (n, d'), d <= d'.

    W = U V^T from the SVD of sources^T targets (Schoenemann, 1966; Xing et al., 2015; Smith et al., 2017). With d < d'
    it is the map of sources padded with zeros.
    """
    left, _, right = np.linalg.svd(sources.astype(np.float64).T @ targets.astype(np.float64), full_matrices=False)
    return left @ right


@dataclass(frozen=True)
class _Side:
    """Vectors at unit length, centred (at unit length again) where that is asked for, computed row by row."""

    vectors: np.ndarray
    center: np.ndarray | None

    @classmethod
    def of(cls, vectors: np.ndarray, center: bool) -> _Side:
        # Words stand by frequency: the first ones, which the map is made for, give the centre.
        return cls(vectors, unit_rows(vectors[:_BLOCK_ROWS]).mean(axis=0) if center else None)

    def rows(self, index: np.ndarray | slice) -> np.ndarray:
        units = unit_rows(self.vectors[index])
        return units if self.center is None else unit_rows(units - self.center)

    def restored(self, units: np.ndarray) -> np.ndarray:
        """Such rows as vectors of this side's space again: the centre added, lengths the mean length of its vectors."""
        first = self.vectors[:_BLOCK_ROWS]
        if self.center is not None:
            spread = np.linalg.norm(unit_rows(first) - self.center, axis=1).mean()
            units = unit_rows(units * spread + self.center)
        return units * np.linalg.norm(first, axis=1).mean()


@dataclass(frozen=True)
class _Problem:
    source: _Side
    target: _Side
    source_words: np.ndarray  # rows that refinements and judgements search, ascending
    target_words: np.ndarray
    refinements: int
    neighborhood: int
    device: torch.device | str | None

    def maps(self, anchors: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        """The map (d, d') from the anchors, then after each refinement, with the number of pairs behind each.

        A refinement fits the map to the anchors and to all words that are nearest to each other by CSLS (Conneau et
        al., 2018, section 2.2).
        """
        pairs = anchors
        for number in range(self.refinements + 1):
            rotation = procrustes(self.source.rows(pairs[:, 0]), self.target.rows(pairs[:, 1]))
            yield rotation, len(pairs)
            if number < self.refinements:
                pairs = np.unique(np.concatenate([anchors, self._mutual_neighbors(rotation)]), axis=0)

    def _mutual_neighbors(self, rotation: np.ndarray) -> np.ndarray:
        sources = self.source.rows(self.source_words) @ rotation
        targets = self.target.rows(self.target_words)
        options = {"neighborhood": self.neighborhood, "device": self.device}
        forward = csls_neighbors(sources, targets, 1, sources, **options)[:, 0]
        backward = csls_neighbors(targets, sources, 1, targets, **options)[:, 0]
        mutual = np.flatnonzero(backward[forward] == np.arange(len(sources)))
        return np.column_stack([self.source_words[mutual], self.target_words[forward[mutual]]])

    def scores(self, anchors: np.ndarray, gold: np.ndarray) -> list[AlignmentScore]:
        """How well each map from `anchors`, and none, finds `gold` (g, 2)."""
        gold = gold[np.isin(gold[:, 1], self.target_words)]
        queries, query_of = np.unique(gold[:, 0], return_inverse=True)
        population = np.union1d(self.source_words, queries)
        positions = np.searchsorted(population, queries), query_of, np.searchsorted(self.target_words, gold[:, 1])
        options = {"neighborhood": self.neighborhood, "device": self.device}

        scores = []
        if self.source.vectors.shape[1] == self.target.vectors.shape[1]:
            before = self.source.vectors[population], self.target.vectors[self.target_words]
            scores.append(AlignmentScore("before", 0, *precision(*before, *positions, **options)))
        sources, targets = self.source.rows(population), self.target.rows(self.target_words)
        for number, (rotation, pairs) in enumerate(self.maps(anchors)):
            step = f"refinement {number}" if number else "dictionary"
            shares = precision(sources @ rotation, targets, *positions, **options)
            scores.append(AlignmentScore(step, pairs, *shares))
        return scores

    def mapped(self, rotation: np.ndarray) -> np.ndarray:
        """(N, d') float32 all source vectors in the space of the target."""
        result = np.empty((len(self.source.vectors), rotation.shape[1]), dtype=np.float32)
        for start in range(0, len(result), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            result[block] = self.target.restored(self.source.rows(block) @ rotation)
        return result


def _anchors(vectors: WordVectors, space: WordVectors, dictionary: Dictionary) -> np.ndarray:
    """(a, 2) rows of `vectors` and of `space` that are translations."""
    source_rows = find_rows(vectors, dictionary.words, dictionary.languages)
    target_rows = find_rows(space, dictionary.words, dictionary.languages)
    both = np.concatenate([dictionary.entries, dictionary.entries[:, ::-1]])
    anchors = np.column_stack([source_rows[both[:, 0]], target_rows[both[:, 1]]])
    anchors = np.unique(anchors[(anchors >= 0).all(axis=1)], axis=0)
    if not len(anchors):
        raise ValueError(
            f"No entry of the dictionary ({', '.join(list(dictionary.language_counts())[:10])}) has one word among the "
            f"vectors ({', '.join(list(vectors.language_counts())[:10])}) and the other in the space "
            f"({', '.join(list(space.language_counts())[:10])}); check the language codes (Dictionary.renamed changes "
            "them), or pass another dictionary."
        )
    return anchors


def _held_out(anchors: np.ndarray, target_words: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(a,) which anchors to judge by: all of a share of the source words that have a translation to be found."""
    words = np.unique(anchors[np.isin(anchors[:, 1], target_words), 0])
    size = round(share * len(words))
    if size < _MIN_HELD_OUT:
        return np.zeros(len(anchors), dtype=bool)
    chosen = np.random.default_rng(seed).permutation(len(words))[:size]
    return np.isin(anchors[:, 0], words[chosen])
