"""The run's samples by position: kept on disk, or streamed."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info
from transformers.utils import logging

from ..text.corpus import LanguageText
from ..text.lines import lines_of
from . import randomness
from .encoding import BLOCK_LINES, Batch, Collator, Encoder, encode_to_disk
from .pairs import MixedCollator, MixedSamples, Mixture, Pairs
from .schedule import LanguageSchedule


if TYPE_CHECKING:
    import datasets

logger = logging.get_logger(__name__)


class StoredSamples(Dataset):
    """The samples of a run by position, from one stored data set a language.

    A language's samples are read in a new order in each pass over it; all is a function of the seed and the position. The
    order of the pass is kept in memory, 4 bytes a sample.
    """

    def __init__(self, datasets: Sequence[datasets.Dataset], schedule: LanguageSchedule, size: int) -> None:
        self.datasets = datasets
        self.schedule = schedule
        self.size = size
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, position: int) -> dict[str, Any]:
        language, number = self.schedule[position]
        turn, place = divmod(number, len(self.datasets[language]))
        row = int(self._order(language, turn)[place])
        return {"input_ids": self.datasets[language][row]["input_ids"], "position": position}

    def _order(self, language: int, turn: int) -> np.ndarray:
        known = self._orders.get(language)
        if known is None or known[0] != turn:
            source = randomness.generator(self.schedule.seed, randomness.ORDER, language, turn)
            order = np.arange(len(self.datasets[language]), dtype=np.uint32)
            source.shuffle(order)
            known = self._orders[language] = (turn, order)
        return known[1]


@dataclass
class Place:
    """Where a stream of samples stands: the pass, its block, the sample in it, and where the text stands before it."""

    turn: int = 0
    block: int = 0
    sample: int = 0
    text: dict[str, Any] | None = None


class LanguageStream:
    """The samples of a language again and again, shuffled within blocks of lines; exactly resumable from a `Place`."""

    def __init__(self, text: LanguageText, encoder: Encoder, seed: int, language: int, place: Place) -> None:
        self.text, self.encoder, self.seed, self.language, self.place = text, encoder, seed, language, place

    def __iter__(self) -> Iterator[np.ndarray]:
        place = self.place
        while True:
            dataset = self.text.dataset()
            if place.text is not None:
                dataset.load_state_dict(copy.deepcopy(place.text))
            empty = place.text is None
            for rows in dataset.iter(BLOCK_LINES):  # unlike plain iteration, it leaves a worker the whole text
                samples = self.encoder(list(lines_of(rows["text"])))
                source = randomness.generator(
                    self.seed, randomness.ORDER, self.language, place.turn << 32 | place.block
                )
                order = source.permutation(len(samples))
                while place.sample < len(order):
                    place.sample += 1
                    empty = False
                    yield samples[order[place.sample - 1]]
                place.block, place.sample, place.text = place.block + 1, 0, dataset.state_dict()
            if empty:
                raise ValueError(f"{self.text.language} has no text: {', '.join(self.text.names)}.")
            place.turn, place.block, place.sample, place.text = place.turn + 1, 0, 0, None


@dataclass(frozen=True)
class Share:
    """Which batches are this process's: of consecutive batches of `size` samples, each `count`-th from `rank`."""

    size: int
    rank: int = 0
    count: int = 1

    def batches(self, start: int, stop: int) -> Iterator[range]:
        """Ranges of positions from `start` (the begin of a global batch) to `stop`."""
        for first in range(start + self.rank * self.size, stop, self.size * self.count):
            yield range(first, min(first + self.size, stop))


@dataclass(frozen=True)
class BatchPositions:
    """A batch sampler over positions."""

    share: Share
    start: int
    stop: int

    def __iter__(self) -> Iterator[range]:
        return self.share.batches(self.start, self.stop)


