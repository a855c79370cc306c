"""What `compare` compares, and with what."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..initialization.methods import find_method, methods
from ..initialization.methods.inputs import NEEDS
from ..initialization.planning import without_weights
from ..initialization.sizes import sizes_of
from ..models.checkpoints import language_model_loader, load_config, load_tokenizer, model_class
from ..models.embeddings import find_embeddings
from ..scoring.masked_lm import DEFAULT_STRIDE
from ..text.parallel import ParallelText, evenly
from ..utils.reading import read_json
from ..utils.targets import check_space


logger = logging.get_logger(__name__)

# Samples of a step, and their tokens.
BATCH, TOKENS = 16, 64
SETTINGS = "comparison.json"
# Float operations a second of one core of 2024 that it shares with nobody, characters that it reads, and seconds to
# make a candidate.
_SPEED, _READING, _MAKING = 3e10, 1e6, 8.0


@dataclass(frozen=True)
class Comparison:
    """What is compared, and with what; checked when it is made.

    Attributes:
        source: a folder or a Hub id.
        target_tokenizer: likewise.
        text: language -> lines, of which some are held out and the others given to methods and training.
        parallel: translations, of which some are held out and the others given to methods.
        word_vectors: a file, a folder or a Hub id; None leaves out the methods that need them.
        donor: another model, for the methods that need one.
        methods: names; by default all whose needs are met.
        sizes: embedding sizes; None is the full one.
        steps: after which training steps candidates are measured; 0 is before training. Masked language models and
            decoders train.
        seeds: of rows, samples and dropout.
        source_languages: as in `OfaInitializer.from_pretrained`.
        max_texts: lines held out of each language, evenly spaced.
        max_pairs: translations held out of each language, likewise.
        files: where text and parallel come from ("text", "parallel", "pivot"), for `OfaInitializer.from_comparison`.

    Raises:
        ValueError: nothing to measure with, an unknown method, one whose needs aren't met, steps for a model that is
            neither a masked language model nor a decoder.
    """

    source: str
    target_tokenizer: str
    text: Mapping[str, Sequence[str]]
    parallel: Sequence[ParallelText] = ()
    word_vectors: str | None = None
    donor: str | None = None
    methods: Sequence[str] | None = None
    sizes: Sequence[int | None] = (None,)
    steps: Sequence[int] = (0,)
    seeds: Sequence[int] = (0,)
    source_languages: Sequence[str] | None = None
    max_texts: int = 16
    max_pairs: int = 60
    files: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.text:
            raise ValueError("text is empty; give lines of at least one language.")
        for name in ("sizes", "steps", "seeds"):
            values = list(getattr(self, name))
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must name one or more, each once, but is {values}.")
        if min(self.steps) < 0 or self.max_texts < 1 or self.max_pairs < 2:
            raise ValueError("steps must be from 0 on, max_texts from 1 and max_pairs from 2.")
        if max(self.steps) and not self.is_trainable:
            raise ValueError(
                f"steps={list(self.steps)} trains a masked language model or a decoder, and {self.source} is neither."
            )
        if not self.is_language_model and not self.parallel:
            raise ValueError(
                f"{self.source} has no language-modelling head, so that parallel is needed to measure it."
            )
        for name in self.methods or ():
            find_method(name).check(self.given, {})

    @property
    def given(self) -> set[str]:
        """Which of `NEEDS` are there."""
        there = {
            "word_vectors": self.word_vectors,
            "target_text": self.text,
            "parallel_text": self.parallel,
            "donor": self.donor,
        }
        return {name for name in NEEDS if there[name]}

    @cached_property
    def _class(self) -> type[PreTrainedModel]:
        return model_class(self.source, load_config(self.source, {}))

    @property
    def is_language_model(self) -> bool:
        return language_model_loader(self._class.__name__) is not None

    @property
    def is_causal(self) -> bool:
        return language_model_loader(self._class.__name__) is AutoModelForCausalLM

    @property
    def is_trainable(self) -> bool:
        return self.is_causal or language_model_loader(self._class.__name__) is AutoModelForMaskedLM

    @cached_property
    def candidates(self) -> dict[str, dict[str, Any]]:
        """Name -> method and embedding size."""
        names = self.methods
        if names is None:
            names = []
            for name, method in methods().items():
                try:
                    method.check(self.given, {})
                except ValueError as error:
                    logger.info("Left out: %s", error)
                else:
                    names.append(name)
        return {
            name if size is None else f"{name}, {size}": {"method": name, "embedding_size": size}
            for name in names
            for size in self.sizes
        }

    @cached_property
    def held_pairs(self) -> list[ParallelText]:
        return [text.spread(self.max_pairs) for text in self.parallel]

    @cached_property
    def held_lines(self) -> dict[str, list[str]]:
        """Language -> lines that nothing is made of."""
        return {
            language: evenly([line for line in lines if line.strip()], self.max_texts)
            for language, lines in self.text.items()
        }

    @cached_property
    def _held(self) -> set[str]:
        lines = {line for some in self.held_lines.values() for line in some}
        return lines.union(*((*text.texts, *text.translations) for text in self.held_pairs))

    @cached_property
    def training_lines(self) -> dict[str, list[str]]:
        """Language -> the lines that aren't held out, as lines or in translations.

        Raises:
            ValueError: a language has no others.
        """
        found = {
            language: [line for line in lines if line.strip() and line not in self._held]
            for language, lines in self.text.items()
        }
        if empty := [language for language, lines in found.items() if not lines]:
            raise ValueError(f"All text of {empty[0]} is held out; give more of it, or hold out less (max_texts).")
        return found

    @cached_property
    def training_pairs(self) -> list[tuple[str, str]]:
        """(line of the pivot, translation), neither held out."""
        return [
            (theirs, ours)
            for text in self.parallel
            for ours, theirs in zip(text.texts, text.translations)
            if ours not in self._held and theirs not in self._held
        ]

    @property
    def inputs(self) -> dict[str, Any]:
        """What decides the results, in plain values; text by its checksum."""
        texts = [[language, *lines] for language, lines in self.text.items()]
        texts += [[text.language, *text.texts, *text.translations] for text in self.parallel]
        return {
            "source": str(self.source),
            "target_tokenizer": str(self.target_tokenizer),
            "word_vectors": self.word_vectors and str(self.word_vectors),
            "donor": self.donor and str(self.donor),
            "source_languages": list(self.source_languages) if self.source_languages else None,
            "max_texts": self.max_texts,
            "max_pairs": self.max_pairs,
            "steps": sorted(self.steps),
            "text": hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode()).hexdigest()[:16],
            "files": dict(self.files),
        }

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The target's."""
        return load_tokenizer(self.target_tokenizer, "target_tokenizer")

    def check_folder(self, folder: Path) -> None:
        """That this comparison can be written there, or go on, and that there is room for a model of the largest size
        among temporary files, from which each candidate is measured.

        Raises:
            ValueError: the folder holds cells of another comparison.
            OSError: too little room.
        """
        settings = folder / SETTINGS
        if settings.is_file() and (found := read_json(settings, "name another folder")) != self.inputs:
            known = found if isinstance(found, dict) else {}
            other = [name for name, value in self.inputs.items() if known.get(name) != value]
            raise ValueError(f"{folder} holds a comparison with other {', '.join(other)}; name another folder.")
        model = without_weights(self.source, self._class, load_config(self.source, {}), {})
        largest = max(self.sizes, key=lambda size: math.inf if size is None else size)
        needed = sizes_of(model, find_embeddings(model), len(self.tokenizer), largest).disk
        check_space(Path(tempfile.gettempdir(), "ofa"), needed, "The temporary folder (TMPDIR)")

    def predicted_seconds(self) -> float:
        """CPU seconds of all cells: an estimate from the operations that measuring and training take."""
        tokenizer = self.tokenizer

        def tokens(lines: Iterable[str]) -> int:
            lines = list(lines)  # Transformers fails where there are none
            found = tokenizer(lines, add_special_tokens=False, verbose=False)["input_ids"] if lines else []
            return sum(map(len, found))

        config = load_config(self.source, {}).get_text_config()
        layer = 12 * config.hidden_size**2  # attention and a feed-forward block of the usual width
        passes, labels = (
            (1, 1.0) if self.is_causal else (DEFAULT_STRIDE, 0.3)
        )  # of a text; share of tokens with logits
        body = 2 * layer * config.num_hidden_layers
        retrieval = tokens({line for text in self.held_pairs for line in (*text.texts, *text.translations)}) * body
        held = tokens([line for lines in self.held_lines.values() for line in lines]) if self.is_language_model else 0
        bits = held * (passes * body + 2 * config.hidden_size * len(tokenizer))
        step = BATCH * TOKENS * 3 * (body + labels * config.hidden_size * len(tokenizer))
        operations = len(set(self.steps)) * (retrieval + bits) + sum(self.steps) * step
        characters = sum(len(line) for lines in self.text.values() for line in lines)
        own = sum(find_method(chosen["method"]).text_seconds for chosen in self.candidates.values()) * characters / 1e6
        cells = len(self.candidates) * (_MAKING + operations / _SPEED) + own
        return characters / _READING + len(self.seeds) * cells
