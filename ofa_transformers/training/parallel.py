"""Parallel text of a run: pairs to train on with their targets, and pairs that are held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from transformers import PreTrainedModel
from transformers.utils import logging

from ..text.segments import pivot_of, read_ids, read_translations
from .alignment import Alignment
from .arguments import DataArguments
from .distillation import read_targets
from .encoding import Collator, Encoder
from .pairs import PairCollator, PairedText, Pairs, PairSamples
from .schedule import LanguageSchedule


logger = logging.get_logger(__name__)


def read_pairs(
    arguments: DataArguments,
    encoder: Encoder,
    collate: Collator,
    schedule: LanguageSchedule,
    weights: bool,
    passes: tuple[int, int] | None = None,
    predicts: bool = False,
) -> tuple[Pairs, dict[str, tuple[list[str], list[str]]], float]:
    """Pairs of translations to train on, those that are held out to measure retrieval on, and the spread of targets.

    Args:
        arguments, encoder, collate, schedule: of the run.
        weights: read the teacher's vectors where they are needed.
        passes: samples of a pass of all processes, and passes of the run: the teacher is asked for the segments that
            they draw; by default for all.
        predicts: masked tokens of pairs with targets are predicted, too.

    Raises:
        FileNotFoundError, ValueError: a path that isn't there, no common ids, a share out of range.
    """
    excluded = {*read_ids(arguments.parallel_exclude), *read_ids(arguments.parallel_validation)}
    texts = read_translations(arguments.parallel, without=excluded)
    pivot = pivot_of(_sizes(texts))
    if arguments.distill:  # segments without a line that the teacher knows have no target
        texts = {
            name: {key: line for key, line in lines.items() if key in texts[pivot]} for name, lines in texts.items()
        }
    text = PairedText(texts, encoder)
    # As many tokens as other samples have, which are full where they are packed.
    room = encoder.max_length if encoder.packed else 2 * text.mean_length
    collator = PairCollator(encoder, collate, arguments.joined_pairs, masked=predicts)
    samples = PairSamples(text, arguments.alpha, schedule.seed)
    pairs = Pairs(samples, collator, arguments.parallel_share, max(1, round(room / (2 * text.mean_length))))
    targets = None
    if arguments.distill and weights:
        teacher = arguments.teacher
        lines = [texts[pivot][key] for key in text.segments]
        needed = passes and pairs.segments(*passes)
        targets = read_targets(teacher, lines, arguments.alignment_layer, arguments.data_cache_dir, needed, predicts)
        logger.info("The teacher of %s segments is %s, in %s.", len(lines), teacher, pivot)
        pairs = replace(pairs, collate=replace(collator, targets=targets), targets=targets.identity)
    held_out: dict[str, tuple[list[str], list[str]]] = {}
    if arguments.parallel_validation:
        wanted = read_ids(arguments.parallel_validation)
        every = read_translations(arguments.parallel, without=_Except(wanted))
        pivot = pivot_of(_sizes(every))
        for language in sorted(every.keys() - {pivot}):
            ids = [key for key in every[pivot] if key in every[language]][: arguments.validation_lines]
            if len(ids) > 1:
                held_out[language] = [every[pivot][key] for key in ids], [every[language][key] for key in ids]
        if not held_out:
            raise ValueError(
                f"parallel_validation: no language shares lines of {arguments.parallel_validation} with {pivot}."
            )
    return pairs, held_out, targets.spread if targets else 1.0


def _sizes(texts: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    return {language: len(lines) for language, lines in texts.items()}


class _Except:
    """Everything but some ids."""

    def __init__(self, wanted: frozenset[str]) -> None:
        self.wanted = wanted

    def __contains__(self, key: object) -> bool:
        return key not in self.wanted


def check_layer(model: PreTrainedModel, alignment: Alignment) -> None:
    """Raises ValueError for a layer that the model doesn't have."""
    layers = model.config.get_text_config().num_hidden_layers
    if alignment.layer is not None and not 0 <= alignment.layer <= layers:
        raise ValueError(
            f"alignment_layer={alignment.layer}, but the model has layers 0 (the embeddings) to {layers}."
        )
