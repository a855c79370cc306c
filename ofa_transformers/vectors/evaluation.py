"""How good aligned word vectors are: lexicon induction on dictionary entries, retrieval of parallel segments."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
import torch
from transformers.utils import logging

from ..text.languages import to_iso639_3
from ..text.segmentation import WordSplitter
from ..text.segments import named_text, read_ids, read_segments, texts_by_language
from ..utils.search import csls_neighbors, nearest_neighbors, retrieval_ranks
from .dictionaries import Dictionary
from .lookup import find_rows
from .parallel import count_words


if TYPE_CHECKING:
    from .word_vectors import WordVectors

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class LexiconScore:
    """Lexicon induction from one language to another.

    Attributes:
        entries: the source words that the dictionary translates into the target language.
        judged: those of them that have a vector, and a translation among the candidates; the shares are of these.
        candidates: words of the target language that compete.
        cosine_top1, cosine_top5: share of source words with a translation among their 1 or 5 nearest words.
        csls_top1, csls_top5: the same by CSLS, which penalises words that are near to everything.
    """

    source: str
    target: str
    entries: int
    judged: int
    candidates: int
    cosine_top1: float
    cosine_top5: float
    csls_top1: float
    csls_top5: float


@dataclass(frozen=True)
class RetrievalScore:
    """Retrieval of parallel segments between a pivot language and another one.

    Attributes:
        segments: segments that both languages have; chance is 1 / segments for top 1.
        known_words: share of the language's words in them that have a vector.
        to_top1, to_top5: share of the pivot's segments whose translation is the nearest one, or one of the 5 nearest.
        from_top1, from_top5: the same with the language's segments as queries.
    """

    language: str
    segments: int
    known_words: float
    to_top1: float
    to_top5: float
    from_top1: float
    from_top5: float


@dataclass(frozen=True)
class Evaluation:
    """Scores, one row a language or a pair of languages. `str()` is a table of them, with their mean."""

    rows: Sequence[LexiconScore | RetrievalScore]

    def mean(self) -> dict[str, float]:
        """Each share's mean over the rows."""
        names = [field.name for field in fields(self.rows[0]) if field.type == "float"]
        return {name: float(np.mean([getattr(row, name) for row in self.rows])) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold: `rows` and their `mean`."""
        return {"rows": [asdict(row) for row in self.rows], "mean": self.mean()}

    def to_markdown(self) -> str:
        """The table in Markdown, shares in per cent."""
        heading, *rows = self._table()
        rule = ["---:" if isinstance(value, (int, float)) else "---" for value in asdict(self.rows[0]).values()]
        return "\n".join(f"| {' | '.join(line)} |" for line in (heading, rule, *rows))

    def _table(self) -> list[list[str]]:
        names = [field.name for field in fields(self.rows[0])]
        mean = {names[0]: "mean", **self.mean()}
        table = [[name.replace("_", " ") for name in names]]
        for row in [*map(asdict, self.rows), mean]:
            table.append([f"{100 * v:.1f}" if isinstance(v := row.get(name, ""), float) else str(v) for name in names])
        return table

    def __str__(self) -> str:
        table = self._table()
        widths = [max(map(len, column)) for column in zip(*table)]
        return "\n".join("  ".join(map(str.rjust, line, widths)) for line in table)


def lexicon_induction(
    vectors: WordVectors,
    dictionary: Dictionary,
    *,
    pairs: Iterable[tuple[str, str]] | None = None,
    max_words: int | None = 50_000,
    neighborhood: int = 10,
    device: torch.device | str | None = None,
) -> Evaluation:
    """Bilingual lexicon induction: are a word's nearest words in another language its translations?

    Each source word that has a vector and a translation with a vector is a query; all words of the target language
    are candidates. A source word with several translations counts as found if any of them is. Dictionary words are
    found among the vectors' words as they stand, else without regard to case.

    Args:
        vectors: the vectors to judge.
        dictionary: entries that were not used to make the vectors (see `Dictionary.split`).
        pairs: (source, target) languages; by default those of first and second words of entries, as far as the vectors
            know both words of any.
        max_words: only the first words of each language, the most frequent ones, compete and are judged; None for all.
        neighborhood: over how many neighbours CSLS takes its means (Conneau et al., 2018, section 2.3).
        device: where similarities are computed; a GPU if there is one by default.

    Raises:
        ValueError: no entry, or none of a given pair, both of whose words the vectors know; or vectors with NaN or
            infinite values.
    """
    rows_of = find_rows(vectors, dictionary.words, dictionary.languages)
    given = pairs is not None
    pairs = list(pairs) if given else _known_pairs(vectors, dictionary)
    words_of = {code: vectors.select(code, max_words) for code in sorted({code for pair in pairs for code in pair})}
    for rows in words_of.values():
        vectors.check_finite(rows)
    scores = []
    for source, target in logging.tqdm(pairs, desc="Lexicon induction", unit="pair", delay=2, leave=False):
        entries = dictionary.between(source, target)
        sources, targets = words_of[source], words_of[target]
        queries, query_of, gold = _gold(rows_of[entries], sources, targets)
        if len(queries):
            at = queries, query_of, gold
            shares = precision(
                vectors.vectors[sources], vectors.vectors[targets], *at, neighborhood=neighborhood, device=device
            )
            num_entries = len(np.unique(entries[:, 0]))
            scores.append(LexiconScore(source, target, num_entries, len(queries), len(targets), *shares))
        elif given:
            raise ValueError(
                f"No entry of {source} and {target} has both words among the vectors; pass a dictionary of their "
                "words, or leave the pair out."
            )
        else:
            logger.info("No entry of %s and %s has both words among the vectors.", source, target)
    if not scores:
        raise ValueError(
            f"The vectors ({', '.join(list(vectors.language_counts())[:20])}) know both words of no entry of the "
            f"dictionary ({', '.join(list(dictionary.language_counts())[:20])})."
        )
    return Evaluation(scores)


def _known_pairs(vectors: WordVectors, dictionary: Dictionary) -> list[tuple[str, str]]:
    """The pairs of different languages that first and second words of entries have and the vectors know."""
    names, of_word = np.unique(dictionary.languages, return_inverse=True)
    known = np.isin(names, vectors.languages)
    pairs = np.unique(of_word[dictionary.entries], axis=0)
    pairs = pairs[known[pairs].all(axis=1) & (pairs[:, 0] != pairs[:, 1])]
    return [(str(names[source]), str(names[target])) for source, target in pairs]


def _gold(pairs: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions in `sources` to query; and of the gold pairs, which of these and which position in `targets`."""
    at_source, at_target = np.searchsorted(sources, pairs[:, 0]), np.searchsorted(targets, pairs[:, 1])
    at_source, at_target = np.minimum(at_source, len(sources) - 1), np.minimum(at_target, len(targets) - 1)
    known = (sources[at_source] == pairs[:, 0]) & (targets[at_target] == pairs[:, 1])
    queries, query_of = np.unique(at_source[known], return_inverse=True)
    return queries, query_of, at_target[known]


def precision(
    sources: np.ndarray,
    targets: np.ndarray,
    queries: np.ndarray,
    query_of: np.ndarray,
    gold: np.ndarray,
    *,
    neighborhood: int = 10,
    device: torch.device | str | None = None,
) -> tuple[float, float, float, float]:
    """Share of queries with a gold translation in the top 1 and 5 by cosine, and in the top 1 and 5 by CSLS.

    Args:
        sources, targets: (n, d) and (m, d), the vectors of the words of both languages.
        queries: (q,) rows of `sources` to judge.
        query_of, gold: (g,) each a gold pair: a position in `queries`, and a row of `targets`.
    """
    count = min(5, len(targets))
    gold_keys = query_of * len(targets) + gold
    shares = []
    for found in (
        nearest_neighbors(sources[queries], targets, count, device=device)[0],
        csls_neighbors(sources[queries], targets, count, sources, neighborhood=neighborhood, device=device),
    ):
        hits = np.isin(np.arange(len(queries))[:, None] * len(targets) + found, gold_keys)
        shares += [float(hits[:, 0].mean()), float(hits.any(axis=1).mean())]
    return tuple(shares)


def segment_retrieval(
    vectors: WordVectors,
    texts: Mapping[str, Any] | Iterable[str | os.PathLike],
    *,
    pivot: str = "eng",
    segments: str | os.PathLike | Iterable[str] | None = None,
    weighting: str = "idf",
    lowercase: bool = True,
    segmentation: str = "auto",
    tokenize: Callable[[str], list[str]] | None = None,
) -> Evaluation:
    """Retrieval of translations by the mean of a segment's word vectors, between `pivot` and every other language.

    Args:
        vectors: the vectors to judge.
        texts, lowercase, segmentation, tokenize: as in `WordVectors.from_parallel`; text that the vectors were not made
            from.
        pivot: the language that the others are matched with.
        segments: ids to judge by, or a file of them, one a line up to the first tab; by default all that a language
            shares with the pivot.
        weighting: "idf", a word counts log(segments / segments with the word); or "mean", all count the same.

    Raises:
        ValueError: the pivot or its vectors are missing, a language shares fewer than 5 segments with it, or a vector that
            is used has NaN or infinite values.
    """
    if weighting not in ("idf", "mean"):
        raise ValueError(f"weighting is {weighting!r}, but must be 'idf' or 'mean'.")
    sources = texts_by_language(texts)
    pivot = to_iso639_3(pivot)
    if pivot not in sources or len(sources) < 2:
        raise ValueError(f"texts must have {pivot!r}, the pivot, and another language, but has {', '.join(sources)}.")
    vectors.select(sources)  # names what is missing
    wanted = None if segments is None else read_ids(segments)
    tokenize = tokenize or WordSplitter(segmentation)
    ids: dict[str, int] = {}
    counts: dict[str, tuple[scipy.sparse.csr_array, np.ndarray]] = {}
    for language in logging.tqdm(sources, desc="Reading segments", unit="language", delay=2, leave=False):
        pairs = itertools.chain.from_iterable(map(read_segments, sources[language]))
        pairs = (pair for pair in pairs if wanted is None or pair[0] in wanted)
        named = named_text(language, sources[language])
        found, words = count_words(language, [pairs], ids, tokenize, lowercase=lowercase, named=named)
        rows = find_rows(vectors, words, np.full(len(words), language))
        vectors.check_finite(rows[rows >= 0])
        counts[language] = found, rows
    scores = []
    for language in sorted(counts.keys() - {pivot}):
        shared = np.intersect1d(*(np.unique(counts[code][0].indices) for code in (pivot, language)))
        if len(shared) < 5:
            raise ValueError(
                f"{language} shares {len(shared)} segments with {pivot}, which is too little to search in; give "
                f"translations in {named_text(language, sources[language])} the ids of the pivot, or leave the language out."
            )
        (pivot_means, _), (means, known) = (
            _segment_means(vectors.vectors, *counts[code], shared, weighting) for code in (pivot, language)
        )
        shares = [(ranks < k).double().mean().item() for ranks in retrieval_ranks(pivot_means, means) for k in (1, 5)]
        scores.append(RetrievalScore(language, len(shared), known, *shares))
    return Evaluation(scores)


def _segment_means(
    vectors: np.ndarray, counts: scipy.sparse.csr_array, rows: np.ndarray, segments: np.ndarray, weighting: str
) -> tuple[torch.Tensor, float]:
    """(n, d) the directions of the weighted means of `segments`, zero where no word has a vector; and known words."""
    counts = counts[:, segments]
    has_vector = rows >= 0
    known = counts[has_vector]
    share = float(known.sum() / counts.sum())
    if weighting == "idf":
        documents = np.diff(known.indptr)
        known = scipy.sparse.diags_array(np.log(len(segments) / np.maximum(documents, 1))) @ known
    return torch.from_numpy(np.asarray(known.T @ vectors[rows[has_vector]])), share
