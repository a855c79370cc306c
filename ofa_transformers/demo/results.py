"""What the demo is told and what it finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..scoring.score import MaskedLMScore
from .data import ENGLISH


@dataclass(frozen=True)
class DemoSettings:
    """All that decides the demo's numbers.

    Attributes:
        seed: of tokenizer, vectors, random rows and masking.
        languages: language_Script codes of the target languages; None for all that are shipped.
        vocab_size: tokens of the target tokenizer.
        embedding_size: of the factorized model.
        vector_size: dimensions of the word vectors; at most the number of segments to train on.
        steps, batch_size, sequence_length: of the continued pretraining, in optimizer steps, sequences, tokens.
        pairs_per_batch: every second batch is of so many pairs of translations instead, about as many tokens.
        learning_rate: its peak, after a warmup over a tenth of the steps and before a linear decay to 0. The default is
            that of the seed model's own training, with the same tokens a step.
    """

    seed: int = 0
    languages: tuple[str, ...] | None = None
    vocab_size: int = 5000
    embedding_size: int = 64
    vector_size: int = 40
    steps: int = 60
    batch_size: int = 16
    sequence_length: int = 128
    pairs_per_batch: int = 18
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class Scores:
    """Held-out measures of one model; the overall values leave English out."""

    masked_lm: dict[str, MaskedLMScore]
    retrieval: dict[str, float]

    @property
    def overall(self) -> MaskedLMScore:
        return sum((score for language, score in self.masked_lm.items() if language != ENGLISH), MaskedLMScore())

    @property
    def mean_retrieval(self) -> float:
        return float(np.mean(list(self.retrieval.values())))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "loss": self.overall.loss,
            "bits_per_character": self.overall.bits_per_character,
            "retrieval": self.mean_retrieval,
            "languages": {
                language: {
                    "loss": score.loss,
                    "bits_per_character": score.bits_per_character,
                    "retrieval": self.retrieval.get(language),
                }
                for language, score in self.masked_lm.items()
            },
        }


@dataclass(frozen=True)
class Arm:
    """One initialisation and how it fared."""

    name: str
    folder: Path
    parameters: int
    embedding_parameters: int
    before: Scores
    after: Scores
    training_seconds: float


@dataclass(frozen=True)
class DemoResult:
    output: Path
    settings: DemoSettings
    arms: list[Arm]
    token_counts: dict[str, int]
    train_words: dict[str, int]
    segments: tuple[int, int]  # train, held out
    retrieval_layer: int
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def chance(self) -> float:
        """Retrieval accuracy of guessing."""
        return 1 / self.segments[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "arms": [
                {
                    "name": arm.name,
                    "checkpoint": arm.folder.name,
                    "parameters": arm.parameters,
                    "embedding_parameters": arm.embedding_parameters,
                    "training_seconds": round(arm.training_seconds, 1),
                    "before": arm.before.to_dict(),
                    "after": arm.after.to_dict(),
                }
                for arm in self.arms
            ],
            "target_tokens": self.token_counts,
            "train_words": self.train_words,
            "train_segments": self.segments[0],
            "heldout_segments": self.segments[1],
            "retrieval_chance": self.chance,
            "retrieval_layer": self.retrieval_layer,
            "settings": asdict(self.settings),
            "seconds": round(self.seconds, 1),
            "versions": self.versions,
        }
