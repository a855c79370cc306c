"""Entities among tagged words: the schemes that tags follow, and units as seqeval reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from transformers.utils import logging


logger = logging.get_logger(__name__)

OUTSIDE = "O"
ENTITY_TAG = re.compile(r"O|[BIESLU]-\S+")

# Published corpora have a few tags that break their scheme; more are another scheme.
_TOLERATED = 0.05

Units = Callable[[Iterable[Sequence[str]]], list[set[tuple[str, int, int]]]]


def units_reader() -> Units:
    """seqeval's reading (that of conlleval) of tags: (type, first word, last word) of each sentence's units.

    A run of the same tag without prefix, as of parts of speech, is one unit. seqeval alone would take its first letter
    for a prefix, and so CCONJ for SCONJ.

    Raises:
        ImportError: seqeval is missing.
    """
    try:
        from seqeval.metrics.sequence_labeling import get_entities
    except ImportError as error:
        raise ImportError("Entities need the package `seqeval`: pip install 'ofa-transformers[evaluation]'") from error

    def units(sentences: Iterable[Sequence[str]]) -> list[set[tuple[str, int, int]]]:
        return [
            set(get_entities([tag if ENTITY_TAG.fullmatch(tag) else f"I-{tag}" for tag in tags])) for tags in sentences
        ]

    return units


def count_units(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> np.ndarray:
    """(N, 3) int64: the units of each sentence that are in both, predicted only, and in the gold tags only."""
    units = units_reader()
    counts = np.empty((len(gold), 3), dtype=np.int64)
    for row, (expected, found) in enumerate(zip(units(gold), units(predicted))):
        counts[row] = len(expected & found), len(found - expected), len(expected - found)
    return counts


def to_iob2(sentences: Sequence[Sequence[str]], origin: str, lines: Sequence[Sequence[int]]) -> list[list[str]]:
    """Tags of entities in IOB1, IOB2, IOBES or BILOU as IOB2.

    Args:
        sentences: tags of each word of N sentences.
        origin: the file, for messages.
        lines: of each tag, likewise.

    Raises:
        ImportError: seqeval is missing.
        ValueError: a tag that is neither O nor begins with one of B-, I-, E-, S-, L-, U-; tags of several schemes.
    """
    for tags, numbers in zip(sentences, lines):
        for tag, number in zip(tags, numbers):
            if not ENTITY_TAG.fullmatch(tag):
                raise ValueError(
                    f"{origin}, line {number}: there are tags O or B-..., so these are entities, but {tag!r:.80} is neither O "
                    "nor begins with B-, I-, E-, S-, L- or U-."
                )
    prefixes = {tag[:2] for tags in sentences for tag in tags}
    if prefixes & {"L-", "U-"}:
        if prefixes & {"E-", "S-"}:
            raise ValueError(
                f"{origin} mixes the tags of IOBES (E-, S-) and BILOU (L-, U-); use one scheme in a file."
            )
        renamed = {"L-": "E-", "U-": "S-"}
        sentences = [[renamed.get(tag[:2], tag[:2]) + tag[2:] for tag in tags] for tags in sentences]
    entities = units_reader()(sentences)
    _check_scheme(sentences, sum(map(len, entities)), origin, lines)
    rewritten = []
    for tags, found in zip(sentences, entities):
        row = [OUTSIDE] * len(tags)
        for kind, first, last in found:
            row[first : last + 1] = [f"B-{kind}", *[f"I-{kind}"] * (last - first)]
        rewritten.append(row)
    return rewritten


def _check_scheme(
    sentences: Sequence[Sequence[str]], entities: int, origin: str, lines: Sequence[Sequence[int]]
) -> None:
    breaks = dict.fromkeys(("IOB2", "IOB1", "IOBES"), 0)
    first: dict[str, tuple[int, str]] = {}
    for tags, numbers in zip(sentences, lines):
        for before, tag, after, number in zip([OUTSIDE, *tags], tags, [*tags[1:], OUTSIDE], numbers):
            for scheme in _broken(before, tag, after):
                breaks[scheme] += 1
                first.setdefault(scheme, (number, tag))
    scheme = min(breaks, key=breaks.__getitem__)
    if not breaks[scheme]:
        return
    line, tag = first[scheme]
    if breaks[scheme] > _TOLERATED * entities:
        raise ValueError(
            f"{origin} mixes the schemes {' and '.join(sorted(breaks, key=breaks.__getitem__)[:2])}: most of its entities "
            f"are {scheme}, but {breaks[scheme]} tags of {entities} entities are not, the first of them {tag!r:.80} in line "
            f"{line}. Use one scheme in a file."
        )
    logger.warning(
        f"{origin}: {breaks[scheme]} tags break {scheme}, as {tag!r:.80} in line {line}; read as conlleval does"
    )


def _broken(before: str, tag: str, after: str) -> Iterator[str]:
    """The schemes in which a tag can't stand between two others."""
    if tag == OUTSIDE:
        return
    inside = before[:2] in ("B-", "I-") and before[2:] == tag[2:]
    goes_on = after[:2] in ("I-", "E-") and after[2:] == tag[2:]
    prefix = tag[0]
    if prefix in "ES" or (prefix == "I" and not inside):
        yield "IOB2"
    if prefix in "ES" or (prefix == "B" and not inside):
        yield "IOB1"
    if (prefix in "IE" and not inside) or (prefix in "BI" and not goes_on):
        yield "IOBES"
