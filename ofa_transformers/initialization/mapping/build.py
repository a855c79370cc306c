"""How a `TokenMapping` is built from two tokenizers and word vectors (OFA, section 3.3)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import scipy.sparse
import torch
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from ...tokenization.vocabulary import Vocabulary
from ...utils.search import nearest_neighbors
from ...vectors import WordVectors
from ..settings import WORD_WEIGHTINGS, InitializationSettings
from .authors import match_tokens_as_published
from .matches import Matches, MatchKind, match_tokens
from .overlap import reject_unused, word_mass
from .subword_vectors import subword_vectors
from .token_mapping import TokenKind, TokenMapping


logger = logging.get_logger(__name__)

# Settings that shape a mapping, and are kept with it.
_RECORDED = (
    "method",
    "num_neighbors",
    "temperature",
    "fuzzy_match",
    "max_words",
    "source_languages",
    "target_languages",
    "word_weighting",
    "overlap",
    "authors_compatible",
)


def recorded(settings: InitializationSettings) -> dict[str, Any]:
    """Those of the settings that are kept with a mapping."""
    return {name: value for name, value in settings.to_dict().items() if name in _RECORDED}


def build_mapping(
    source_tokenizer: PreTrainedTokenizerBase,
    target_tokenizer: PreTrainedTokenizerBase,
    word_vectors: WordVectors,
    *,
    num_source_rows: int | None = None,
    source_languages: Iterable[str] | None = None,
    target_languages: Iterable[str] | None = None,
    num_neighbors: int = 10,
    temperature: float = 0.1,
    fuzzy_match: bool = True,
    max_words: int | None = None,
    word_weighting: str | None = None,
    overlap: str | None = None,
    authors_compatible: bool = False,
    device: torch.device | str | None = None,
) -> TokenMapping:
    """Builds the mapping of OFA (Liu et al., 2024, section 3.3).

    A target token that the source has, too, takes its row. Any other that is part of some word takes the mean of the
    rows of its `num_neighbors` nearest source tokens, by cosine of subword vectors, weighted with
    softmax(cosine / temperature). The rest fall back.

    Args:
        source_tokenizer, target_tokenizer: fast tokenizers.
        word_vectors: aligned word vectors of the languages of both.
        num_source_rows: rows of the source's embeddings, if not as many as its tokenizer has tokens.
        source_languages, target_languages: the languages whose words count for each tokenizer; all if None.
        num_neighbors: k; all source tokens with a vector, if there are fewer.
        temperature: of the softmax; lower gives more weight to the nearest.
        fuzzy_match: match tokens also without regard to case, and to spacing where it says nothing about words.
        max_words: use the first so many words (of each language selection; word vector files are sorted by frequency).
        word_weighting: of the words in a subword's mean: "uniform", as in the paper, or "sqrt_frequency". By default
            the second where the word vectors have frequencies.
        overlap: which tokens of both vocabularies are copied: "all", as in the paper, or those "used_by_source":
            whose use in the source languages' words is at least a tenth of that in any one other language's. The
            rest are false friends, and composed. By default the second where words are weighted by frequency and
            source_languages names one language.
        authors_compatible: do as the published code does, accidents included (unk and uncovered tokens may be
            neighbours, words count once for each of their forms, special tokens match by spelling, ...).
        device: where the neighbours are found; a GPU if there is one by default.

    Raises:
        ValueError: num_neighbors < 1, temperature <= 0, a language that no word has, a tokenizer that isn't fast, a
            weighting or filter that needs frequencies or source languages where there are none.
    """
    settings = InitializationSettings(
        source_languages=source_languages,
        target_languages=target_languages,
        num_neighbors=num_neighbors,
        temperature=temperature,
        fuzzy_match=fuzzy_match,
        max_words=max_words,
        word_weighting=word_weighting,
        overlap=overlap,
        authors_compatible=authors_compatible,
    )
    if num_source_rows is not None and num_source_rows < 1:
        raise ValueError(f"num_source_rows is {num_source_rows}, but must be at least 1; None takes the tokenizer's.")
    settings = settings.with_rules(settings.choose_rules(word_vectors))
    return map_tokens(source_tokenizer, target_tokenizer, word_vectors, settings, num_source_rows, device)


def map_tokens(
    source_tokenizer: PreTrainedTokenizerBase,
    target_tokenizer: PreTrainedTokenizerBase,
    word_vectors: WordVectors,
    settings: InitializationSettings,
    num_source_rows: int | None = None,
    device: torch.device | str | None = None,
) -> TokenMapping:
    """`build_mapping` with settings whose rules are chosen."""
    published = settings.authors_compatible
    source_words = select_words(
        word_vectors, settings.source_languages, settings.max_words, "source_languages", published
    )
    target_words = select_words(
        word_vectors, settings.target_languages, settings.max_words, "target_languages", published
    )
    source = Vocabulary.from_tokenizer(source_tokenizer, "source_tokenizer")
    target = Vocabulary.from_tokenizer(target_tokenizer, "target_tokenizer")
    num_rows = len(source) if num_source_rows is None else num_source_rows
    if num_rows < len(source):
        logger.warning(
            "The source has %d rows for %d tokens; tokens without a row are not used.", num_rows, len(source)
        )

    if published:
        matches = match_tokens_as_published(source, target, fuzzy_match=settings.fuzzy_match)
        beyond = matches.source_ids >= num_rows
        matches.source_ids[beyond], matches.kinds[beyond] = -1, MatchKind.NONE
    else:
        matches = match_tokens(
            source,
            target,
            fuzzy_match=settings.fuzzy_match,
            num_source_rows=num_rows,
            relatives=settings.new_languages,
        )

    weight = WORD_WEIGHTINGS[settings.word_weighting]
    options = {
        "word_weights": None if weight is None else weight(word_vectors.frequencies),
        "authors_compatible": published,
    }
    source_subwords = subword_vectors(
        source,
        word_vectors,
        source_words,
        keep_incidence=settings.overlap != "all",
        description="Tokenizing words (source)",
        **options,
    )
    source_vectors = source_subwords.vectors[:num_rows]
    target_subwords = subword_vectors(
        target, word_vectors, target_words, description="Tokenizing words (target)", **options
    )
    rejections = {}
    if settings.overlap == "used_by_source":
        source_mass, languages = word_mass(source, word_vectors, source_subwords.incidence)
        target_mass, _ = word_mass(target, word_vectors, target_subwords.incidence)
        rejections = reject_unused(matches, source_mass, target_mass, languages, settings.source_languages)

    composed = np.flatnonzero((matches.source_ids < 0) & target_subwords.covered)
    neighbors, cosines = _find_neighbors(
        target_subwords.vectors, composed, source_vectors, settings.num_neighbors, device, uncovered=published
    )
    kinds = np.full(len(target), TokenKind.FALLBACK, dtype=np.uint8)
    kinds[matches.source_ids >= 0] = TokenKind.COPIED
    kinds[matches.kinds == MatchKind.ROLE] = TokenKind.SPECIAL
    if neighbors.size:
        kinds[composed] = TokenKind.COMPOSED
    source_rows = np.zeros(num_rows, dtype=bool)
    source_rows[: len(source)] = source.exists[:num_rows]
    weights, cosines = _weight_matrix(
        matches, composed, neighbors, cosines, settings.temperature, (len(target), num_rows)
    )
    return TokenMapping(
        weights=weights,
        kinds=kinds,
        cosines=cosines,
        match_kinds=matches.kinds,
        source_rows=source_rows,
        settings={
            **recorded(settings),
            "num_neighbors": neighbors.shape[1] or settings.num_neighbors,
        },
        source=source,
        target=target,
        word_vectors=word_vectors,
        incidence=target_subwords.incidence,
        rejections=rejections,
    )


def _find_neighbors(
    target_vectors: np.ndarray,
    composed: np.ndarray,
    source_vectors: np.ndarray,
    num_neighbors: int,
    device: torch.device | str | None,
    uncovered: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Source ids (n, k) and cosines (n, k) of the neighbours of the target ids `composed`; k is 0 if there are none.

    `uncovered` admits source tokens without a vector, whose cosine is 0, as the published code does.
    """
    covered = np.flatnonzero(source_vectors.any(axis=1))
    candidates = np.arange(len(source_vectors)) if uncovered else covered
    if not len(covered):
        logger.warning("No source token is part of any word of the word vectors, so no token can be composed.")
        return np.empty((len(composed), 0), dtype=np.int64), np.empty((len(composed), 0))
    if num_neighbors > len(candidates):
        logger.warning(
            "num_neighbors is %d, but only %d source tokens have a vector; using all of them.",
            num_neighbors,
            len(candidates),
        )
        num_neighbors = len(candidates)
    if not len(composed):
        return np.empty((0, num_neighbors), dtype=np.int64), np.empty((0, num_neighbors))
    found, cosines = nearest_neighbors(
        target_vectors[composed], source_vectors[candidates], num_neighbors, device=device
    )
    return candidates[found], cosines


