"""Everything that a run needs, checked before the work starts."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.utils import logging

from ..models.checkpoints import (
    check_finite,
    check_fit,
    load_config,
    load_tokenizer,
    reading_weights,
)
from ..models.sentence_modules import SentenceModules
from ..scoring.batching import longest_input
from ..text.corpus import LanguageText, find_text, require_datasets
from ..tokenization.normalization import keeping_accents_and_case, merged_words_notes
from ..tokenization.saving import check_tokenizer
from ..utils.quiet import quiet
from ..utils.reading import fits, read_json
from ..utils.targets import check_target
from .alignment import Alignment
from .arguments import DataArguments, ModelArguments
from .defaults import is_headless, with_defaults, without_head
from .distillation import SentenceVectors, check_teacher
from .evaluation import read_validation
from .head import missing_head
from .masking import CausalCollator, MaskingCollator
from .parallel import check_layer, read_pairs
from .resuming import fingerprint
from .samples import Encoder, TrainingData
from .schedule import LanguageSchedule


logger = logging.get_logger(__name__)

DEFAULT_LENGTH = 512
# Of `DataArguments`, what decides the result of a run and is no text.
_OPTIONS = (
    "streaming", "alpha", "sampling_sizes", "line_by_line", "mlm_probability", "whole_word_masking", "parallel_share",
    "joined_pairs", "distill", "distillation_weight", "alignment_weight", "alignment_temperature", "alignment_layer",
    "alignment_centered",
)  # fmt: skip

# Of the squared error to a teacher's vectors beside the loss of masked tokens: the replication's evidence.
MASKED_TARGET_WEIGHT = 0.3
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
        sentence_modules: of a sentence encoder.
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
    sentence_modules: SentenceModules | None = None

    @property
    def measured_layer(self) -> int | None:
        """Of retrieval: the one that pairs are compared at; None for what the model's modules or `default_layer` say."""
        vectors = self.alignment.vectors
        if self.alignment.layer is None and vectors is not None and vectors.modules is None:
            return vectors.layer
        return self.alignment.layer

    @property
    def longest(self) -> int:
        """Tokens that model and tokenizer take."""
        return longest_input(self.model, self.tokenizer)

    def lines_by_language(self, most: int) -> dict[str, list[str]]:
        """Up to `most` lines of training text of each language, those of translations where there are some."""
        found = {
            language: list(itertools.islice(self.data.texts[language].lines(), most))
            for language in self.data.schedule.languages
        }
        if self.data.pairs is not None:
            text = self.data.pairs.samples.text
            for language, first, count in zip(text.languages, text.first, text.counts.tolist()):
                numbers = range(int(first), int(first) + min(count, most))
                found[language] = self.tokenizer.batch_decode([text.line(number) for number in numbers])
        return found

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
    passes: tuple[int, int] | None = None,
) -> Setup:
    """Find and check the text, load model and tokenizer and see that all fits.

    Args:
        model_arguments, data_arguments: what to read.
        causal: a decoder; else a masked LM.
        seed: of languages, order of samples, and masks.
        loader_options: see `TrainingData`.
        weights: False leaves the model on the meta device: it has shapes, and takes no memory.
        passes: samples of a pass of all processes, and passes of the run, where they are known: what isn't drawn needs no
            teacher.

    Raises:
        FileNotFoundError, ValueError: something is missing, empty or doesn't fit; the message names it.
        PermissionError: the cache of `datasets` can't be written.
        ImportError: the package `datasets` is missing.
    """
    arguments = with_defaults(data_arguments, model_arguments, causal)
    require_datasets()
    _check_cache(arguments.data_cache_dir)
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
    headless = bool(arguments.distill and is_headless(model_arguments) and arguments.parallel_share == 1)
    if headless and (arguments.validation or arguments.validation_datasets):
        validation = without_head(model_arguments, arguments)
    model, tokenizer, new = load(model_arguments, causal, weights, headless, texts)
    modules = SentenceModules.read(model_arguments.model_name_or_path, {"revision": model_arguments.model_revision})
    modules = modules and modules.without_projection()  # of the model before training
    _warn_of_merged_words(tokenizer, texts)
    longest = longest_input(model, tokenizer)
    max_length = arguments.max_seq_length or min(longest, DEFAULT_LENGTH)
    if max_length > longest:
        raise ValueError(
            f"max_seq_length={max_length}, but {model_arguments.model_name_or_path} and its tokenizer take at most "
            f"{longest} tokens."
        )
    if causal or headless:  # which masks nothing
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
    alignment = _alignment(arguments, model_arguments, model, modules)
    pairs, validation_pairs = None, {}
    if arguments.parallel:
        pairs, validation_pairs, spread = read_pairs(
            arguments, encoder, collate, schedule, weights, passes, alignment.masked
        )
        alignment = replace(alignment, spread=spread)
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
        model,
        tokenizer,
        data,
        validation,
        max_length,
        causal,
        alignment,
        validation_pairs,
        new,
        options,
        identity,
        modules,
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _alignment(
    arguments: DataArguments,
    model_arguments: ModelArguments,
    model: PreTrainedModel,
    modules: SentenceModules | None,
) -> Alignment:
    """How pairs are compared, but for the spread of targets.

    Raises:
        ValueError: a layer that the model doesn't have, or a teacher whose vectors are of another size.
    """
    alignment = Alignment(
        arguments.alignment_weight,
        arguments.alignment_temperature,
        arguments.alignment_layer,
        arguments.alignment_centered,
    )
    check_layer(model, alignment)
    if not arguments.distill:
        return alignment
    predicts = modules is None and not is_headless(model_arguments)
    vectors = SentenceVectors.of(model.config, modules, alignment.layer, predicts)
    check_teacher(arguments.teacher, alignment.layer, predicts, vectors.width(model.config))
    weight = arguments.distillation_weight
    if weight is None:
        weight = MASKED_TARGET_WEIGHT if predicts else 1.0
    return replace(alignment, vectors=vectors, target_weight=weight, masked=predicts)


