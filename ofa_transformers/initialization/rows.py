"""Step 3, factorize and make rows: the target's embeddings, or their coordinates and primitives (OFA, section 3)."""

from dataclasses import dataclass, field

import torch

from ..models.dependents import VocabularyTensor
from ..models.embeddings import ModelEmbeddings
from ..models.factorization import truncation_errors
from .factors import Factorizer
from .mapping.language_offset import mean_norm
from .mapping.token_mapping import TokenMapping
from .run import Run
from .settings import InitializationSettings


@dataclass(frozen=True)
class TargetRows:
    """What is made of the source's input embeddings ("input") and, untied, of its output embeddings ("output").

    Attributes:
        rows: (V_t, D), factorized the coordinates (V_t, D').
        primitives: (D', D), factorized only.
        singular_values: (D,) float64, largest first, factorized only; of what `Factorizer` decomposes.
        others: entries of `ModelEmbeddings.others`.
    """

    rows: dict[str, torch.Tensor] = field(default_factory=dict)
    primitives: dict[str, torch.Tensor] = field(default_factory=dict)
    singular_values: dict[str, torch.Tensor] = field(default_factory=dict)
    others: list[torch.Tensor] = field(default_factory=list)

    def reconstruction_error(self, embedding_size: int) -> dict[str, float]:
        """||E - F P|| / ||E|| in Frobenius norm."""
        return {
            part: float(truncation_errors(values.numpy())[embedding_size])
            for part, values in self.singular_values.items()
        }


def make_rows(
    embeddings: ModelEmbeddings,
    mapping: TokenMapping,
    factorizer: Factorizer | None,
    settings: InitializationSettings,
    run: Run,
) -> TargetRows:
    """Applies the mapping to the source's embeddings, or to their coordinates where they are factorized."""
    made = TargetRows()
    for stream, (part, matrix) in enumerate(embeddings.matrices()):
        norm = None
        if factorizer is not None:
            with run("factorization"):
                if settings.language_offset:
                    norm = mean_norm(matrix.detach().cpu().numpy(), mapping.source_rows)
                matrix, made.primitives[part], made.singular_values[part] = factorizer(
                    part, matrix, settings.embedding_size
                )
        with run("rows"):
            made.rows[part] = mapping.apply(
                matrix,
                settings.fallback,
                settings.seed,
                language_offset=settings.language_offset,
                primitives=made.primitives.get(part),
                source_norm=norm,
                stream=stream,
            )
    with run("rows"):
        made.others.extend(
            _make_other(one, stream, mapping, settings) for stream, one in enumerate(embeddings.others, start=2)
        )
    return made


def _make_other(
    one: VocabularyTensor, stream: int, mapping: TokenMapping, settings: InitializationSettings
) -> torch.Tensor:
    """The target's entries of something else that has one for each token."""
    entries = one.by_token(mapping.shape[1])
    if one.is_assigned:
        return entries[torch.from_numpy(mapping.nearest_source).to(entries.device)]
    if entries.ndim == 1:
        return mapping.apply(entries, fallback="mean")
    return mapping.apply(entries.float(), settings.fallback, settings.seed, stream=stream)
