"""Pairs of translations to train on: drawn by position, and collated into one batch of both sides."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from . import randomness
from .encoding import Batch, Collator, Encoder
from .masking import IGNORED
from .schedule import LanguageSchedule


if TYPE_CHECKING:
    from .distillation import Targets

# Positions of the sides of pairs, for their masks, begin here; those of other samples stay below.
_FIRST_SIDE = 1 << 62


class PairedText:
    """Lines of several languages with the same id are translations of each other; encoded once, 4 bytes a token.

    Args:
        texts: language -> id -> line.
        encoder: whose tokenizer and special tokens the samples have; a longer line is cut off.

    Attributes:
        languages: L languages, sorted.
        counts: (L,) int64, the lines of each that have a translation.
        mean_length: tokens of a line, special tokens included.
        segments: the id of each segment, by its number.
        first: (L + 1,) int64, the number of each language's first line.

    Raises:
        ValueError: fewer than two languages, or a language none of whose ids another one has.
    """

    def __init__(self, texts: Mapping[str, Mapping[str, str]], encoder: Encoder) -> None:
        if len(texts) < 2:
            raise ValueError(f"Parallel text needs two languages or more, but there is {', '.join(texts) or 'none'}.")
        self.encoder = encoder
        self.languages = sorted(texts)
        owners: dict[str, list[int]] = {}
        for number, language in enumerate(self.languages):
            for key in texts[language]:
                owners.setdefault(key, []).append(number)
        segments = {key: number for number, key in enumerate(key for key, own in owners.items() if len(own) > 1)}
        self.segments = list(segments)
        shared = {language: [key for key in texts[language] if key in segments] for language in self.languages}
        if alone := [language for language, keys in shared.items() if not keys]:
            raise ValueError(
                f"No line of {', '.join(alone)} has the id of a line in another language; give translations the same "
                "id, or leave the language out."
            )
        self.counts = np.array([len(keys) for keys in shared.values()], dtype=np.int64)
        # Line after line, language after language: the segment of each, and its tokens without special ones.
        self._segments = np.fromiter(
            (segments[key] for keys in shared.values() for key in keys), dtype=np.int64, count=int(self.counts.sum())
        )
        self.first = np.concatenate([[0], np.cumsum(self.counts)])
        self._language = np.repeat(np.arange(len(self.languages)), self.counts)
        order = np.argsort(self._segments, kind="stable")
        self._lines_of, self._starts = order, np.searchsorted(self._segments[order], np.arange(len(segments) + 1))
        digest = hashlib.sha256()
        tokens: list[np.ndarray] = []
        lengths: list[np.ndarray] = []
        for language, keys in shared.items():
            lines = [texts[language][key] for key in keys]
            digest.update(repr((language, keys, lines)).encode())
            # Cut here: truncation by the tokenizer would become a part of its state.
            encoded = [ids[: encoder.room] for ids in encoder.tokens(lines)]
            lengths.append(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))
            tokens.append(np.fromiter(itertools.chain.from_iterable(encoded), dtype=np.int32))
        self._tokens = np.concatenate(tokens)
        self._ends = np.cumsum(np.concatenate(lengths))
        self.mean_length = float(self._ends[-1] / len(self._ends)) + len(encoder.prefix) + len(encoder.suffix)
        self.identity = digest.hexdigest()

    def line(self, number: int) -> np.ndarray:
        """int32: the tokens of a line, without special tokens."""
        return self._tokens[self._ends[number - 1] if number else 0 : self._ends[number]]

    def pair(self, language: int, row: int, draw: float) -> tuple[int, int, int]:
        """A line and one of its translations.

        Args:
            language: of the first line.
            row: which of the language's lines.
            draw: from 0 to below 1, which translation.

        Returns:
            The numbers of both lines, and that of their segment.
        """
        line = int(self.first[language]) + row
        segment = int(self._segments[line])
        lines = self._lines_of[self._starts[segment] : self._starts[segment + 1]]
        others = lines[lines != line]
        return line, int(others[int(draw * len(others))]), segment

    def language_of(self, line: int) -> str:
        return self.languages[self._language[line]]


class PairSamples:
    """The pairs of a run by number: a function of the seed and the number.

    The first line's language is drawn as that of other samples is, by the number of its lines; its lines are read in a
    new order in each pass; the other side is any language that has the segment.
    """

    def __init__(self, text: PairedText, alpha: float, seed: int) -> None:
        self.text, self.seed = text, seed
        self.schedule = LanguageSchedule(dict(zip(text.languages, text.counts.tolist())), alpha, seed)
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def __getitem__(self, number: int) -> dict[str, Any]:
        language, drawn = self.schedule[number]
        turn, place = divmod(drawn, int(self.text.counts[language]))
        known = self._orders.get(language)
        if known is None or known[0] != turn:
            source = randomness.generator(self.seed, randomness.PAIRS, language, turn)
            known = self._orders[language] = (turn, source.permutation(int(self.text.counts[language])))
        draw = randomness.generator(self.seed, randomness.PARTNERS, number).random()
        first, second, segment = self.text.pair(language, int(known[1][place]), draw)
        return {"first": self.text.line(first), "second": self.text.line(second), "segment": segment, "number": number}


@dataclass(frozen=True)
class PairCollator:
    """B pairs to a batch of 2 B rows, first sides before second ones, masked as other samples are.

    With `joined` (translation language modelling, Conneau and Lample, 2019) both sides are one row, so that masked tokens
    can be found in the translation; else each is a row of its own, and the batch says which rows belong together:
    `segments` (B,) int64, alike for pairs of the same segment, and `content` (2 B, L) bool, tokens that are no special
    ones. With `targets`, which give those of segments, the batch has those of its pairs, (B, D), and nothing is masked
    but by `masked`.
    """

    encoder: Encoder
    collate: Collator
    joined: bool = False
    targets: Targets | None = field(default=None, repr=False)
    masked: bool = False

    def __call__(self, pairs: Sequence[dict[str, Any]]) -> Batch:
        prefix, suffix = self.encoder.prefix, self.encoder.suffix
        if self.joined:
            separator = self.encoder.separator
            half = (self.encoder.room - len(separator)) // 2
            return self.collate(
                [
                    {
                        "input_ids": np.array(
                            [*prefix, *pair["first"][:half], *separator, *pair["second"][:half], *suffix],
                            dtype=np.int32,
                        ),
                        "position": _FIRST_SIDE + 2 * pair["number"],
                    }
                    for pair in pairs
                ]
            )
        sides = [
            (pair[side], 2 * pair["number"] + which)
            for which, side in enumerate(("first", "second"))
            for pair in pairs
        ]
        rows = [
            {"input_ids": np.array([*prefix, *line, *suffix], dtype=np.int32), "position": _FIRST_SIDE + number}
            for line, number in sides
        ]
        batch = self.collate(rows)
        ends = torch.tensor([len(row["input_ids"]) - len(suffix) for row in rows])
        places = torch.arange(batch["input_ids"].shape[1])
        batch["content"] = (places >= len(prefix)) & (places < ends[:, None])
        segments = [pair["segment"] for pair in pairs]
        batch["segments"] = torch.tensor(segments)
        if self.targets is not None:
            if not self.masked:
                batch["input_ids"] = torch.where(batch["labels"] == IGNORED, batch["input_ids"], batch["labels"])
                batch["labels"] = torch.full_like(batch["labels"], IGNORED)
            batch["targets"] = torch.from_numpy(self.targets[segments])
        return batch


@dataclass(frozen=True)
class Pairs:
    """Pairs to train on beside other samples.

    Args:
        samples: to draw from.
        collate: pairs to batches.
        share: of the batches that are pairs, from 0 to 1; they come at even distances.
        per_sample: pairs in the place of one sample, so that batches have about as many tokens.
        targets: a hash of the teacher's vectors of the segments, with distillation.

    Raises:
        ValueError: a share outside of 0 to 1.
    """

    samples: PairSamples
    collate: PairCollator
    share: float
    per_sample: int
    targets: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"parallel_share must lie above 0 and at most be 1, but is {self.share}.")

    @property
    def identity(self) -> str:
        """A hash that changes when the pairs of a run do."""
        parts = (self.samples.text.identity, self.share, self.per_sample, self.collate.joined)
        if self.targets is not None:
            parts += (self.targets,)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def segments(self, size: int, passes: int) -> np.ndarray:
        """The numbers of the segments that so many passes of `size` samples draw; of a long run, of all segments."""
        every = len(self.samples.text.segments)
        if passes * size * self.share * self.per_sample > 4 * every:
            return np.arange(every)
        mixture = self.mixed(size)
        drawn = itertools.chain.from_iterable(mixture[n] for n in range(passes * size) if mixture.takes(n))
        return np.unique(np.fromiter((pair["segment"] for pair in drawn), dtype=np.int64))

    def mixed(self, global_size: int) -> Mixture:
        """Which positions of a run are pairs, with so many samples of all processes in one pass."""
        return Mixture(self, global_size)


@dataclass(frozen=True)
class Mixture:
    """The pairs of a run by the position of a sample; of the samples of one pass, all are pairs or none."""

    pairs: Pairs
    global_size: int

    def takes(self, position: int) -> bool:
        """Whether the sample at a position gives way to pairs."""
        number = position // self.global_size
        return int((number + 1) * self.pairs.share) > int(number * self.pairs.share)

    def __getitem__(self, position: int) -> list[dict[str, Any]]:
        count = self.pairs.per_sample
        return [self.pairs.samples[position * count + each] for each in range(count)]


@dataclass(frozen=True)
class MixedSamples(Dataset):
    """Samples and pairs by position."""

    samples: Dataset
    mixture: Mixture

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> dict[str, Any] | list[dict[str, Any]]:
        return self.mixture[position] if self.mixture.takes(position) else self.samples[position]


@dataclass(frozen=True)
class MixedCollator:
    """Batches of samples, and of the pairs that stand in the place of samples."""

    collate: Collator
    collate_pairs: PairCollator

    def __call__(self, samples: Sequence[Any]) -> Batch:
        if isinstance(samples[0], list):
            return self.collate_pairs([pair for pairs in samples for pair in pairs])
        return self.collate(samples)
