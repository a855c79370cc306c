"""`TokenMapping`: target rows as a sparse combination of source rows (OFA, section 3.3)."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from ...tokenization.vocabulary import Vocabulary
from ...utils.files import new_file
from ...utils.reading import reading
from ...utils.strict_json import dumps
from ...vectors import WordVectors
from ..settings import check_fallback, check_language_offset
from .fallback import fallback_rows
from .language_offset import add_language_offset, dominant_languages
from .matches import MatchKind
from .overlap import Rejection


_FORMAT = "ofa_transformers.token_mapping"

# Rows made at once: small enough that the memory of a block is used again for the next.
_BLOCK_ROWS = 2_048


class TokenKind(IntEnum):
    """Where the row of a target token comes from."""

    COPIED = 0  # the row of the source token that is the same
    COMPOSED = 1  # the weighted mean of the rows of its nearest source tokens
    FALLBACK = 2  # neither; see `TokenMapping.apply`
    SPECIAL = 3  # the row of the source's special token of the same role


@dataclass(frozen=True)
class TokenExplanation:
    """What is known about one target token.

    Attributes:
        token, id, kind: the token.
        match: the source token that is the same, or None.
        match_kind: how it was matched: "exact", "case", "spacing", "role", or None; "rejected" where the source has the
            token, but its languages hardly use it.
        words: (language, word) of words whose tokenization contains the token, most frequent first where known.
        num_words: how many such words there are in all.
        neighbors: for a composed token (source token, source id, weight, cosine), nearest first.
        language: the language whose words use the token most, or "".
        reason: why its row is made as it is, in a sentence.
    """

    token: str
    id: int
    kind: TokenKind
    match: str | None
    match_kind: str | None
    words: list[tuple[str, str]]
    num_words: int
    neighbors: list[tuple[str, int, float, float]]
    language: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {**asdict(self), "kind": self.kind.name.lower()}


@dataclass(eq=False)
class TokenMapping:
    """Every row of the target's embeddings as a combination of rows of the source's.

    Attributes:
        weights: (V_t, V_s) CSR float32. The rows of copied, special and composed tokens sum to 1; those of the
            others are empty.
        kinds: (V_t,) uint8, `TokenKind`.
        cosines: float32, for each entry of `weights.data` the cosine of the two subwords; NaN on matches.
        match_kinds: (V_t,) uint8, `MatchKind`.
        source_rows: (V_s,) bool, rows that belong to a source token; the others are padding.
        settings: the arguments of `build_mapping` that shaped it.
        source, target, word_vectors, incidence, rejections: what `explain` looks up; not in a mapping that was loaded.
    """

    weights: scipy.sparse.csr_array
    kinds: np.ndarray
    cosines: np.ndarray
    match_kinds: np.ndarray
    source_rows: np.ndarray
    settings: dict[str, Any] = field(default_factory=dict)
    source: Vocabulary | None = None
    target: Vocabulary | None = None
    word_vectors: WordVectors | None = None
    incidence: scipy.sparse.csr_array | None = None
    rejections: dict[int, Rejection] = field(default_factory=dict)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {kind.name.lower()}" for kind, count in self.counts().items())
        return f"TokenMapping({self.shape[0]:,} target tokens x {self.shape[1]:,} source rows: {counts})"

    @property
    def shape(self) -> tuple[int, int]:
        return self.weights.shape

    @property
    def new(self) -> np.ndarray:
        """(V_t,) bool: tokens whose rows are no copies of the source's."""
        return np.isin(self.kinds, (TokenKind.COMPOSED, TokenKind.FALLBACK))

    def counts(self) -> dict[TokenKind, int]:
        """Target tokens of each kind."""
        numbers = np.bincount(self.kinds, minlength=len(TokenKind))
        return {kind: int(numbers[kind]) for kind in TokenKind}

    def count_matches(self) -> dict[str, int]:
        """Target tokens by how they were matched to a source token; see `TokenExplanation.match_kind`."""
        numbers = np.bincount(self.match_kinds, minlength=len(MatchKind))
        return {kind.name.lower(): int(numbers[kind]) for kind in MatchKind if kind is not MatchKind.NONE}

    @cached_property
    def nearest_source(self) -> np.ndarray:
        """(V_t,) int64: the source id that each row has most of; for fallbacks any, the same for the same target id."""
        used = np.flatnonzero(self.source_rows)
        nearest = used[np.arange(self.shape[0]) % len(used)]
        filled = np.flatnonzero(np.diff(self.weights.indptr))
        if len(filled):
            largest = np.maximum.reduceat(self.weights.data, self.weights.indptr[filled])
            rows = np.repeat(np.arange(len(filled)), np.diff(self.weights.indptr)[filled])
            first = np.flatnonzero(self.weights.data == largest[rows])[::-1]
            nearest[filled[rows[first]]] = self.weights.indices[first]  # of equals the first, which is written last
        return nearest

    @cached_property
    def languages(self) -> np.ndarray:
        """(V_t,) str: the language whose words use each token most (ISO 639-3), "" for tokens of no word.

        Raises:
            ValueError: the mapping was loaded from a file, which holds no words.
        """
        if self._made_without_words:
            return np.full(self.shape[0], "")
        target, word_vectors, incidence = self._words()
        return dominant_languages(target, word_vectors, incidence)

    @cached_property
    def usage(self) -> np.ndarray:
        """(V_t,) float64: how often words with each token occur; how many there are, where words count alike.

        Raises:
            ValueError: as `languages`.
        """
        if self._made_without_words:
            return np.ones(self.shape[0])
        _, word_vectors, incidence = self._words()
        alike = word_vectors.frequencies is None or self.settings.get("word_weighting") == "uniform"
        counts = np.ones(incidence.shape[1]) if alike else word_vectors.frequencies.astype(np.float64)
        return (incidence != 0) @ counts

    @property
    def _made_without_words(self) -> bool:
        """Whether it was built by a method that had no word vectors."""
        return self.word_vectors is not None and not len(self.word_vectors)

    def _words(self) -> tuple[Vocabulary, WordVectors, scipy.sparse.csr_array]:
        if self.target is None or self.word_vectors is None or self.incidence is None:
            raise ValueError(
                "This mapping was loaded from a file and has no words; build it to know the languages of its tokens."
            )
        return self.target, self.word_vectors, self.incidence

    def combine(self, source_rows: np.ndarray, start: int = 0, stop: int | None = None) -> np.ndarray:
        """(n, D'): of the target ids from `start` to `stop`, the combinations of source rows (V_s, D'); 0 for fallbacks."""
        stop = self.shape[0] if stop is None else min(stop, self.shape[0])
        result = np.empty((stop - start, source_rows.shape[1]), source_rows.dtype)

        def fill(first: int) -> None:
            last = min(first + _BLOCK_ROWS, len(result))
            result[first:last] = self.weights[start + first : start + last] @ source_rows

        # scipy multiplies without the GIL, and each row is one thread's.
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(fill, range(0, len(result), _BLOCK_ROWS)))
        return result

    def apply(
        self,
        source_rows: torch.Tensor | np.ndarray,
        fallback: str = "normal",
        seed: int = 114514,
        *,
        language_offset: float = 0.0,
        primitives: torch.Tensor | np.ndarray | None = None,
        source_norm: float | None = None,
        stream: int = 0,
    ) -> torch.Tensor | np.ndarray:
        """The target's rows, made from the source's: input or output embeddings, coordinates, or a head's bias.

        Args:
            source_rows: (V_s, D') or (V_s,), any floating dtype, tensor or array.
            fallback: rows of tokens that the mapping cannot make. "normal": drawn with the mean and standard
                deviation that each column has over the source's tokens (the paper's choice);
                "multivariate_normal": with that mean and 1e-9 of the covariance, as Transformers resizes; "mean": that
                mean; "zeros".
            seed: of the draws, which depend on nothing else than the token's id and D', and of the offsets.
            language_offset: g. Each composed row gets a vector of g times the mean norm of the source's rows, whose
                direction is random and the same for all tokens of a language (the one that uses the token most; a
                language of the source gets none). Without it the rows of translations are nearly equal, so that a
                masked LM cannot tell in which language to answer. Not part of the paper, and not for a bias.
            primitives: (D', D), where `source_rows` are coordinates: the offset then has that norm after them.
            source_norm: the mean norm that the offset is a share of; by default that of `source_rows`, after the
                primitives. Coordinates have lost a part of that of the embeddings that they stand for.
            stream: of the draws of fallback rows; those of several matrices of a model are independent.

        Returns:
            (V_t, D') or (V_t,), of the type, dtype and device of `source_rows`.

        Raises:
            ValueError: a number of rows that isn't V_s, an unknown fallback, a negative offset or one for a bias.
        """
        check_fallback(fallback)
        check_language_offset(language_offset)
        if language_offset and source_rows.ndim == 1:
            raise ValueError(f"language_offset is {language_offset}, but a bias takes none; pass 0.")
        if isinstance(source_rows, torch.Tensor):
            tensor = source_rows.detach().cpu()
            exact = tensor.dtype if tensor.dtype in (torch.float32, torch.float64) else torch.float32
            if isinstance(primitives, torch.Tensor):
                primitives = primitives.detach().cpu().float().numpy()
            rows = self.apply(
                tensor.to(exact).numpy(),
                fallback,
                seed,
                language_offset=language_offset,
                primitives=primitives,
                source_norm=source_norm,
                stream=stream,
            )
            return torch.from_numpy(rows).to(device=source_rows.device, dtype=source_rows.dtype)
        if source_rows.ndim not in (1, 2) or len(source_rows) != self.shape[1]:
            raise ValueError(
                f"source_rows has the shape {tuple(source_rows.shape)}, but this mapping was built for "
                f"{self.shape[1]} source rows; pass (V_s, D') or (V_s,), and build_mapping(num_source_rows=...) with "
                "the model's number of rows."
            )
        columns = source_rows.reshape(len(source_rows), -1)
        work = columns if columns.dtype in (np.float32, np.float64) else columns.astype(np.float32)
        result = self.combine(work)
        missing = np.flatnonzero(self.kinds == TokenKind.FALLBACK)
        published = bool(self.settings.get("authors_compatible", False))
        fallback_rows(result, missing, work, self.source_rows, fallback, seed, published, stream)
        if language_offset:
            theirs = self.settings.get("source_languages") or []
            receives = (self.kinds == TokenKind.COMPOSED) & ~np.isin(self.languages, theirs)
            languages = np.where(receives, self.languages, "")
            add_language_offset(
                result, languages, work, self.source_rows, language_offset, seed, primitives, source_norm
            )
        return result.reshape(self.shape[0], *source_rows.shape[1:]).astype(source_rows.dtype, copy=False)

    def explain(self, token: str | int, max_words: int = 20) -> TokenExplanation:
        """The words and source tokens behind a target token, given as spelled by the tokenizer or by its id.

        Raises:
            ValueError: the mapping was loaded from a file, which holds no words.
            KeyError: no such token.
        """
        if self.target is None or self.source is None:
            raise ValueError(
                "This mapping was loaded from a file and has no tokens and words; build it to explain it."
            )
        index = self.target.ids.get(token, -1) if isinstance(token, str) else int(token)
        if not 0 <= index < self.shape[0] or self.target.tokens[index] is None:
            raise KeyError(f"The target tokenizer has no token {token!r}.")
        kind = TokenKind(self.kinds[index])
        entries = slice(self.weights.indptr[index], self.weights.indptr[index + 1])
        ids, weights, cosines = self.weights.indices[entries], self.weights.data[entries], self.cosines[entries]
        match, neighbors = None, []
        if kind in (TokenKind.COPIED, TokenKind.SPECIAL):
            match = self.source.tokens[ids[0]]
        else:
            order = np.lexsort((ids, -cosines))
            neighbors = [
                (self.source.tokens[ids[i]], int(ids[i]), float(weights[i]), float(cosines[i])) for i in order
            ]
        matched = MatchKind(self.match_kinds[index])
        words, num_words = self._words_of(index, max_words)
        return TokenExplanation(
            token=self.target.tokens[index],
            id=index,
            kind=kind,
            match=match,
            match_kind=None if matched is MatchKind.NONE else matched.name.lower(),
            words=words,
            num_words=num_words,
            neighbors=neighbors,
            language=str(self.languages[index]),
            reason=self._reason(index, kind, matched, num_words),
        )

    def _reason(self, index: int, kind: TokenKind, matched: MatchKind, num_words: int) -> str:
        if kind == TokenKind.SPECIAL:
            return "A special token with the same role or spelling in the source."
        if kind == TokenKind.COPIED:
            but = {MatchKind.CASE: ", but for case", MatchKind.SPACING: ", but for a leading space"}
            return f"The source has the same token{but.get(matched, '')}."
        if kind == TokenKind.FALLBACK:
            if self._made_without_words:
                return f"The source has no such token, and the method {self.settings.get('method')!r} doesn't make it."
            return "The source has no such token, and it is part of no word of the word vectors."
        if self._made_without_words:
            return f"The source has no such token; made by the method {self.settings.get('method')!r}."
        rejection = self.rejections.get(index)
        if rejection is None:
            return f"The source has no such token; it is part of {num_words:,} words."
        return (
            f"The source has {self.source.tokens[rejection.source_id]!r}, but its languages use it "
            f"{rejection.share:.3f} times as much as {rejection.language} does, which makes it a false friend."
        )

    def _words_of(self, index: int, max_words: int) -> tuple[list[tuple[str, str]], int]:
        if self.incidence is None or self.word_vectors is None:
            return [], 0
        indices = self.incidence.indices[self.incidence.indptr[index] : self.incidence.indptr[index + 1]]
        indices = np.sort(indices)
        if self.word_vectors.frequencies is not None:
            indices = indices[np.argsort(-self.word_vectors.frequencies[indices], kind="stable")]
        words = [(str(self.word_vectors.languages[i]), self.word_vectors.words[i]) for i in indices[:max_words]]
        return words, len(indices)

    def save(self, path: str | os.PathLike) -> Path:
        """Writes weights, kinds, cosines and settings to one safetensors file, which replaces `path` when complete."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        tensors = {
            "indptr": self.weights.indptr.astype(np.int64),
            "indices": self.weights.indices.astype(np.int64),
            "data": self.weights.data,
            "kinds": self.kinds,
            "cosines": self.cosines,
            "match_kinds": self.match_kinds,
            "source_rows": self.source_rows.astype(np.uint8),
        }
        settings = {"shape": [int(n) for n in self.shape], "settings": self.settings}
        with new_file(target) as file:
            save_file(tensors, file, metadata={"format": _FORMAT, "mapping": dumps(settings)})
        return target

    @classmethod
    def load(cls, path: str | os.PathLike) -> "TokenMapping":
        """Reads a file written by `save`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a file that is damaged or something else.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} is not a file; name one that TokenMapping.save wrote.")
        problem = f"{path} is damaged or not a safetensors file; save the mapping again"
        with reading(problem), safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != _FORMAT:
            raise ValueError(
                f"{path} is not a token mapping: its format is {metadata.get('format')!r:.60}; name a file that "
                "TokenMapping.save wrote."
            )
        with reading(f"{path} is damaged: its parts don't belong together; save the mapping again"):
            description = json.loads(metadata["mapping"])
            weights = scipy.sparse.csr_array(
                (tensors["data"], tensors["indices"], tensors["indptr"]), shape=tuple(description["shape"])
            )
            weights.check_format(full_check=True)
            lengths = {name: len(tensors[name]) for name in ("kinds", "match_kinds", "cosines", "source_rows")}
            rows, columns = weights.shape
            if lengths != {"kinds": rows, "match_kinds": rows, "cosines": weights.nnz, "source_rows": columns}:
                raise ValueError(f"{lengths} for a matrix of {weights.shape} with {weights.nnz} entries")
            return cls(
                weights,
                tensors["kinds"],
                tensors["cosines"],
                tensors["match_kinds"],
                tensors["source_rows"].astype(bool),
                description["settings"],
            )
