"""Which labelled sentences are trained on, chosen by, and tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers.utils import logging

from .examples import Examples, Kind, LabelledData


logger = logging.get_logger(__name__)

_HELD_OUT = 0.1


@dataclass(frozen=True)
class Splits:
    """Attributes:
    train: of the training language.
    dev: of the training language, to choose the epoch by.
    tests: language -> sentences.
    """

    train: Examples
    dev: Examples
    tests: dict[str, Examples]

    def check_labels(self, known: Sequence[str]) -> None:
        """That all labels are among the known ones, those of the training sentences.

        Raises:
            ValueError: one isn't; names file, line, label, and the known ones.
        """
        for examples in (self.dev, *self.tests.values()):
            examples.check_labels(known, f"the labels of {self.train.origin}")


def choose_splits(
    data: LabelledData,
    kind: Kind,
    train_language: str,
    train_split: str = "train",
    dev_split: str = "dev",
    test_split: str = "test",
    languages: Sequence[str] | None = None,
) -> Splits:
    """The sentences to train on, to choose by, and to test on.

    Where the training language has no development split, or it is the split to train on, a tenth of the training
    sentences, always the same ones, is held out for it. Languages to test on are all by default, each of which must
    have the test split, the training language excepted.

    Raises:
        ValueError: another kind of data, a language or split that isn't there, too few sentences to hold some out.
    """
    if data.kind != kind:
        raise ValueError(f"{data.name} is read for {data.kind}, but this is {kind}; read it with kind={kind!r}.")
    train_language = data.find_one(train_language)
    train = data.get(train_language, train_split)
    if test_split in (train_split, dev_split):
        raise ValueError(f"test_split={test_split!r} is also trained on or chosen by; test on another split.")
    if languages is None:
        languages = [
            language
            for language in data.languages
            if language != train_language or test_split in data.examples[train_language]
        ]
    languages = [language for name in languages for language in data.find(name)]
    tests = {language: data.get(language, test_split) for language in languages}
    if not tests:
        raise ValueError(f"{data.name} has no language to test on; it has {', '.join(data.languages)}.")
    if dev_split != train_split and dev_split in data.examples[train_language]:
        return Splits(train, data.get(train_language, dev_split), tests)
    held_out = round(_HELD_OUT * len(train))
    if held_out < 1:
        raise ValueError(
            f"{data.name} has no {dev_split!r} split of {train_language!r} to choose the epoch by, and its "
            f"{len(train)} training sentences are too few to hold some out."
        )
    logger.warning(
        f"{held_out} of the {len(train)} training sentences of {train_language} are held out to choose the epoch by, as "
        f"there is no {dev_split} split beside {train_split}"
    )
    order = np.random.default_rng(0).permutation(len(train)).tolist()
    return Splits(train.select(sorted(order[held_out:])), train.select(sorted(order[:held_out])), tests)
