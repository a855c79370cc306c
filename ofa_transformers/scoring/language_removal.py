"""Directions in which sentence vectors of languages differ on average, to be taken out of them (LSAR, Xie et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..models.sentence_modules import SentenceModules
from .sentences import embed_texts


logger = logging.get_logger(__name__)

# Lines of each language whose mean is taken, of fewer than so many no mean is; and singular values that count as none.
_LINES, _FEWEST_LINES = 400, 20
_NEGLIGIBLE = 1e-3
# Of the dimensions, what is taken out at most.
_MOST = 1 / 16


def language_directions(means: torch.Tensor, most: int | None = None) -> torch.Tensor:
    """(R, D) float32, orthonormal rows: the directions in which the mean vectors of L languages differ, R < L.

    The left singular vectors of the centred means (arXiv 2401.05792, section 3.2). With all L - 1 of them, the means of
    all languages are equal in what is left.

    Args:
        means: (L, D), the mean vector of each language.
        most: directions to keep, those of the largest differences; by default a sixteenth of D.

    Raises:
        ValueError: fewer than two languages.
    """
    if len(means) < 2:
        raise ValueError(f"There are means of {len(means)} languages, but directions between them need two or more.")
    most = int(means.shape[1] * _MOST) if most is None else most
    centred = means.double() - means.double().mean(dim=0)
    _, values, rows = torch.linalg.svd(centred, full_matrices=False)
    kept = int((values > _NEGLIGIBLE * values[0].clamp(min=1e-12)).sum())
    return rows[: min(kept, most, len(means) - 1)].float()


def remove_languages(
    modules: SentenceModules,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, Iterable[str]],
) -> SentenceModules:
    """The modules with a projection that takes out what tells languages apart, estimated from text of each.

    Args:
        modules: of the model.
        model, tokenizer: a sentence encoder.
        texts: language -> lines, of which the first 400 are read. Languages of fewer than 20 are left out.

    Returns:
        `modules` without a projection where there are fewer than two languages.
    """
    plain = modules.without_projection()
    kept = {language: list(islice(lines, _LINES)) for language, lines in texts.items()}
    kept = {language: lines for language, lines in sorted(kept.items()) if len(lines) >= _FEWEST_LINES}
    if len(kept) < 2:
        return plain
    only_pooling = plain.only_pooling()
    means = torch.stack(
        [embed_texts(model, tokenizer, lines, modules=only_pooling).mean(dim=0) for lines in kept.values()]
    )
    directions = language_directions(means)
    logger.info("%d directions between %d languages are taken out of sentence vectors.", len(directions), len(kept))
    return plain.with_projection(directions)
