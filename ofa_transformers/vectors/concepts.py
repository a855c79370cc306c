"""Word vectors from dictionaries: a graph whose nodes are words and whose edges are translations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
from transformers.utils import logging

from ..text.languages import counterparts, to_iso639_3
from ..text.segmentation import WordSplitter, method_of
from ..text.segmentation import lowercase as lower
from .dictionaries import Dictionary
from .lookup import find_rows
from .words import take_words


if TYPE_CHECKING:
    from .word_vectors import WordVectors

logger = logging.get_logger(__name__)

_DIMENSION = 200

# Of FastRP. In dictionaries of one pivot language, a walk of one step leads from its words to the others and of two
# steps back, so that both sides meet in the sum of the two.
_WALK = 2
_DEGREE_EXPONENT = -0.5

# Columns propagated at once, so that only a part of the matrix exists several times.
_BLOCK_COLUMNS = 32


@dataclass(frozen=True)
class WordGraph:
    """Words and their translations.

    Attributes:
        words: N single words.
        languages: (N,) their languages.
        adjacency: (N, N) float32, symmetric, zero diagonal: the weights of translations.
    """

    words: list[str]
    languages: np.ndarray
    adjacency: scipy.sparse.csr_array

    def part(self, nodes: np.ndarray) -> WordGraph:
        """The graph of the nodes at an array of indices."""
        return WordGraph(take_words(self.words, nodes), self.languages[nodes], self.adjacency[nodes][:, nodes].tocsr())


def word_graph(dictionary: Dictionary, *, lowercase: bool, tokenize: Callable[[str], list[str]]) -> WordGraph:
    """The graph of a dictionary's words.

    An entry of n words with m words ("cable car" and "téléphérique") is n m edges that share its weight.
    """
    nodes: dict[tuple[str, str], int] = {}
    part_of: list[int] = []
    lengths = np.empty(len(dictionary.words), dtype=np.int64)
    for i, (language, text) in enumerate(zip(dictionary.languages.tolist(), dictionary.words)):
        text = lower(text, language) if lowercase else text
        parts = tokenize(text, language) if isinstance(tokenize, WordSplitter) else tokenize(text)
        lengths[i] = len(parts)
        for word in parts:
            part_of.append(nodes.setdefault((language, word), len(nodes)))
    words = [word for _, word in nodes]
    languages = np.array([language for language, _ in nodes], dtype=np.str_)
    del nodes
    if not words:
        raise ValueError(
            f"No entry of the dictionary has a word: {dictionary.words[0]!r} and the others are cut to none."
        )
    rows = np.repeat(np.arange(len(lengths)), lengths)
    shares = np.repeat(1 / np.maximum(lengths, 1), lengths).astype(np.float32)
    parts = scipy.sparse.csr_array((shares, (rows, part_of)), shape=(len(lengths), len(words)))
    entries = scipy.sparse.csr_array((dictionary.weights, tuple(dictionary.entries.T)), shape=(len(lengths),) * 2)
    adjacency = parts.T @ entries @ parts
    adjacency = (adjacency + adjacency.T).tocoo()
    apart = adjacency.row != adjacency.col
    adjacency = (adjacency.data[apart], (adjacency.row[apart], adjacency.col[apart]))
    return WordGraph(words, languages, scipy.sparse.csr_array(adjacency, shape=(len(words),) * 2))


def build_from_dictionaries(
    dictionary: Dictionary,
    base: WordVectors | None,
    *,
    dim: int | None,
    languages: Iterable[str] | None,
    lowercase: bool,
    segmentation: str,
    tokenize: Callable[[str], list[str]] | None,
    steps: int,
    seed: int,
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray | None, dict[str, Any]]:
    """See `WordVectors.from_dictionaries`. Returns words, languages, vectors, frequencies, metadata."""
    if steps < 1:
        raise ValueError(f"steps is {steps}, but must be at least 1.")
    if base is not None and dim not in (None, base.dimension):
        raise ValueError(f"dim is {dim}, but the vectors given have {base.dimension} dimensions; leave dim out.")
    if dim is not None and dim < 1:
        raise ValueError(f"dim is {dim}, but must be at least 1.")
    if base is not None:
        base.check_finite()
        words_of = base.language_counts()
        known = {code: counterparts(code, words_of) for code in np.unique(dictionary.languages).tolist()}
        # a macrolanguage goes by the language within it that has most words
        names = {code: max(found, key=words_of.__getitem__) for code, found in known.items() if found}
        dictionary = dictionary.renamed({code: name for code, name in names.items() if code != name})
        languages = languages and [names.get(code, code) for code in map(to_iso639_3, languages)]
    available = np.unique(dictionary.languages)
    wanted = available if languages is None else np.unique([to_iso639_3(code) for code in languages])
    missing = np.setdiff1d(wanted, available)
    if len(missing):
        raise ValueError(
            f"The dictionary has no words of {', '.join(missing)}; leave them out, or see Dictionary.renamed for "
            "languages that it names by another code."
        )
    if tokenize is None:
        # Words of entries are cut as the text was that the given vectors are from, where that is known.
        as_before = segmentation == "auto" and base is not None
        tokenize = WordSplitter(method_of(base.metadata) if as_before else segmentation)
        method = tokenize.method
    else:
        method = "custom"
    graph = word_graph(dictionary, lowercase=lowercase, tokenize=tokenize)
    metadata = {
        "origin": "dictionaries",
        "entries": len(dictionary),
        "dictionary_languages": len(available),
        "lowercase": lowercase,
        "segmentation": {"method": method},
        "steps": steps,
    }
    if base is None:
        columns, described = _from_graph(graph, wanted, dim or _DIMENSION, steps, seed)
    else:
        columns, described = _extended(graph, wanted, base, steps)
    return *columns, metadata | described


def _from_graph(graph: WordGraph, wanted: np.ndarray, dim: int, steps: int, seed: int):
    """Vectors of the words in the largest connected part of the graph."""
    _, component = scipy.sparse.csgraph.connected_components(graph.adjacency, directed=False)
    largest = np.flatnonzero(component == np.bincount(component).argmax())
    num_apart = len(graph.words) - len(largest)
    logger.info("%d words are connected; %d others, apart from them, are left out.", len(largest), num_apart)
    graph = graph.part(largest)

    names, of_node = np.unique(graph.languages, return_inverse=True)
    degrees = np.diff(graph.adjacency.indptr)
    pivot = str(names[np.bincount(of_node, degrees).argmax()])
    frequencies = _translating_languages(graph, of_node, len(names))
    frequencies[graph.languages != pivot] = np.nan
    frequencies = estimate_frequencies(graph, frequencies, steps=steps)
    np.nan_to_num(frequencies, copy=False, nan=np.nanmin(frequencies))

    # Most words have one translation only: they get its vector, and tell nothing about any other word.
    core = np.flatnonzero(degrees > 1)
    core = core if len(core) > 1 else np.arange(len(degrees))
    core_vectors = embed(graph.adjacency[core][:, core].tocsr(), dim=dim, seed=seed)
    rows = np.full(len(degrees), -1)
    rows[core] = np.arange(len(core))
    is_wanted = np.isin(graph.languages, wanted)
    nodes, vectors = propagate(graph.adjacency, core_vectors, rows, is_wanted, steps=1)
    kept = is_wanted[core]
    if not kept.all():
        core, core_vectors = core[kept], core_vectors[kept]
    parts = [(take_words(graph.words, i), graph.languages[i], v) for i, v in ((core, core_vectors), (nodes, vectors))]
    columns = _in_order(parts, np.concatenate([frequencies[core], frequencies[nodes]]))
    described = {
        "method": "graph of translations, random projection, neighbours' means",
        "words_apart": num_apart,
        "frequencies": f"estimated: the languages that translate a word of {pivot}, divided among its translations",
        "seed": seed,
    }
    return columns, described


def _translating_languages(graph: WordGraph, of_node: np.ndarray, num_languages: int) -> np.ndarray:
    """(N,) float64: how many languages a word has translations in."""
    edges = graph.adjacency.tocoo()
    pairs = np.unique(edges.row.astype(np.int64) * num_languages + of_node[edges.col])
    return np.bincount(pairs // num_languages, minlength=len(of_node)).astype(np.float64)


def _extended(graph: WordGraph, wanted: np.ndarray, base: WordVectors, steps: int):
    """The words of `base`, and those that the graph gives vectors to."""
    rows = find_rows(base, graph.words, graph.languages)
    if (rows < 0).all():
        raise ValueError(
            f"The vectors ({', '.join(list(base.language_counts())[:10])}) have no word of the dictionary "
            f"({', '.join(np.unique(graph.languages)[:10])}, ...); check the language codes (Dictionary.renamed changes "
            "them), or leave the vectors out."
        )
    nodes, vectors = propagate(graph.adjacency, base.vectors, rows, np.isin(graph.languages, wanted), steps=steps)
    if not len(nodes):
        raise ValueError(
            f"The dictionary translates no new word of {', '.join(wanted[:10])} into a word that the vectors have."
        )
    logger.info("%d words got vectors from their translations.", len(nodes))
    vectors *= np.linalg.norm(base.vectors[: 1 << 16], axis=1).mean()
    frequencies = None
    if base.frequencies is not None:
        known = np.where(rows >= 0, base.frequencies[rows], np.nan)
        estimated = estimate_frequencies(graph, known, steps=steps)[nodes]
        frequencies = np.concatenate([base.frequencies, estimated])
    columns = _in_order(
        [
            (base.words, base.languages, base.vectors),
            (take_words(graph.words, nodes), graph.languages[nodes], vectors),
        ],
        frequencies,
    )
    described = {
        "method": "means of translations",
        "base": dict(base.metadata),
        "known_words": int((rows >= 0).sum()),
        "new_words": len(nodes),
    }
    if frequencies is not None:
        described["frequencies"] = "of new words estimated: their translations', divided among words of a language"
    return columns, described


def _in_order(parts: list[tuple[Sequence[str], np.ndarray, np.ndarray]], frequencies: np.ndarray | None):
    """Words, languages, vectors and frequencies of several parts in one, the most frequent words first."""
    words = [word for part, _, _ in parts for word in part]
    languages = np.concatenate([part for _, part, _ in parts])
    order = np.arange(len(words)) if frequencies is None else np.argsort(-frequencies, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    vectors = np.empty((len(words), parts[0][2].shape[1]), dtype=np.float32)
    start = 0
    for _, _, part in parts:
        vectors[place[start : start + len(part)]] = part
        start += len(part)
    if frequencies is not None:
        frequencies = frequencies[order].astype(np.float32)
    return take_words(words, order), languages[order], vectors, frequencies


def embed(adjacency: scipy.sparse.csr_array, *, dim: int, seed: int) -> np.ndarray:
    """(N, dim) float32 unit vectors of the nodes of a graph, near where their neighbourhoods overlap.

    Random vectors, replaced by the means of the neighbours' vectors again and again, and these added up (FastRP; Chen
    et al., 2019, "Fast and accurate network embeddings via very sparse random projection").
    """
    degrees = adjacency.sum(axis=1)
    scale = scipy.sparse.diags_array((1 / np.where(degrees > 0, degrees, 1)).astype(np.float32))
    transition = (scale @ adjacency).tocsr()
    vectors = np.random.default_rng(seed).standard_normal((adjacency.shape[0], dim), dtype=np.float32)
    # Words with many translations would otherwise fill the vectors of all their neighbours.
    vectors *= (np.where(degrees > 0, degrees, 1) ** _DEGREE_EXPONENT).astype(np.float32)[:, None]
    result = np.zeros_like(vectors)
    for _ in range(_WALK):
        vectors = normalize_rows(transition @ vectors)
        result += vectors
    return normalize_rows(result)


def propagate(
    adjacency: scipy.sparse.csr_array, vectors: np.ndarray, rows: np.ndarray, wanted: np.ndarray, *, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of all nodes from those of some: the weighted mean of a node's neighbours, `steps` times over.

    Nodes with a vector keep it (as the boundary of Zhu et al., 2003, "Semi-supervised learning using Gaussian fields
    and harmonic functions"). In each step the others get the mean of those neighbours that have a vector by then, so
    that a word without a known translation gets its vector over another word that has one.

    Args:
        adjacency: (N, N) weights.
        vectors: (M, d) the known vectors.
        rows: (N,) the row of each node's vector in `vectors`, or -1.
        wanted: (N,) bool, the nodes to return.

    Returns:
        The wanted nodes (n,) that got a vector, and the unit vectors (n, d) float32.
    """
    known, unknown = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
    edges = adjacency[unknown]
    reached = (rows >= 0).astype(np.float32)
    masses = []
    for _ in range(steps):
        masses.append(edges @ reached)
        reached[unknown] = masses[-1] > 0
    scales = [(1 / np.where(mass > 0, mass, np.inf)).astype(np.float32)[:, None] for mass in masses]
    found = np.flatnonzero((masses[-1] > 0) & wanted[unknown])

    result = np.empty((len(found), vectors.shape[1]), dtype=np.float32)
    for start in range(0, vectors.shape[1], _BLOCK_COLUMNS):
        columns = slice(start, start + _BLOCK_COLUMNS)
        values = np.zeros((len(rows), result[:, columns].shape[1]), dtype=np.float32)
        values[known] = vectors[:, columns][rows[known]]
        for scale in scales:
            values[unknown] = (edges @ values) * scale
        result[:, columns] = values[unknown[found]]
    return unknown[found], normalize_rows(result)


