"""Which rules of the mapping hold: the paper's, or those that go beyond it, where the inputs allow them."""

from dataclasses import dataclass

import numpy as np
from transformers.utils import logging

from ...vectors import WordVectors
from .language_offset import check_language_offset


logger = logging.get_logger(__name__)

# How words are weighted in the means that are the vectors of subwords -> weights from frequencies.
WORD_WEIGHTINGS = {"uniform": None, "sqrt_frequency": np.sqrt}
# Which tokens that both vocabularies have are copied.
OVERLAPS = ("all", "used_by_source")
# Whose embeddings the primitives of a factorized model are made for.
PRIMITIVES = ("source", "target")
# The offset of languages for a model that is to be trained further as a language model.
LANGUAGE_OFFSET = 0.2


@dataclass(frozen=True)
class Rules:
    """What `choose_rules` chose; `notes` say why, where it isn't what the evidence favours."""

    word_weighting: str
    overlap: str
    language_offset: float = 0.0
    primitives: str = "target"
    notes: tuple[str, ...] = ()


def check_rules(
    word_weighting: str | None,
    overlap: str | None,
    language_offset: float | None,
    primitives: str | None,
    authors_compatible: bool,
) -> None:
    """Raises ValueError for an unknown rule, or one that the published code doesn't have; costs nothing."""
    for name, value, known in (
        ("word_weighting", word_weighting, WORD_WEIGHTINGS),
        ("overlap", overlap, OVERLAPS),
        ("primitives", primitives, PRIMITIVES),
    ):
        if value is not None and value not in known:
            raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(map(repr, known))}.")
    check_language_offset(language_offset or 0.0)
    if authors_compatible:
        chosen = [f"word_weighting={word_weighting!r}"] if word_weighting not in (None, "uniform") else []
        chosen += [f"overlap={overlap!r}"] if overlap not in (None, "all") else []
        chosen += [f"language_offset={language_offset}"] if language_offset else []
        chosen += [f"primitives={primitives!r}"] if primitives == "target" else []
        if chosen:
            raise ValueError(
                f"authors_compatible=True gives what the published code gives, which has no {' and no '.join(chosen)}; "
                "leave one of the two out."
            )


def choose_rules(
    word_weighting: str | None,
    overlap: str | None,
    word_vectors: WordVectors,
    source_languages: list[str] | None,
    authors_compatible: bool = False,
    language_offset: float | None = None,
    language_model: bool = False,
    primitives: str | None = None,
) -> Rules:
    """Fills in what is None with the rules that make the better rows, or the paper's where the inputs don't allow them.

    Weighting needs word frequencies, and the filter of overlapping tokens these and the languages of the source. The
    evidence is in examples/initialization_study: the filter helps only together with the weighting, and only a source
    of one language. A language model of known languages gets a language offset, for that is what it learns fastest from
    (examples/replication); a model without such a head doesn't, since an offset costs it retrieval. Primitives are made
    for the target's rows, since these then lose less at the same size (there, too).

    Raises:
        ValueError: a rule that is asked for, but lacks what it needs; frequencies that are none.
    """
    if authors_compatible:
        return Rules("uniform", "all", language_offset or 0.0, "source")
    has_frequencies = word_vectors.frequencies is not None
    asked = [f"word_weighting={word_weighting!r}"] if word_weighting and WORD_WEIGHTINGS[word_weighting] else []
    asked += [f"overlap={overlap!r}"] if overlap not in (None, "all") else []
    if asked and not has_frequencies:
        raise ValueError(
            f"{' and '.join(asked)} needs word frequencies, but these word vectors have none. Build them with "
            "WordVectors.from_parallel, which keeps frequencies, or set WordVectors(..., frequencies=...)."
        )
    if overlap not in (None, "all") and not source_languages:
        raise ValueError(
            f"overlap={overlap!r} needs source_languages: which languages the source was trained on, for example "
            "['eng']."
        )
    notes = []
    if word_weighting is None:
        word_weighting = "sqrt_frequency" if has_frequencies else "uniform"
        if not has_frequencies:
            notes.append(
                "The word vectors have no frequencies, so every word counts alike (word_weighting='uniform'). "
                "Frequencies would make better rows."
            )
    if overlap is None:
        overlap = "all"
        if word_weighting != "uniform" and not source_languages:
            notes.append(
                "source_languages is not given, so every token that both vocabularies have is copied, false friends "
                "included (overlap='all'). For a source of one language, naming it would make better rows."
            )
        elif word_weighting != "uniform" and len(source_languages) == 1:
            overlap = "used_by_source"
    if language_offset is None:
        language_offset = LANGUAGE_OFFSET if language_model and source_languages else 0.0
    if word_weighting != "uniform" or overlap != "all":
        _check_frequencies(word_vectors)
    for note in notes:
        logger.warning(note)
    return Rules(word_weighting, overlap, language_offset, primitives or "target", tuple(notes))


def _check_frequencies(word_vectors: WordVectors) -> None:
    wrong = np.flatnonzero(~(word_vectors.frequencies >= 0) | np.isinf(word_vectors.frequencies))
    if len(wrong):
        word = f"{word_vectors.languages[wrong[0]]}:{word_vectors.words[wrong[0]]}"
        raise ValueError(
            f"The frequency of word {wrong[0]}, {word!r}, is {word_vectors.frequencies[wrong[0]]}, but must be a finite "
            "number from 0 on; correct it, or pass word_weighting='uniform' and overlap='all'."
        )
