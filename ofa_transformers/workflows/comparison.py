"""What `compare` compares, and with what."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..initialization.methods import find_method, methods
from ..initialization.methods.inputs import NEEDS
from ..initialization.planning import without_weights
from ..initialization.settings import InitializationSettings
from ..initialization.sizes import sizes_of
from ..models.checkpoints import language_model_loader, load_config, load_tokenizer, model_class
from ..models.embeddings import find_embeddings
from ..text.parallel import ParallelText, evenly
from ..utils.reading import read_json
from ..utils.targets import check_space


logger = logging.get_logger(__name__)

# Samples of a step, and their tokens.
BATCH, TOKENS = 16, 64
SETTINGS = "comparison.json"


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
        method_settings: of methods, as `OfaInitializer.from_pretrained` takes them.
        arms: further candidates by name: any settings of `OfaInitializer.from_pretrained`, such as language_offset.
        sizes: of the methods, embedding sizes; None is the full one.
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
    method_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
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
        for name in (*(self.methods or ()), *self.method_settings):
            find_method(name).check(self.given, self.method_settings.get(name, {}))
        if self.methods is not None and (idle := [name for name in self.method_settings if name not in self.methods]):
            raise ValueError(
                f"method_settings has {', '.join(idle)}, which isn't among the methods that are compared."
            )

        for name, settings in self.arms.items():
            self._check_arm(name, settings)

    def _check_arm(self, name: str, settings: Mapping[str, Any]) -> None:
        if not name.isprintable() or not name.strip() or set(name) & set('/\\:*?"<>|') or name in self._of_methods:
            raise ValueError(f"arms: {name!r} can't be a name; it is a file's and a candidate's of its own.")
        unknown = sorted(set(settings) - {entry.name for entry in fields(InitializationSettings)})
        if unknown:
            raise ValueError(f"arms: {name} sets {', '.join(unknown)}, which OfaInitializer.from_pretrained hasn't.")
        chosen = InitializationSettings(**settings)
        find_method(chosen.method).check(self.given, chosen.method_settings or {})

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

    @property
    def candidates(self) -> dict[str, dict[str, Any]]:
        """Name -> settings of `OfaInitializer.from_pretrained`, among them the method and the embedding size."""
        blank = {"method": "ofa", "embedding_size": None}
        return self._of_methods | {name: {**blank, **settings} for name, settings in self.arms.items()}

    @cached_property
    def _of_methods(self) -> dict[str, dict[str, Any]]:
        names = self.methods
        if names is None:
            names = []
            for name, method in methods().items():
                try:
                    method.check(self.given, self.method_settings.get(name, {}))
                except ValueError as error:
                    logger.info("Left out: %s", error)
                else:
                    names.append(name)
        return {
            name if size is None else f"{name}, {size}": {
                "method": name,
                **({"method_settings": dict(self.method_settings[name])} if name in self.method_settings else {}),
                "embedding_size": size,
            }
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
        further = {"method_settings": self.method_settings, "arms": self.arms}
        return {
            "source": str(self.source),
            "target_tokenizer": str(self.target_tokenizer),
            "word_vectors": self.word_vectors and str(self.word_vectors),
            "donor": self.donor and str(self.donor),
            "source_languages": list(self.source_languages) if self.source_languages else None,
            "max_texts": self.max_texts,
            "max_pairs": self.max_pairs,
            "steps": sorted(self.steps),
            **{name: {n: dict(s) for n, s in given.items()} for name, given in further.items() if given},
            "text": hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode()).hexdigest()[:16],
            "files": dict(self.files),
        }

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The target's."""
        return load_tokenizer(self.target_tokenizer, "target_tokenizer")

    def settings_in(self, folder: Path) -> dict[str, Any]:
        """`inputs`, with the arms of the comparison that the folder holds: others may join it, as methods may.

        Raises:
            ValueError: that is another comparison.
        """
        settings, mine = folder / SETTINGS, self.inputs
        if not settings.is_file():
            return mine
        found = read_json(settings, "name another folder")
        known = dict(found) if isinstance(found, dict) else {}
        arms, before = mine.get("arms", {}), known.get("arms") or {}
        if any(before.get(name, chosen) != chosen for name, chosen in arms.items()):
            other = ["arms"]
        else:
            names = {**mine, **known}.keys() - {"arms"}
            other = sorted(name for name in names if known.get(name) != mine.get(name))
        if other:
            raise ValueError(f"{folder} holds a comparison with other {', '.join(other)}; name another folder.")
        return {**mine, "arms": {**before, **arms}} if before or arms else mine

    def check_folder(self, folder: Path) -> None:
        """That this comparison can be written there, or go on, and that there is room for a model of the largest size
        among temporary files, from which each candidate is measured.

        Raises:
            ValueError: the folder holds cells of another comparison.
            OSError: too little room.
        """
        self.settings_in(folder)
        model = without_weights(self.source, self._class, load_config(self.source, {}), {})
        sizes = [chosen["embedding_size"] for chosen in self.candidates.values()]
        largest = max(sizes, key=lambda size: math.inf if size is None else size)
        needed = sizes_of(model, find_embeddings(model), len(self.tokenizer), largest).disk
        check_space(Path(tempfile.gettempdir(), "ofa"), needed, "The temporary folder (TMPDIR)")