def _warn_of_merged_words(tokenizer: PreTrainedTokenizerBase, texts: dict[str, LanguageText]) -> None:
    normalizer = tokenizer.backend_tokenizer.normalizer
    if keeping_accents_and_case(normalizer) is normalizer:
        return
    lines = {language: itertools.islice(text.lines(), _WARNED_LINES) for language, text in texts.items()}
    for note in merged_words_notes(tokenizer, lines):
        logger.warning(note)


def load(
    arguments: ModelArguments,
    causal: bool,
    weights: bool = True,
    headless: bool = False,
    texts: Mapping[str, LanguageText] = MappingProxyType({}),
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, list[str]]:
    """The model in float32, its tokenizer, and the parameters of its head that the checkpoint doesn't have.

    That the tokenizer can be saved beside the model is proven on lines of `texts`, too.

    Raises:
        ValueError: the weights are damaged, the tokenizer isn't fast, or they don't fit each other.
    """
    hub = {"revision": arguments.model_revision, "trust_remote_code": arguments.trust_remote_code}
    config = load_config(arguments.model_name_or_path, hub, "model_name_or_path")
    name = arguments.tokenizer_name or arguments.model_name_or_path
    argument = "tokenizer_name" if arguments.tokenizer_name else "model_name_or_path"
    access = {"trust_remote_code": hub["trust_remote_code"]} if arguments.tokenizer_name else hub
    tokenizer = load_tokenizer(name, argument, "Name one with tokenizer_name (--tokenizer).", **access)
    if not tokenizer.is_fast:
        raise ValueError(f"The tokenizer of {name} is not a fast one (it has no tokenizer.json), which this needs.")
    auto = AutoModel if headless else AutoModelForCausalLM if causal else AutoModelForMaskedLM
    new: list[str] = []
    if weights:
        hush = quiet() if headless else nullcontext()  # of a missing pooler, which nothing reads
        with hush, reading_weights("model_name_or_path", arguments.model_name_or_path):
            model, loaded = auto.from_pretrained(
                arguments.model_name_or_path, dtype=torch.float32, output_loading_info=True, **hub
            )
        new = missing_head(model, loaded["missing_keys"], arguments.model_name_or_path, headless)
        if headless:  # nothing reads it
            for name, parameter in model.named_parameters():
                parameter.requires_grad_("pooler" not in name)
        check_finite(model, "model_name_or_path", arguments.model_name_or_path)
    else:
        with torch.device("meta"), reading_weights("model_name_or_path", arguments.model_name_or_path):
            model = auto.from_config(config, dtype=torch.float32, trust_remote_code=arguments.trust_remote_code)
    if is_deepspeed_zero3_enabled():
        # That loader notes renamings of old names, too, and saving would undo them: LayerNorm.gamma for LayerNorm.weight.
        model._weight_conversions = None
    check_fit(model, tokenizer)
    check_tokenizer(tokenizer, model.config, text={language: text.lines() for language, text in texts.items()})
    return model, tokenizer, new


def _check_cache(folder: str | None) -> None:
    """The package `datasets` makes its cache even where text is streamed, and nothing is written into it."""
    import datasets

    cache = Path(folder or datasets.config.HF_DATASETS_CACHE)
    try:
        check_target(cache / "text")
    except OSError as error:
        raise PermissionError(
            f"The cache of encoded text, {cache}, can't be written ({error.strerror or error}); set HF_HOME or "
            "HF_DATASETS_CACHE to a folder that can."
        ) from error


def _sizes(texts: dict[str, LanguageText], file: str | None) -> dict[str, float]:
    """language -> size, from the file where there is one, else characters."""
    if file is None:
        return {language: text.characters() for language, text in texts.items()}
    sizes = read_json(Path(file), "sampling_sizes needs a file of each language's size")
    missing = [language for language in texts if not isinstance(sizes, dict) or language not in sizes]
    if missing:
        raise ValueError(f"sampling_sizes: {file} has no size for {', '.join(missing)}.")
    if bad := [language for language in texts if not fits(sizes[language], float)]:
        raise ValueError(f"sampling_sizes: {file} has no number for {', '.join(bad)}.")
    return {language: sizes[language] for language in texts}