def _weight_matrix(
    matches: Matches,
    composed: np.ndarray,
    neighbors: np.ndarray,
    cosines: np.ndarray,
    temperature: float,
    shape: tuple[int, int],
) -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """The weights of matched and composed rows, and the cosines of their entries (NaN on matches)."""
    matched = np.flatnonzero(matches.source_ids >= 0)
    weights = softmax_weights(cosines, temperature) if cosines.size else cosines
    rows = np.concatenate([matched, np.repeat(composed, neighbors.shape[1])])
    columns = np.concatenate([matches.source_ids[matched], neighbors.ravel()])
    data = np.concatenate([np.ones(len(matched)), weights.ravel()]).astype(np.float32)
    similarity = np.concatenate([np.full(len(matched), np.nan), cosines.ravel()]).astype(np.float32)
    order = np.lexsort((columns, rows))  # by row, and within it by source id, as CSR has it
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    matrix = scipy.sparse.csr_array(
        (data[order], columns[order].astype(np.int32), indptr.astype(np.int32)), shape=shape
    )
    return matrix, similarity[order]


def softmax_weights(cosines: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(cosines / temperature) over the last axis, float64, rows that sum to 1."""
    scaled = cosines / temperature
    weights = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def select_words(
    word_vectors: WordVectors,
    languages: Sequence[str] | None,
    max_words: int | None,
    argument: str,
    authors_compatible: bool,
) -> np.ndarray:
    """The indices of the words that count; errors name `argument`."""
    try:
        if authors_compatible:  # the published code takes the first words of the file, and of these the languages
            first = word_vectors.select(None, max_words)
            return np.intersect1d(first, word_vectors.select(languages), assume_unique=True)
        return word_vectors.select(languages, max_words)
    except ValueError as error:
        raise ValueError(f"{argument}: {error}" if languages is not None else str(error)) from error
