"""Everything that a run needs, checked before the work starts."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.utils import logging

from ..models.checkpoints import check_fit, load_config, load_tokenizer, reading_weights
from ..scoring.batching import longest_input
from ..text.corpus import LanguageText, find_text, require_datasets
from ..text.segments import read_ids, read_translations
from ..tokenization.normalization import keeping_accents_and_case, merged_words_notes
from ..tokenization.saving import check_tokenizer
from .alignment import Alignment
from .arguments import DataArguments, ModelArguments
from .encoding import Collator
from .evaluation import read_validation
from .head import missing_head
from .masking import CausalCollator, MaskingCollator
from .pairs import PairCollator, PairedText, Pairs, PairSamples
from .resuming import fingerprint
from .samples import Encoder, TrainingData
from .schedule import LanguageSchedule


logger = logging.get_logger(__name__)

DEFAULT_LENGTH = 512
# Of `DataArguments`, what decides the result of a run and is no text.
_OPTIONS = (
    "streaming", "alpha", "sampling_sizes", "line_by_line", "mlm_probability", "whole_word_masking", "parallel_share",
    "joined_pairs", "alignment_weight", "alignment_temperature", "alignment_layer", "alignment_centered",
)  # fmt: skip

# Of each language, to see which words the tokenizer can't tell apart.
_WARNED_LINES = 1000


@dataclass
class Setup:
    """What a run consists of.

    Attributes:
        model: in float32, on the CPU.
        tokenizer: of model and data.
        data: the text to train on.
        validation: language -> held-out lines, empty without validation text.
        max_length: tokens of a sample.
        causal: a decoder.
        alignment: how pairs of translations are compared.
        validation_pairs: language -> (lines of the pivot, their translations), to measure retrieval on.
        new_weights: parameters of the head that the checkpoint doesn't have, and that are random; see `fit_head`.
        options: of how text becomes samples, by the names of `DataArguments`.
        model_identity: see `fingerprint`.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    data: TrainingData
    validation: dict[str, list[str]]
    max_length: int
    causal: bool
    alignment: Alignment = field(default_factory=Alignment)
    validation_pairs: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    new_weights: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    model_identity: str | None = None

    @property
    def held_out(self) -> bool:
        """Whether there is something to measure on."""
        return bool(self.validation or self.validation_pairs)

    @property
    def settings(self) -> dict[str, Any]:
        """What of model and data decides the result of a run; see `settings_of`."""
        schedule, data = self.data.schedule, self.data
        texts = [data.texts[language].identity for language in schedule.languages]
        held_out = [sorted(self.validation.items()), sorted(self.validation_pairs.items())] if self.held_out else None
        return {
            "model": self.model_identity,
            "tokenizer": data.encoder.tokenizer_identity[:16],
            "causal": self.causal,
            "sample_seed": schedule.seed,
            "text": _digest([schedule.languages, texts, data.pairs and data.pairs.identity]),
            "held-out text": held_out and _digest(held_out),
            **self.options,
            "max_seq_length": self.max_length,
        }

    @property
    def identity(self) -> str:
        """A hash that changes when the samples of the run do."""
        schedule = self.data.schedule
        parts = [
            schedule.seed,
            *zip(schedule.languages, schedule.shares.tolist()),
            *(self.data.texts[language].identity for language in schedule.languages),
            self.data.encoder.identity,
            self.data.streaming,
            *([] if self.data.pairs is None else [self.data.pairs.identity, self.alignment]),
        ]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def prepare(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    *,
    causal: bool,
    seed: int,
    loader_options: Mapping[str, Any] | None = None,
    weights: bool = True,
) -> Setup:
    """Find and check the text, load model and tokenizer and see that all fits.

    Args:
        model_arguments, data_arguments: what to read.
        causal: a decoder; else a masked LM.
        seed: of languages, order of samples, and masks.
        loader_options: see `TrainingData`.
        weights: False leaves the model on the meta device: it has shapes, and takes no memory.

    Raises:
        FileNotFoundError, ValueError: something is missing, empty or doesn't fit; the message names it.
        ImportError: the package `datasets` is missing.
    """
    arguments = data_arguments
    require_datasets()
    texts = find_text(
        arguments.train or (),
        arguments.train_datasets or (),
        column=arguments.text_column,
        split=arguments.train_split,
    )
    validation: dict[str, list[str]] = {}
    if arguments.validation or arguments.validation_datasets:
        held_out = find_text(
            arguments.validation or (),
            arguments.validation_datasets or (),
            column=arguments.text_column,
            split=arguments.validation_split,
        )
        validation = read_validation(held_out, arguments.validation_lines)
    schedule = LanguageSchedule(_sizes(texts, arguments.sampling_sizes), arguments.alpha, seed)
    model, tokenizer, new = load(model_arguments, causal, weights)
    _warn_of_merged_words(tokenizer, texts)
    longest = longest_input(model, tokenizer)
    max_length = arguments.max_seq_length or min(longest, DEFAULT_LENGTH)
    if max_length > longest:
        raise ValueError(
            f"max_seq_length={max_length}, but {model_arguments.model_name_or_path} and its tokenizer take at most "
            f"{longest} tokens."
        )
    if causal:
        collate = CausalCollator(tokenizer, pad_to_multiple_of=arguments.pad_to_multiple_of)
    else:
        collate = MaskingCollator(
            tokenizer,
            seed=seed,
            probability=arguments.mlm_probability,
            whole_words=arguments.whole_word_masking,
            pad_to_multiple_of=arguments.pad_to_multiple_of,
        )
    encoder = Encoder(tokenizer, max_length, packed=not arguments.line_by_line, causal=causal)
    alignment = Alignment(
        arguments.alignment_weight,
        arguments.alignment_temperature,
        arguments.alignment_layer,
        arguments.alignment_centered,
    )
    pairs, validation_pairs = None, {}
    if arguments.parallel:
        pairs, validation_pairs = read_pairs(arguments, encoder, collate, schedule, joined=arguments.joined_pairs)
        check_layer(model, alignment)
    data = TrainingData(
        texts,
        encoder,
        collate,
        schedule,
        pairs=pairs,
        streaming=arguments.streaming,
        cache_dir=arguments.data_cache_dir,
        loader_options=loader_options or {},
    )
    shares = ", ".join(f"{language} {share:.1%}" for language, share in zip(schedule.languages, schedule.shares))
    logger.info(f"Shares of the languages: {shares}")
    options = {name: getattr(arguments, name) for name in _OPTIONS}
    identity = fingerprint(model, new)
    return Setup(
        model, tokenizer, data, validation, max_length, causal, alignment, validation_pairs, new, options, identity
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def read_pairs(
    arguments: DataArguments, encoder: Encoder, collate: Collator, schedule: LanguageSchedule, joined: bool
) -> tuple[Pairs, dict[str, tuple[list[str], list[str]]]]:
    """Pairs of translations to train on, and those that are held out to measure retrieval on.

    Raises:
        FileNotFoundError, ValueError: a path that isn't there, no common ids, a share out of range.
    """
    excluded = {*read_ids(arguments.parallel_exclude), *read_ids(arguments.parallel_validation)}
    texts = read_translations(arguments.parallel, without=excluded)
    text = PairedText(texts, encoder)
    # As many tokens as other samples have, which are full where they are packed.
    room = encoder.max_length if encoder.packed else 2 * text.mean_length
    pairs = Pairs(
        PairSamples(text, arguments.alpha, schedule.seed),
        PairCollator(encoder, collate, joined),
        arguments.parallel_share,
        max(1, round(room / (2 * text.mean_length))),
    )
    held_out: dict[str, tuple[list[str], list[str]]] = {}
    if arguments.parallel_validation:
        wanted = read_ids(arguments.parallel_validation)
        every = read_translations(arguments.parallel, without=_Except(wanted))
        pivot = "eng" if "eng" in every else max(every, key=lambda language: len(every[language]))
        for language in sorted(every.keys() - {pivot}):
            ids = [key for key in every[pivot] if key in every[language]][: arguments.validation_lines]
            if len(ids) > 1:
                held_out[language] = [every[pivot][key] for key in ids], [every[language][key] for key in ids]
        if not held_out:
            raise ValueError(
                f"parallel_validation: no language shares lines of {arguments.parallel_validation} with {pivot}."
            )
    return pairs, held_out


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


def _warn_of_merged_words(tokenizer: PreTrainedTokenizerBase, texts: dict[str, LanguageText]) -> None:
    normalizer = tokenizer.backend_tokenizer.normalizer
    if keeping_accents_and_case(normalizer) is normalizer:
        return
    lines = {language: itertools.islice(text.lines(), _WARNED_LINES) for language, text in texts.items()}
    for note in merged_words_notes(tokenizer, lines):
        logger.warning(note)


def load(
    arguments: ModelArguments, causal: bool, weights: bool = True
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, list[str]]:
    """The model in float32, its tokenizer, and the parameters of its head that the checkpoint doesn't have.

    Raises:
        ValueError: the weights are damaged, the tokenizer isn't fast, or they don't fit each other.
    """
    hub = {"revision": arguments.model_revision, "trust_remote_code": arguments.trust_remote_code}
    name = arguments.tokenizer_name or arguments.model_name_or_path
    argument = "tokenizer_name" if arguments.tokenizer_name else "model_name_or_path"
    access = {"trust_remote_code": hub["trust_remote_code"]} if arguments.tokenizer_name else hub
    tokenizer = load_tokenizer(name, argument, "Name one with tokenizer_name (--tokenizer).", **access)
    if not tokenizer.is_fast:
        raise ValueError(f"The tokenizer of {name} is not a fast one (it has no tokenizer.json), which this needs.")
    auto = AutoModelForCausalLM if causal else AutoModelForMaskedLM
    config = load_config(arguments.model_name_or_path, hub, "model_name_or_path")
    new: list[str] = []
    if weights:
        with reading_weights("model_name_or_path", arguments.model_name_or_path):
            model, loaded = auto.from_pretrained(
                arguments.model_name_or_path, dtype=torch.float32, output_loading_info=True, **hub
            )
        new = missing_head(model, loaded["missing_keys"], arguments.model_name_or_path)
    else:
        with torch.device("meta"), reading_weights("model_name_or_path", arguments.model_name_or_path):
            model = auto.from_config(config, dtype=torch.float32, trust_remote_code=arguments.trust_remote_code)
    if is_deepspeed_zero3_enabled():
        # That loader notes renamings of old names, too, and saving would undo them: LayerNorm.gamma for LayerNorm.weight.
        model._weight_conversions = None
    check_fit(model, tokenizer)
    check_tokenizer(tokenizer, model.config)
    return model, tokenizer, new


def _sizes(texts: dict[str, LanguageText], file: str | None) -> dict[str, float]:
    """language -> size, from the file where there is one, else characters."""
    if file is None:
        return {language: text.characters() for language, text in texts.items()}
    try:
        sizes = json.loads(Path(file).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"sampling_sizes: {file} is no JSON ({error}).") from error
    missing = [language for language in texts if not isinstance(sizes, dict) or language not in sizes]
    if missing:
        raise ValueError(f"sampling_sizes: {file} has no size for {', '.join(missing)}.")
    if bad := [language for language in texts if not isinstance(sizes[language], (int, float))]:
        raise ValueError(f"sampling_sizes: {file} has no number for {', '.join(bad)}.")
    return {language: sizes[language] for language in texts}
