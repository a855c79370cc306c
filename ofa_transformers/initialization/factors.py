"""The source's embeddings as factors, of which the target's rows are made (OFA, section 3.1)."""

from collections.abc import Iterator

import numpy as np
import torch

from ..models.factorization import check_finite, columns_divide, decompose, factorize, has_float64, project
from .head_bias import TargetText
from .mapping.token_mapping import TokenMapping
from .run import Run
from .settings import InitializationSettings


# Target rows at once: of 1,024 float32 numbers, 64 MiB.
_BLOCK_ROWS = 16_384


class Factorizer:
    """Factorizes the source's input and output embeddings for one mapping, at one size or at several.

    With primitives of the "source", E ≈ F P is the truncated SVD of its embeddings, as in the paper. With those of the
    "target", P holds the directions that hold most of what the target's rows M E are: the leading eigenvectors of
    Σ_v w_v r_v r_vᵀ over the rows r_v that the mapping makes, and F = E Pᵀ. Target rows are combinations of a part of
    the source's, so that the same size loses much less of them; w_v is the square root of the token's frequency, in the
    text to train on where there is some, or else in the word vectors. Beyond the paper; the evidence is in
    examples/replication.

    Args:
        mapping: what makes the target's rows.
        primitives: "source" or "target".
        text: the text to train on, or None.
        published: take padding rows for embeddings, as the published code does.
        device: where to compute; by default on a GPU if there is one, else where the embeddings are.
        largest_size: of several, so that the others are cut from it.
    """

    def __init__(
        self,
        mapping: TokenMapping,
        primitives: str,
        *,
        text: TargetText | None = None,
        published: bool = False,
        device: torch.device | str | None = None,
        largest_size: int | None = None,
    ) -> None:
        self._mapping, self._primitives, self._text = mapping, primitives, text
        self._published, self._device, self._largest_size = published, device, largest_size
        self._decompositions: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._factors: dict[str, tuple[torch.Tensor, ...]] = {}  # at the largest size

    def __call__(
        self, part: str, matrix: torch.Tensor, embedding_size: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The factors of one matrix.

        Args:
            part: "input" or "output"; always the same matrix for a part.
            matrix: (V_s, D) float32.
            embedding_size: D'.

        Returns:
            Coordinates (V_s, D') and primitives (D', D), float32, where `matrix` is; and the D singular values, float64
            on the CPU, largest first, of which those beyond D' are lost: the source's, or those of the weighted rows of
            the target.

        Raises:
            ValueError: `matrix` has NaN or infinite entries.
        """
        make = self._of_target if self._primitives == "target" else self._of_source
        coordinates, primitives, values = make(part, matrix, embedding_size)
        return coordinates.to(matrix.device), primitives.to(matrix.device), values.cpu()

    def _of_target(self, part: str, matrix: torch.Tensor, embedding_size: int) -> tuple[torch.Tensor, ...]:
        device = self._where(matrix)
        if part not in self._decompositions:
            check_finite(matrix)
            self._decompositions[part] = decompose(block.to(device) for block in self._target_rows(matrix))
        decomposition = self._decompositions[part]
        values = decomposition[0].sqrt()
        if not values[0]:  # all rows are fallbacks, which say nothing about the space of embeddings
            del self._decompositions[part]
            return self._of_source(part, matrix, embedding_size)
        if self._largest_size is None:
            return *project(matrix.to(device), embedding_size, decomposition), values
        if part not in self._factors:
            self._factors[part] = project(matrix.to(device), self._largest_size, decomposition)
        return *_cut(*self._factors[part], embedding_size), values

    def _target_rows(self, matrix: torch.Tensor) -> Iterator[torch.Tensor]:
        """Blocks (n, D) float32 of the target's rows, each times the square root of its weight; fallbacks are 0."""
        scale = torch.from_numpy(np.sqrt(token_weights(self._mapping, self._text))).float()
        source_rows = matrix.detach().cpu().numpy()
        for start in range(0, self._mapping.shape[0], _BLOCK_ROWS):
            rows = torch.from_numpy(self._mapping.combine(source_rows, start, start + _BLOCK_ROWS))
            yield rows.mul_(scale[start : start + _BLOCK_ROWS, None])

    def _of_source(self, part: str, matrix: torch.Tensor, embedding_size: int) -> tuple[torch.Tensor, ...]:
        # Padding rows say nothing about the space of embeddings.
        used = torch.from_numpy(self._mapping.source_rows)
        if self._published:
            used = torch.ones_like(used)
        known = matrix
        if not used.all():
            count = int(used.sum())  # padding mostly comes last, and needs no copy of the others
            known = matrix[:count] if used[:count].all() else matrix[used.to(matrix.device)]
        known = known.to(self._where(matrix))
        if part not in self._decompositions:
            self._decompositions[part] = decompose(known)
        decomposition = self._decompositions[part]

        def factors(size: int) -> tuple[torch.Tensor, ...]:
            return factorize(known, size, return_singular_values=True, decomposition=decomposition)

        if self._largest_size is not None and columns_divide(decomposition[0], self._largest_size):
            if part not in self._factors:
                self._factors[part] = factors(self._largest_size)
            coordinates, primitives, values = self._factors[part]
            coordinates, primitives = _cut(coordinates, primitives, embedding_size)
        else:
            coordinates, primitives, values = factors(embedding_size)
        if not used.all():
            spread = coordinates.new_zeros(len(matrix), embedding_size)
            spread[used.to(spread.device)] = coordinates
            coordinates = spread
        return coordinates, primitives, values

    def _where(self, matrix: torch.Tensor) -> torch.device | str:
        device = self._device
        if device is None:
            device = "cuda" if torch.cuda.is_available() else matrix.device
        return device if has_float64(device) else "cpu"


def make_factorizer(
    mapping: TokenMapping, text: TargetText | None, settings: InitializationSettings, run: Run
) -> Factorizer | None:
    """What factorizes the source's embeddings at this and other sizes; None at full size."""
    if settings.embedding_size is None:
        return None
    return run.once(
        "factorizer",
        lambda: Factorizer(
            mapping,
            settings.primitives,
            text=text,
            published=settings.authors_compatible,
            device=run.device,
            largest_size=run.largest_size,
        ),
    )


def token_weights(mapping: TokenMapping, text: TargetText | None) -> np.ndarray:
    """(V_t,) float64: the square root of each target token's frequency, of mean 1.

    The root keeps languages with much text, and the most frequent tokens, from having all the space. Tokens of no word,
    such as punctuation, count as the mean of the others.
    """
    counts = mapping.usage if text is None else np.exp(text.log_probabilities.double().numpy())
    known = counts > 0
    weights = np.sqrt(np.where(known, counts, counts[known].mean() if known.any() else 1.0))
    return weights / weights.mean()


def _cut(coordinates: torch.Tensor, primitives: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The factors of a smaller size, in memory of their own."""
    return coordinates[:, :size].clone(memory_format=torch.contiguous_format), primitives[:size].clone()
