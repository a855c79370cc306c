"""What the study compares: ways to make the rows of a target vocabulary."""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse
import torch
from transformers import PreTrainedTokenizerBase

from ofa_transformers import TokenMapping, WordVectors
from ofa_transformers.initialization.factors import Factorizer
from ofa_transformers.mapping import TokenKind, build_mapping
from ofa_transformers.vectors.frequencies import from_rank


@dataclass(frozen=True)
class Arm:
    """One way: `rows` "ofa", "fvt" or "random", the options of OFA, and frequencies of words "counted" or by "rank"."""

    title: str
    rows: str = "ofa"
    word_weighting: str = "uniform"
    overlap: str = "all"
    language_offset: float = 0.0
    frequencies: str = "counted"
    primitives: str = "source"  # of the factorized sizes

    @property
    def mapping(self) -> "Arm":
        """The same without what a mapping doesn't depend on."""
        return replace(self, title="", language_offset=0.0, primitives="source")


SQRT, USED = "sqrt_frequency", "used_by_source"
ARMS = {
    "random": Arm("random, overlap copied", rows="random"),
    "fvt": Arm("FVT (mean of the source tokenizer's pieces)", rows="fvt"),
    "ofa": Arm("OFA as published (`uniform`, `all`)"),
    "filter": Arm("+ `used_by_source`", overlap=USED),
    "sqrt": Arm("+ `sqrt_frequency`", word_weighting=SQRT),
    "both": Arm("+ `sqrt_frequency`, `used_by_source`", word_weighting=SQRT, overlap=USED),
    "sqrt-target": Arm('+ `sqrt_frequency`, `primitives="target"`', word_weighting=SQRT, primitives="target"),
    "both-target": Arm('+ both, `primitives="target"`', word_weighting=SQRT, overlap=USED, primitives="target"),
    "both-rank": Arm("+ both, frequencies from ranks", word_weighting=SQRT, overlap=USED, frequencies="rank"),
    "both-g0.2": Arm("+ both, `language_offset=0.2`", word_weighting=SQRT, overlap=USED, language_offset=0.2),
    "both-g0.4": Arm("+ both, `language_offset=0.4`", word_weighting=SQRT, overlap=USED, language_offset=0.4),
}


def make_mapping(
    arm: Arm,
    source_tokenizer: PreTrainedTokenizerBase,
    target_tokenizer: PreTrainedTokenizerBase,
    vectors: WordVectors,
    source_languages: list[str],
    num_source_rows: int,
) -> TokenMapping:
    """The mapping of an arm; of "fvt" and "random" the composed rows are replaced."""
    if arm.frequencies == "rank":  # as for files without counts
        _, language_ids = np.unique(vectors.languages, return_inverse=True)
        vectors = WordVectors(vectors.words, vectors.languages, vectors.vectors, from_rank(language_ids))
    mapping = build_mapping(
        source_tokenizer,
        target_tokenizer,
        vectors,
        num_source_rows=num_source_rows,
        source_languages=source_languages,
        word_weighting=arm.word_weighting,
        overlap=arm.overlap,
    )
    if arm.rows == "ofa":
        return mapping
    made = ~np.isin(mapping.kinds, (TokenKind.COPIED, TokenKind.SPECIAL))
    weights = scipy.sparse.diags_array((~made).astype(np.float32)) @ mapping.weights
    kinds = np.where(made, TokenKind.FALLBACK, mapping.kinds).astype(np.uint8)
    if arm.rows == "fvt":
        pieces = _piece_means(mapping, source_tokenizer, np.flatnonzero(made))
        weights = weights + pieces
        kinds[np.flatnonzero(np.diff(pieces.indptr))] = TokenKind.COMPOSED
    weights = weights.tocsr()
    cosines = np.full(weights.nnz, np.nan, dtype=np.float32)
    return replace(mapping, weights=weights, kinds=kinds, cosines=cosines)


def _piece_means(
    mapping: TokenMapping, tokenizer: PreTrainedTokenizerBase, tokens: np.ndarray
) -> scipy.sparse.csr_array:
    """FVT (Gee et al., 2022): the mean of the pieces that the source's tokenizer cuts a token into, unk left out."""
    if not len(tokens):
        return scipy.sparse.csr_array(mapping.shape, dtype=np.float32)
    forms = [(mapping.target.forms[i] or b"").decode("utf-8", "ignore").strip() for i in tokens.tolist()]
    ids = tokenizer(forms, add_special_tokens=False, verbose=False)["input_ids"]
    pairs = [
        (row, piece)
        for row, pieces in zip(tokens.tolist(), ids)
        for piece in pieces
        if piece not in tokenizer.all_special_ids
    ]
    rows, columns = np.array(pairs).T
    counts = np.bincount(rows, minlength=mapping.shape[0])
    data = (1 / counts[rows]).astype(np.float32)
    return scipy.sparse.coo_array((data, (rows, columns)), shape=mapping.shape).tocsr()


def target_rows(mapping: TokenMapping, embeddings: torch.Tensor, embedding_size: int | None, arm: Arm) -> torch.Tensor:
    """(V_t, D): the target's rows; factorized, coordinates times primitives, which is what the model computes."""
    if embedding_size is None:
        return mapping.apply(embeddings, language_offset=arm.language_offset)
    coordinates, primitives, _ = Factorizer(mapping, arm.primitives)("input", embeddings, embedding_size)
    return mapping.apply(coordinates, language_offset=arm.language_offset, primitives=primitives) @ primitives
