"""WECHSEL (Minixhofer et al., 2022): every token is composed of its neighbours, those of both vocabularies, too."""

import numpy as np

from ...utils.search import nearest_neighbors
from ..mapping import TokenMapping
from .inputs import MethodInputs, rows_of_entries
from .registry import register_method


@register_method("wechsel", needs=("word_vectors",), published="Minixhofer et al., 2022")
def wechsel(inputs: MethodInputs) -> TokenMapping:
    """As OFA, but tokens that the source has, too, are not copied: only special ones are.

    As published, words count by their frequency, where it is known, and not capitalised.
    """
    source, target = (
        inputs.subwords(side, inputs.word_vectors.frequencies, capitalised=False).vectors
        for side in ("source", "target")
    )
    covered = np.flatnonzero(source[: inputs.num_source_rows].any(axis=1))
    composed = np.flatnonzero(target.any(axis=1))
    count = min(inputs.settings.num_neighbors, len(covered))
    if not count:
        raise ValueError(
            "No source token is part of any word of word_vectors; pass vectors of the source's languages."
        )
    found, cosines = nearest_neighbors(target[composed], source[covered], count, device=inputs.device)
    weights = np.exp((cosines - cosines[:, :1]) / inputs.settings.temperature)
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = rows_of_entries(np.repeat(composed, count), covered[found].ravel(), weights.ravel(), inputs.shape)
    similarity = rows_of_entries(np.repeat(composed, count), covered[found].ravel(), cosines.ravel(), inputs.shape)
    return inputs.mapping(
        matrix,
        copied=np.zeros(len(inputs.target), dtype=bool),
        cosines=similarity.data,
        settings={"num_neighbors": count, "temperature": inputs.settings.temperature},
    )
