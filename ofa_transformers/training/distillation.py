"""Distillation of a sentence encoder (Reimers and Gurevych, 2020): its vector of a line is the target of translations.

The teacher, frozen, reads each line of the pivot language once; its vectors are kept on disk. Both sides of every pair,
whatever its languages, are drawn to the vector of their segment. A masked language model predicts masked tokens of both
sides in the same pass.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, PreTrainedConfig
from transformers.utils import logging

from ..models.checkpoints import check_fit, load_config, load_tokenizer, reading_weights
from ..models.sentence_modules import SentenceModules, pooled
from ..report import REPORT_FILE
from ..scoring.sentences import embed_texts, two_thirds
from ..utils.files import new_file
from ..utils.progress import stage
from ..utils.quiet import quiet
from .alignment import sentence_vectors
from .resuming import fingerprint


logger = logging.get_logger(__name__)

_FOLDER = "ofa-teacher-vectors"
# Lines whose vectors say what an error is measured in.
MEASURED = 1000


@dataclass(frozen=True)
class SentenceVectors:
    """How a model's hidden states become a sentence's vector, for teacher and student alike.

    Attributes:
        layer: whose states are taken, 0 being the embeddings.
        modules: of a sentence encoder: pooling and dense layers; None for the mean of the tokens that aren't special.
    """

    layer: int
    modules: SentenceModules | None = None

    @classmethod
    def of(
        cls, config: PreTrainedConfig, modules: SentenceModules | None, layer: int | None, predicts: bool = False
    ) -> SentenceVectors:
        """Of a sentence encoder its own; of others the mean at `layer`, or else at the last one.

        The last states of a model that `predicts` masked tokens serve these: the mean then is of those two thirds up.
        """
        layers = config.get_text_config().num_hidden_layers
        if modules is not None and layer is None:
            return cls(layers, modules.without_projection().without_normalization())
        if layer is None:
            layer = two_thirds(config) if predicts else layers
        return cls(layer)

    def width(self, config: PreTrainedConfig) -> int:
        """D of the vectors of a model with this configuration."""
        states = torch.zeros(1, 1, config.get_text_config().hidden_size)
        return self(states, torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool)).shape[1]

    def __call__(self, states: torch.Tensor, attention: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
        """(B, D) float32 of states (B, L, D), the attention mask and the tokens that aren't special, (B, L)."""
        if self.modules is None:
            return sentence_vectors(states, content)
        return self.modules.after_pooling(pooled(states, attention, self.modules.pooling))


@dataclass(frozen=True)
class Targets:
    """What pairs are drawn to.

    Attributes:
        vectors: (n, D) float32, the teacher's of the segments that the run needs.
        places: (S,) int64, the row of each segment; -1 without one.
        spread: mean squared distance of some segments' vectors from their mean; squared errors are given in it.
        identity: a hash of teacher and lines.
    """

    vectors: np.ndarray
    places: np.ndarray
    spread: float
    identity: str

    def __getitem__(self, segments: Sequence[int]) -> np.ndarray:
        """(B, D): those of some segments.

        Raises:
            IndexError: one that the teacher wasn't asked for.
        """
        rows = self.places[segments]
        if (rows < 0).any():
            raise IndexError(
                f"The teacher's vectors of segments {np.array(segments)[rows < 0].tolist()} aren't there."
            )
        return self.vectors[rows]


def check_teacher(teacher: str, layer: int | None, predicts: bool, width: int) -> None:
    """Raises ValueError where the teacher's vectors don't have `width` dimensions, as the model's do.

    Args:
        teacher: a folder or Hub id.
        layer, predicts: see `SentenceVectors.of`.
        width: of the model's vectors.
    """
    config, how = _read_how(teacher, layer, predicts)
    found = how.width(config)
    if found != width:
        raise ValueError(
            f"teacher: the vectors of {teacher} have {found} dimensions, those of the model {width}; name a teacher "
            "(--teacher) whose vectors have as many."
        )


