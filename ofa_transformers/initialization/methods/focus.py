"""FOCUS (Dobler and de Melo, 2023): similar tokens of the overlap, by vectors of the target's own tokens."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers.utils import logging

from ...tokenization.vocabulary import Vocabulary
from ...utils.search import unit_rows
from ..mapping import TokenMapping
from .inputs import MethodInputs, rows_of_entries
from .registry import register_method


# Cosines held at once, float32; and the largest of a row, among which its weights are looked for first.
_BLOCK_COSINES = 1 << 24
_FIRST = 256

# Buckets for n-grams of characters; fastText's two million would take 800 MB.
_BUCKETS = 1 << 18


@register_method(
    "focus", needs=(("target_text", "word_vectors"),), published="Dobler and de Melo, 2023", text_seconds=7.0
)
def focus(
    inputs: MethodInputs,
    *,
    auxiliary: str | None = None,
    dimension: int = 100,
    epochs: int = 3,
    min_count: int = 10,
) -> TokenMapping:
    """New rows are means of the rows of similar tokens of the overlap, by fastText or word vectors; weights by sparsemax.

    `auxiliary` is "fasttext", trained with `dimension`, `epochs` and `min_count` on the text cut by the target
    tokenizer, as published (the default where there is text), or "word_vectors", their mean over the words with a token.
    """
    if auxiliary is None:
        auxiliary = "fasttext" if inputs.target_text is not None else "word_vectors"
    if auxiliary not in ("fasttext", "word_vectors"):
        raise ValueError(f"auxiliary is {auxiliary!r}, but must be 'fasttext' or 'word_vectors'.")
    if auxiliary == "fasttext":
        if inputs.target_text is None:
            raise ValueError("auxiliary='fasttext' needs target_text; pass it, or auxiliary='word_vectors'.")
        vectors = train_token_vectors(
            inputs.target,
            inputs.target_text,
            dimension=dimension,
            epochs=epochs,
            min_count=min_count,
            seed=inputs.settings.seed,
        )
    else:
        if not len(inputs.word_vectors):
            raise ValueError("auxiliary='word_vectors' needs word_vectors; pass them, or auxiliary='fasttext'.")
        vectors = inputs.target_words.vectors
    return compose_of_overlap(inputs, vectors, {"auxiliary": auxiliary})


def compose_of_overlap(inputs: MethodInputs, vectors: np.ndarray, settings: dict | None = None) -> TokenMapping:
    """The mapping by (V_t, d) vectors of the target's tokens; a token whose vector is zero has none."""
    known = vectors.any(axis=1) & ~inputs.target.special
    overlap = np.flatnonzero(known & (inputs.matches.source_ids >= 0))
    new = np.flatnonzero(known & (inputs.matches.source_ids < 0))
    if not len(overlap):
        raise ValueError("No token that both tokenizers have is in the text, so that nothing can be composed of it.")
    units = torch.from_numpy(unit_rows(vectors.astype(np.float32)))
    candidates = units[overlap]
    rows, columns, data = [], [], []
    block = max(1, _BLOCK_COSINES // len(overlap))
    starts = range(0, len(new), block)
    for start in logging.tqdm(starts, desc="Comparing tokens", unit="block", delay=2, leave=False):
        chosen = new[start : start + block]
        weights, index = sparsemax(units[chosen] @ candidates.T)
        at, which = weights.nonzero(as_tuple=True)
        rows.append(chosen[at.numpy()])
        columns.append(inputs.matches.source_ids[overlap[index[at, which].numpy()]])
        data.append(weights[at, which].numpy())
    empty = [np.empty(0, dtype=np.int64)]
    matrix = rows_of_entries(*(np.concatenate(parts or empty) for parts in (rows, columns, data)), inputs.shape)
    return inputs.mapping(matrix, settings=settings)


def sparsemax(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sparsemax (Martins and Astudillo, 2016): the nearest point of the simplex, where most weights are 0.

    Args:
        scores: (n, m) float32.

    Returns:
        Weights (n, k) that sum to 1, of the k largest scores of each row, and the positions (n, k) of these.
    """
    count = min(_FIRST, scores.shape[1])
    while True:
        largest, index = scores.topk(count, dim=1)
        shifted = (largest - largest[:, :1]).double()
        ranks = torch.arange(1, count + 1)
        support = (1 + ranks * shifted > shifted.cumsum(dim=1)).sum(dim=1, keepdim=True)
        if count == scores.shape[1] or int(support.max()) < count:
            threshold = (shifted.cumsum(dim=1).gather(1, support - 1) - 1) / support
            return (shifted - threshold).clamp(min=0).float(), index
        count = min(4 * count, scores.shape[1])


def train_token_vectors(
    vocabulary: Vocabulary, lines: Sequence[str], *, dimension: int, epochs: int, min_count: int, seed: int
) -> np.ndarray:
    """(V, d) float32: fastText vectors (CBOW, 10 negatives) of the tokens in the lines; zeros for rarer ones.

    One thread, so that the same seed gives the same vectors.

    Raises:
        ImportError: gensim is missing.
    """
    try:
        from gensim.models import FastText
    except ImportError as error:
        raise ImportError(
            "auxiliary='fasttext' trains fastText vectors with gensim: pip install 'ofa-transformers[gensim]'"
        ) from error
    encodings = vocabulary.encoder.encode_batch_fast(list(lines), add_special_tokens=False)
    model = FastText(
        [[vocabulary.tokens[index] for index in encoding.ids] for encoding in encodings],
        vector_size=dimension,
        sg=0,
        negative=10,
        epochs=epochs,
        min_count=min_count,
        bucket=_BUCKETS,
        workers=1,
        seed=seed % 2**32,
    )
    vectors = np.zeros((len(vocabulary), dimension), dtype=np.float32)
    found = [(vocabulary.ids[token], at) for token, at in model.wv.key_to_index.items() if token in vocabulary.ids]
    if found:
        tokens, places = np.array(found).T
        vectors[tokens] = model.wv.vectors[places]
    return vectors
