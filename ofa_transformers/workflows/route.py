"""`Route`: what `adapt_and_train` starts from, read and checked."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForMaskedLM
from transformers.utils import logging

from ..models.checkpoints import language_model_loader, load_config, model_class
from ..models.sentence_modules import SentenceModules
from ..text.corpus import LanguageText, find_text
from ..text.parallel import evenly
from ..text.segments import pivot_of, read_ids, read_translations
from ..utils.precision import multiplies_bfloat16
from ..utils.strict_json import dumps
from .route_settings import check_overrides


logger = logging.get_logger(__name__)

_HELD_OUT, _READ_LINES = 100, 20_000


@dataclass(frozen=True)
class Route:
    """What `adapt_and_train` starts from, and what is settled about it; checked when it is made.

    Args:
        source: a folder or a Hub id.
        texts: files named by language (or LANGUAGE=FILE), or folders of them. Files of `id<TAB>text` lines are
            translations where ids are the same; of other files each line is text.
        held_out: a file of ids that are measured on and never used otherwise; by default 100 that all languages have.
        exclude: a file of ids that are never used at all.
        tokenizer: "train", "extend", or a folder or Hub id; by default train or extend, as the source's serves.
        vocab_size, num_new_tokens: of a trained or extended one; by default measured (`choose_size`).
        word_vectors: a file, folder or Hub id; by default they are made of the translations.
        steps, learning_rate: of the training, by default by rule (`default_steps`, `default_learning_rate`).
        overrides: stage -> options of its function, in place of what the route chooses: "vectors" those of
            `WordVectors.from_parallel`, "tokenizer", "adapt" those of `OfaInitializer.from_pretrained`, "train" those of
            `DataArguments` and `PretrainingArguments`.
        cpu: don't use a GPU.
        seed: of everything.

    Raises:
        FileNotFoundError, ValueError: files that aren't there, without a language or without common ids; neither
            translations nor word vectors.
    """

    source: str
    texts: Sequence[str | os.PathLike]
    held_out: str | os.PathLike | None = None
    exclude: str | os.PathLike | None = None
    tokenizer: str | None = None
    vocab_size: int | None = None
    num_new_tokens: int | None = None
    word_vectors: str | None = None
    steps: int | None = None
    learning_rate: float | None = None
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cpu: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_overrides(self.overrides)
        if load_config(self.source, {}).is_encoder_decoder:
            raise ValueError(
                f"source: {self.source} is an encoder-decoder, which this can't train; adapt it (`ofa adapt`) and fine-tune "
                "it on translations, as docs/translation.md shows."
            )
        _ = self.lines
        if not self.translations and self.word_vectors is None:
            raise ValueError(
                "texts are no translations (files of id<TAB>text with common ids), of which word vectors could be made: "
                f"{self._names}; give some, or word vectors (--vectors)."
            )
        if self.translations and len(self.held_out_ids) < 2:
            raise ValueError(
                f"held_out: fewer than two ids are in all languages of the texts ({self._names}); name others, or leave "
                "it out."
            )

    @property
    def _names(self) -> str:
        return ", ".join(map(str, self.texts[:5])) + (", ..." if len(self.texts) > 5 else "")

    @cached_property
    def _corpora(self) -> dict[str, LanguageText]:
        """Language -> its text, as it lies in files."""
        return find_text([str(path) for path in self.texts])

    @cached_property
    def parallel_files(self) -> list[str]:
        """Those of the texts that hold translations."""
        files = []
        for language, text in self._corpora.items():
            found = [part.path for part in text.parts if ".tsv" in Path(part.path).name]
            files += [f"{language}={path}" for path in found[:1]]
        return files if len(files) > 1 else []

    @property
    def all_parallel(self) -> bool:
        """Whether there is no text but translations."""
        parts = sum(len(text.parts) for text in self._corpora.values())
        return parts == len(self.parallel_files)

    @cached_property
    def translations(self) -> dict[str, dict[str, str]]:
        """Language -> id -> line."""
        unused = read_ids(self.exclude) - read_ids(self.held_out)
        return read_translations(self.parallel_files, without=unused) if self.parallel_files else {}

    @cached_property
    def pivot(self) -> str | None:
        """The language that the source knows: English, or else the one of the most translations."""
        known = self.translations
        return pivot_of({name: len(lines) for name, lines in known.items()}) if known else None

    @cached_property
    def held_out_ids(self) -> list[str]:
        """Ids of the translations that are measured on, in the order of the pivot."""
        if not self.translations:
            return []
        common = [key for key in self.translations[self.pivot] if all(key in t for t in self.translations.values())]
        if self.held_out is not None:
            wanted = read_ids(self.held_out)
            return [key for key in common if key in wanted]
        return evenly(common, min(_HELD_OUT, len(common) // 5))

    @cached_property
    def lines(self) -> dict[str, list[str]]:
        """Language -> lines to make tokenizer and rows of, the first 20,000; nothing held out."""
        without = {*self.held_out_ids, *read_ids(self.held_out)}
        found: dict[str, list[str]] = {}
        for language, text in self._corpora.items():
            code = language.partition("_")[0]
            if code in self.translations:
                kept = [line for key, line in self.translations[code].items() if key not in without]
            else:
                kept = [line for line in itertools.islice(text.lines(), _READ_LINES) if line.strip()]
            found.setdefault(code, []).extend(kept[:_READ_LINES])
        return found

    @cached_property
    def head(self) -> type | None:
        """What loads the source with its language-modelling head; None without one."""
        return language_model_loader(model_class(self.source, load_config(self.source, {})).__name__)

    @cached_property
    def distills(self) -> bool:
        """Whether training needs no language-modelling head."""
        return bool(self.translations) and (self.head is None or self.is_sentence_encoder)

    @cached_property
    def is_sentence_encoder(self) -> bool:
        """Whether the source has modules that make vectors of sentences."""
        return SentenceModules.read(self.source) is not None

    @property
    def contrasts(self) -> bool:
        """Whether a masked language model is trained on pairs of translations, too, which are drawn together."""
        return bool(self.translations) and not self.distills and self.head is AutoModelForMaskedLM

    @property
    def is_causal(self) -> bool:
        """Whether the source is a decoder."""
        return self.head is AutoModelForCausalLM

    @property
    def in_bfloat16(self) -> bool:
        """Whether training computes in bfloat16: where the hardware multiplies it, and no precision is asked for, be it by
        options or by `accelerate launch`."""
        asked = self.overrides.get("train", {})
        if {"bf16", "fp16"} & asked.keys():
            return bool(asked.get("bf16", False))
        if launched := os.environ.get("ACCELERATE_MIXED_PRECISION"):
            return launched == "bf16"
        return multiplies_bfloat16(self.cpu)

    @property
    def layer(self) -> int | None:
        """Whose states are compared: the last of an encoder without head, which its own use reads; else the default."""
        if not self.distills or self.is_sentence_encoder:
            return None
        return load_config(self.source, {}).get_text_config().num_hidden_layers

    @property
    def files_state(self) -> list[Any]:
        """Files with size and time, which tell whether they are the same."""
        found = []
        for text in self._corpora.values():
            found += [
                [str(part.path), os.stat(part.path).st_size, os.stat(part.path).st_mtime_ns] for part in text.parts
            ]
        for path in (self.held_out, self.exclude):
            found += [] if path is None else [[str(path), sorted(read_ids(path))[:5], len(read_ids(path))]]
        return found


def digest(value: Any) -> str:
    return hashlib.sha256(dumps(value).encode()).hexdigest()[:16]
