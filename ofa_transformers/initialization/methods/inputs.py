"""What a method fills M from, and how its entries become a `TokenMapping`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse
import torch
from transformers import PreTrainedTokenizerBase

from ...tokenization.vocabulary import Vocabulary
from ...vectors import WordVectors
from ..mapping import TokenKind, TokenMapping
from ..mapping.build import recorded, select_words
from ..mapping.matches import Matches, MatchKind, match_tokens
from ..mapping.subword_vectors import SubwordVectors, subword_vectors
from ..settings import WORD_WEIGHTINGS, InitializationSettings


# The arguments that a method may need -> what they are.
NEEDS = {
    "word_vectors": "aligned multilingual word vectors",
    "target_text": "lines of the languages to adapt to",
    "parallel_text": "pairs of a line in a language of the source and its translation",
    "donor": "another model, with its tokenizer",
}


@dataclass(frozen=True, eq=False)
class Donor:
    """Another model's tokenizer and input embeddings (V_d, D_d) float32."""

    tokenizer: PreTrainedTokenizerBase
    embeddings: torch.Tensor


@dataclass(frozen=True, eq=False)
class MethodInputs:
    """What methods fill M from; what they don't need may be None.

    Attributes:
        source_tokenizer, target_tokenizer: fast tokenizers.
        num_source_rows: rows of the source's embeddings.
        settings: of the initialisation, of which a method may use what it likes.
        embeddings: (V_s, D), the source's input embeddings.
        word_vectors: aligned ones; without a word where there are none.
        target_text: lines of the languages to adapt to.
        parallel_text: pairs (line in a language of the source, its translation).
        donor: another model.
        device: where to compute; a GPU if there is one by default.
    """

    source_tokenizer: PreTrainedTokenizerBase
    target_tokenizer: PreTrainedTokenizerBase
    num_source_rows: int
    settings: InitializationSettings = field(default_factory=InitializationSettings)
    embeddings: torch.Tensor | None = None
    word_vectors: WordVectors = field(default_factory=WordVectors.none)
    target_text: Sequence[str] | None = None
    parallel_text: Sequence[tuple[str, str]] | None = None
    donor: Donor | None = None
    device: torch.device | str | None = None

    def __post_init__(self) -> None:
        if self.settings.word_weighting is None or self.settings.overlap is None:  # rules that are still open
            settled = self.settings.with_rules(self.settings.choose_rules(self.word_vectors))
            object.__setattr__(self, "settings", settled)

    @cached_property
    def source(self) -> Vocabulary:
        return Vocabulary.from_tokenizer(self.source_tokenizer, "source_tokenizer")

    @cached_property
    def target(self) -> Vocabulary:
        return Vocabulary.from_tokenizer(self.target_tokenizer, "target_tokenizer")

    @cached_property
    def matches(self) -> Matches:
        """The source token that each target token is the same as."""
        return match_tokens(
            self.source,
            self.target,
            fuzzy_match=self.settings.fuzzy_match,
            num_source_rows=self.num_source_rows,
            relatives=self.settings.new_languages,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(V_t, V_s)"""
        return len(self.target), self.num_source_rows

    @cached_property
    def source_rows(self) -> np.ndarray:
        """(V_s,) bool: rows that belong to a source token."""
        rows = np.zeros(self.num_source_rows, dtype=bool)
        rows[: len(self.source)] = self.source.exists[: self.num_source_rows]
        return rows

    @cached_property
    def source_words(self) -> SubwordVectors:
        """U_s, the vectors of the source's subwords; needs word_vectors."""
        return self.subwords("source")

    @cached_property
    def target_words(self) -> SubwordVectors:
        """U_t, the vectors of the target's subwords; needs word_vectors."""
        return self.subwords("target")

    def subwords(self, side: str, word_weights: np.ndarray | None = None, capitalised: bool = True) -> SubwordVectors:
        """The vectors of one side's subwords.

        Args:
            side: "source" or "target".
            word_weights: (N,) of the words in the means; by default those of `word_weighting`.
            capitalised: whether words count capitalised, too.
        """
        vocabulary, languages = getattr(self, side), getattr(self.settings, f"{side}_languages")
        words = select_words(self.word_vectors, languages, self.settings.max_words, f"{side}_languages", False)
        if word_weights is None:
            weight = WORD_WEIGHTINGS[self.settings.word_weighting]
            word_weights = None if weight is None else weight(self.word_vectors.frequencies)
        return subword_vectors(
            vocabulary,
            self.word_vectors,
            words,
            word_weights=word_weights,
            capitalised=capitalised,
            description=f"Tokenizing words ({side})",
        )

    def mapping(
        self,
        composed: scipy.sparse.csr_array,
        *,
        copied: np.ndarray | None = None,
        cosines: np.ndarray | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> TokenMapping:
        """A `TokenMapping` of copied, special and composed rows; all others fall back.

        Args:
            composed: (V_t, V_s) CSR float32, the weights of composed rows; those of rows that are copied don't count.
            copied: (V_t,) bool, the matched tokens that take their source row; all by default. Special tokens that
                have a source token of their role always do.
            cosines: float32, for each entry of `composed.data`; NaN by default.
            settings: what shaped the mapping, for the report.
        """
        matches, shape = self.matches, self.shape
        kinds = matches.kinds.copy()
        special = kinds == MatchKind.ROLE
        taken = (matches.source_ids >= 0) & (special | (True if copied is None else copied))
        kinds[~taken] = MatchKind.NONE
        rows = np.flatnonzero(taken)
        entries = scipy.sparse.coo_array(composed)
        values = np.full(entries.nnz, np.nan, np.float32) if cosines is None else cosines
        kept = ~taken[entries.row]
        row = np.concatenate([rows, entries.row[kept]])
        column = np.concatenate([matches.source_ids[rows], entries.col[kept]])
        data = np.concatenate([np.ones(len(rows)), entries.data[kept]]).astype(np.float32)
        similarity = np.concatenate([np.full(len(rows), np.nan), values[kept]]).astype(np.float32)
        order = np.lexsort((column, row))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=shape[0]))])
        weights = scipy.sparse.csr_array(
            (data[order], column[order].astype(np.int32), indptr.astype(np.int32)), shape=shape
        )
        result = np.full(shape[0], TokenKind.FALLBACK, dtype=np.uint8)
        result[np.diff(indptr) > 0] = TokenKind.COMPOSED
        result[rows] = TokenKind.COPIED
        result[taken & special] = TokenKind.SPECIAL
        return TokenMapping(
            weights=weights,
            kinds=result,
            cosines=similarity[order],
            match_kinds=kinds,
            source_rows=self.source_rows,
            settings={
                **recorded(self.settings),
                "method": self.settings.method,
                **(settings or {}),
            },
            source=self.source,
            target=self.target,
            word_vectors=self.word_vectors,
            incidence=self.target_words.incidence,
        )


def rows_of_entries(
    rows: np.ndarray, columns: np.ndarray, data: np.ndarray, shape: tuple[int, int]
) -> scipy.sparse.csr_array:
    """CSR float32 (V_t, V_s) of entries that may repeat; repeated ones are added up."""
    matrix = scipy.sparse.coo_array((data.astype(np.float32), (rows, columns)), shape=shape).tocsr()
    matrix.sum_duplicates()
    return matrix