class StreamedBatches(IterableDataset):
    """The batches of one process from streamed text, each with the state of the streams after it.

    Every process and worker reads all of the text and keeps its own batches, so that the global batches don't depend on
    how many there are, and nothing is read twice or left out.
    """

    def __init__(
        self,
        texts: Sequence[LanguageText],
        encoder: Encoder,
        schedule: LanguageSchedule,
        collate: Collator,
        share: Share,
        start: int,
        stop: int,
        state: dict[str, Any] | None = None,
        mixture: Mixture | None = None,
    ) -> None:
        self.mixture = mixture
        self.texts, self.encoder, self.schedule, self.collate = texts, encoder, schedule, collate
        self.share, self.start, self.stop, self.state = share, start, stop, state

    def __iter__(self) -> Iterator[tuple[Batch, dict[str, Any]]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        state = self.state or {"position": 0, "places": {}}
        places = {language: Place(**place) for language, place in state["places"].items()}
        streams = []
        for index, text in enumerate(self.texts):
            place = places.setdefault(text.language, Place())
            streams.append(iter(LanguageStream(text, self.encoder, self.schedule.seed, index, place)))
        position = state["position"]
        for batch in itertools.islice(self.share.batches(self.start, self.stop), number, None, workers):
            samples = []
            while position < batch.stop:
                if self.mixture is not None and self.mixture.takes(position):
                    sample = self.mixture[position]
                else:
                    sample = {"input_ids": next(streams[self.schedule[position][0]]), "position": position}
                if position >= batch.start:
                    samples.append(sample)
                position += 1
            after = {"position": position, "places": {name: dict(vars(place)) for name, place in places.items()}}
            yield self.collate(samples), after


class TrainingBatches:
    """The batches of one process, in order, from a position of the run on.

    Attributes:
        schedule: the language of each position.
        start: the position of the first sample.
        streams: with streamed text, where the streams stand after the last batch that was given out.
    """

    def __init__(
        self,
        loader: DataLoader,
        schedule: LanguageSchedule,
        share: Share,
        start: int,
        stop: int,
        streamed: bool,
        streams: dict[str, Any] | None = None,
        before: int = 0,
    ) -> None:
        self.loader, self.schedule, self.share, self.start, self.stop = loader, schedule, share, start, stop
        self.streamed, self.streams, self.before = streamed, streams, before

    def __len__(self) -> int:
        """Batches of the whole run, those before `start` included."""
        return self.before + len(range(self.start, self.stop, self.share.size * self.share.count))

    def __iter__(self) -> Iterator[Batch]:
        for item in self.loader:
            if self.streamed:
                item, self.streams = item
            yield item

    def describe_step(self, number: int, samples: int) -> str:
        """For messages: which samples the `number`-th step of so many holds, counted from 0."""
        first = self.start + number * samples
        return self.schedule.describe(range(first, first + samples))

    def describe(self, number: int) -> str:
        """For messages: which samples the `number`-th batch holds, counted from 0."""
        first = self.start + (number * self.share.count + self.share.rank) * self.share.size
        return self.schedule.describe(range(first, first + self.share.size))


@dataclass
class TrainingData:
    """What a run trains on: texts, how they are encoded and drawn, and how samples become batches.

    Args:
        texts: language -> text.
        encoder: lines to samples.
        collate: samples to batches.
        schedule: languages of all positions, over the same languages.
        streaming: encode while training instead of before.
        cache_dir: of encoded text; default: that of `datasets`.
        pairs: of translations, that some batches consist of.
        loader_options: further arguments of the `DataLoader` (`num_workers`, `pin_memory` ...).
    """

    texts: dict[str, LanguageText]
    encoder: Encoder
    collate: Collator
    schedule: LanguageSchedule
    streaming: bool = False
    cache_dir: str | None = None
    pairs: Pairs | None = None
    loader_options: Mapping[str, Any] = field(default_factory=dict)
    _stored: list[datasets.Dataset] | None = field(default=None, init=False, repr=False)

    def prepare(self) -> None:
        """Encode the text, unless it is streamed. Raises `ValueError` for text that can't be read."""
        if self._stored is None and not self.streaming:
            bar = logging.tqdm(self.schedule.languages, desc="Encoding text", unit="language", delay=2, leave=False)
            self._stored = [encode_to_disk(self.texts[language], self.encoder, self.cache_dir) for language in bar]

    def batches(
        self, share: Share, start: int, stop: int, streams: dict[str, Any] | None = None, before: int = 0
    ) -> TrainingBatches:
        """Batches of one process.

        Args:
            share: its share.
            start: position of the first sample, where a global batch begins.
            stop: position after the last one, where a global batch ends.
            streams: what `TrainingBatches.streams` was; without it, streamed text is read again from the beginning.
            before: batches of this process before `start`, which count in the length.
        """
        self.prepare()
        # Of its own, since a loader draws a seed for its workers when it starts: resuming would shift dropout.
        options = {**self.loader_options, "generator": torch.Generator()}
        collate, mixture = self.collate, None
        if self.pairs is not None:
            collate, mixture = MixedCollator(collate, self.pairs.collate), self.pairs.mixed(share.size * share.count)
        if self.streaming:
            texts = [self.texts[language] for language in self.schedule.languages]
            batches = StreamedBatches(
                texts, self.encoder, self.schedule, collate, share, start, stop, streams, mixture
            )
            loader = DataLoader(batches, batch_size=None, **options)
        else:
            samples: Dataset = StoredSamples(self._stored, self.schedule, stop)
            if mixture is not None:
                samples = MixedSamples(samples, mixture)
            positions = BatchPositions(share, start, stop)
            loader = DataLoader(samples, batch_sampler=positions, collate_fn=collate, **options)
        return TrainingBatches(loader, self.schedule, share, start, stop, self.streaming, streams, before)
