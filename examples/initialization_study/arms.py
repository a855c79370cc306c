"""What the study compares: ways to make the rows of a target vocabulary."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ofa_transformers import TokenMapping, WordVectors
from ofa_transformers.initialization.factors import Factorizer
from ofa_transformers.initialization.methods import MethodInputs, find_method
from ofa_transformers.initialization.settings import InitializationSettings
from ofa_transformers.vectors.frequencies import from_rank


@dataclass(frozen=True)
class Arm:
    """One way: a method of the package, the options of OFA, and frequencies of words "counted" or by "rank"."""

    title: str
    method: str = "ofa"
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
    "random": Arm("random, overlap copied", method="random"),
    "fvt": Arm("FVT (mean of the source tokenizer's pieces)", method="fvt"),
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
    """The mapping of an arm, by the package's method."""
    if arm.frequencies == "rank":  # as for files without counts
        _, language_ids = np.unique(vectors.languages, return_inverse=True)
        vectors = WordVectors(vectors.words, vectors.languages, vectors.vectors, from_rank(language_ids))
    settings = InitializationSettings(
        method=arm.method,
        source_languages=source_languages,
        word_weighting=arm.word_weighting,
        overlap=arm.overlap,
    )
    inputs = MethodInputs(source_tokenizer, target_tokenizer, num_source_rows, settings, word_vectors=vectors)
    return find_method(arm.method).function(inputs)


def target_rows(mapping: TokenMapping, embeddings: torch.Tensor, embedding_size: int | None, arm: Arm) -> torch.Tensor:
    """(V_t, D): the target's rows; factorized, coordinates times primitives, which is what the model computes."""
    if embedding_size is None:
        return mapping.apply(embeddings, language_offset=arm.language_offset)
    coordinates, primitives, _ = Factorizer(mapping, arm.primitives)("input", embeddings, embedding_size)
    return mapping.apply(coordinates, language_offset=arm.language_offset, primitives=primitives) @ primitives