def _read_how(teacher: str, layer: int | None, predicts: bool) -> tuple[PreTrainedConfig, SentenceVectors]:
    """A teacher's configuration, and how its hidden states become vectors."""
    config = load_config(teacher, {}, "teacher")
    return config, SentenceVectors.of(config, SentenceModules.read(teacher), layer, predicts)


def default_teacher(model: str | os.PathLike) -> str:
    """The source that a model was adapted from, where its report says so and it can be reached; else the model itself."""
    report = Path(model) / REPORT_FILE
    if report.is_file():
        name = str(json.loads(report.read_text(encoding="utf-8")).get("source", {}).get("name", ""))
        if os.path.isdir(name) or (name.count("/") == 1 and not name.startswith("/")):
            return name
        logger.warning(
            f"{model} was adapted from {name or 'a model without name'}, which isn't there: its own vectors are the "
            "targets. Name the source with teacher (--teacher)."
        )
    return str(model)


def read_targets(
    teacher: str,
    lines: Sequence[str],
    layer: int | None,
    cache_dir: str | None = None,
    needed: np.ndarray | None = None,
    predicts: bool = False,
) -> Targets:
    """The teacher's vectors of lines, S of them; computed once, and read from the cache from then on.

    Args:
        teacher: a folder or Hub id of a sentence encoder, or of any model that AutoModel loads.
        lines: in a language that it knows.
        layer, predicts: see `SentenceVectors.of`.
        cache_dir: of the vectors; default: that of `datasets`.
        needed: numbers of lines that a run asks for; all by default. The spread is that of the same lines in any case.

    Raises:
        OSError, ValueError: a teacher that isn't there, is damaged, or whose tokenizer doesn't fit.
    """
    _, how = _read_how(teacher, layer, predicts)
    tokenizer = load_tokenizer(teacher, "teacher")
    with quiet(), reading_weights("teacher", teacher):
        model = AutoModel.from_pretrained(teacher, dtype=torch.float32).eval()
    check_fit(model, tokenizer)
    entries = [] if how.modules is None else [dict(entry) for entry in how.modules.entries]
    parts = (fingerprint(model, ["pooler.dense.weight", "pooler.dense.bias"]), how.layer, entries)
    identity = hashlib.sha256(repr((*parts, tokenizer.backend_tokenizer.to_str(), list(lines))).encode()).hexdigest()
    measured = np.unique(np.linspace(0, len(lines) - 1, min(MEASURED, len(lines))).astype(np.int64))
    chosen = np.arange(len(lines)) if needed is None else np.union1d(measured, needed)
    part = "" if len(chosen) == len(lines) else hashlib.sha256(chosen.tobytes()).hexdigest()[:16]
    file = _cache(cache_dir) / f"{identity[:32]}{part}.npy"
    if not file.is_file():
        with stage("Reading the teacher's vectors"), new_file(file) as temporary, open(temporary, "wb") as stream:
            some = [lines[number] for number in chosen.tolist()]
            np.save(stream, embed_texts(model, tokenizer, some, layer=how.layer, modules=how.modules).numpy())
    vectors = np.load(file, mmap_mode="r")
    places = np.full(len(lines), -1)
    places[chosen] = np.arange(len(chosen))
    sample = vectors[places[measured]].astype(np.float64)
    spread = float(((sample - sample.mean(axis=0)) ** 2).sum(axis=1).mean())
    return Targets(vectors, places, max(spread, 1e-12), identity)


def _cache(cache_dir: str | None) -> Path:
    if cache_dir is None:
        import datasets

        cache_dir = datasets.config.HF_DATASETS_CACHE
    folder = Path(cache_dir) / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def squared_error(vectors: torch.Tensor, targets: torch.Tensor, spread: float) -> torch.Tensor:
    """Mean over both sides of all pairs: 1 is what the targets' mean would have.

    Args:
        vectors: (2 B, D), first sides, then second sides.
        targets: (B, D).
        spread: of `Targets`.
    """
    return (vectors - torch.cat([targets, targets]).float()).square().sum(dim=1).mean() / spread