def normalize_rows(vectors: np.ndarray) -> np.ndarray:
    """Brings the rows to unit length in place, and returns them; rows of zeros stay."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    np.divide(vectors, norms, out=vectors, where=norms > 0)
    return vectors


def estimate_frequencies(graph: WordGraph, frequencies: np.ndarray, *, steps: int) -> np.ndarray:
    """(N,) frequencies, where NaN is unknown, with estimates from translations where these are known.

    A word's frequency is divided among its translations into a language, and a word adds up its shares in all its
    translations from a language; with translations from several languages it gets the mean over these.
    """
    names, languages = np.unique(graph.languages, return_inverse=True)
    edges = graph.adjacency.tocoo()
    words, translations = edges.row.astype(np.int64), edges.col.astype(np.int64)
    _, group, sizes = np.unique(translations * len(names) + languages[words], return_inverse=True, return_counts=True)
    divisor = sizes[group]
    origin = words * len(names) + languages[translations]
    result = frequencies.astype(np.float64)
    for _ in range(steps):
        useful = np.isnan(result[words]) & ~np.isnan(result[translations])
        target = words[useful]
        summed = np.bincount(target, result[translations[useful]] / divisor[useful], minlength=len(result))
        origins = np.bincount(np.unique(origin[useful]) // len(names), minlength=len(result))
        found = origins > 0
        result[found] = summed[found] / origins[found]
    return result
