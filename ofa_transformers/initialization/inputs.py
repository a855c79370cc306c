"""Step 1, read: tokenizers, word vectors, text and source, checked before the work on them begins."""

import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..models.checkpoints import (
    check_finite,
    count_bytes,
    language_model_loader,
    load_config,
    load_tokenizer,
    model_class,
    reading_weights,
    take_source,
)
from ..models.embeddings import ModelEmbeddings, check_factorizable, find_embeddings, token_table
from ..models.sentence_modules import SentenceModules
from ..report import source_license
from ..text.scripts import NO_LETTERS, scripts_of
from ..tokenization.language_codes import add_language_codes
from ..tokenization.normalization import merged_words_notes
from ..tokenization.saving import check_tokenizer
from ..tokenization.sentencepiece_model import bare_sentencepiece, load_sentencepiece
from ..tokenization.vocabulary import Vocabulary
from ..vectors import WordVectors
from .head_bias import TargetText, read_target_text
from .memory import needed_memory, refuse_too_little_memory
from .methods import Donor, find_method
from .run import Run
from .settings import InitializationSettings, Rules
from .special_tokens import SpecialTokens, plan_special_tokens


logger = logging.get_logger(__name__)

# Rows that a model may have beyond its tokenizer's tokens and still be taken for padded (Qwen2: 267, T5: 28).
_MOST_PADDING_ROWS = 1024
# Pieces of words of a script that a vocabulary was made for; others have single letters, and accidents.
_FEWEST_PIECES = 100


@dataclass(frozen=True)
class Inputs:
    """What an initialisation starts from, read and checked, but for the source's weights.

    Attributes:
        source: as it was given.
        config, source_class: of the source.
        source_tokenizer, target_tokenizer: loaded.
        word_vectors: loaded.
        lines: the text to train on, or None.
        text_by_language: the same by language; empty where languages aren't known.
        text: what is kept of it.
        parallel_text: pairs of a line and its translation, or None.
        donor: another model, or None.
        rules: those that hold where the settings leave them open.
        hub_kwargs: arguments for the loading of the source.
        source_access: of these, those for what lies beside the source.
    """

    source: Any
    config: PreTrainedConfig
    source_class: type[PreTrainedModel]
    source_tokenizer: PreTrainedTokenizerBase
    target_tokenizer: PreTrainedTokenizerBase
    word_vectors: WordVectors
    lines: list[str] | None
    text: TargetText | None
    parallel_text: list[tuple[str, str]] | None
    donor: Donor | None
    rules: Rules
    hub_kwargs: dict[str, Any]
    source_access: dict[str, Any]
    text_by_language: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """The source itself.

    Attributes:
        model: a copy of its own, dense, which becomes the result, or gives it its body.
        embeddings: what depends on the vocabulary in it.
        special: what becomes of the token ids in its configurations.
        facts: what the report says of it.
        sentence_modules: of a sentence encoder.
    """

    model: PreTrainedModel
    embeddings: ModelEmbeddings
    special: SpecialTokens
    facts: dict[str, Any]
    sentence_modules: SentenceModules | None = None


def read_inputs(
    source: str | os.PathLike | PreTrainedModel,
    target_tokenizer: str | os.PathLike | PreTrainedTokenizerBase,
    word_vectors: str | os.PathLike | WordVectors | None,
    settings: InitializationSettings,
    *,
    source_tokenizer: str | os.PathLike | PreTrainedTokenizerBase | None = None,
    target_text: Iterable[str] | Mapping[str, Iterable[str]] | None = None,
    parallel_text: Iterable[tuple[str, str]] | None = None,
    donor: str | os.PathLike | tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None,
    hub_kwargs: dict[str, Any] | None = None,
    run: Run | None = None,
) -> Inputs:
    """Reads and checks everything but the source's weights; arguments and errors as `OfaInitializer.from_pretrained`.

    Raises:
        MemoryError: the machine clearly hasn't enough, as far as sizes are known; before word vectors are read where
            tokenizers and configuration tell it.
    """
    hub_kwargs, run = hub_kwargs or {}, run or Run()
    if isinstance(target_text, str):
        raise ValueError("target_text is one string, but must be lines of text: pass a list, or an open file.")
    given = {
        "word_vectors": word_vectors,
        "target_text": target_text,
        "parallel_text": parallel_text,
        "donor": donor,
    }
    method = find_method(settings.method)
    method.check({name for name, value in given.items() if value is not None}, settings.method_settings or {})
    access = {name: hub_kwargs[name] for name in ("token", "cache_dir") if name in hub_kwargs}
    # A revision is one of the source's repository, and of its tokenizer where that lies there.
    beside = ("revision", "trust_remote_code") if source_tokenizer is None else ()
    source_access = {**access, **{name: hub_kwargs[name] for name in beside if name in hub_kwargs}}
    with run("load"):
        config = source.config if isinstance(source, PreTrainedModel) else load_config(source, hub_kwargs)
        source_class = model_class(source, config, hub_kwargs)
        settings.check_source(source_class, config)
        target = _load_tokenizer(target_tokenizer, "target_tokenizer", access)
        original = _load_tokenizer(*_source_tokenizer(source, source_tokenizer, config), source_access)
        if settings.new_languages:
            target = add_language_codes(target, settings.new_languages)
        # Text that can't be read fails here, before the long work.
        by_language = {}
        if isinstance(target_text, Mapping):
            by_language = {language: list(some) for language, some in target_text.items()}
            target_text = itertools.chain.from_iterable(by_language.values())
        lines = None if target_text is None else list(target_text)
        text = None if lines is None else run.read_once("target_text", lambda: read_target_text(target, lines))
        notes = []
        if text is not None and target.is_fast:
            notes = merged_words_notes(target, {"target_text": text.sample}, "target_tokenizer")
            for note in notes:
                logger.warning(note)
        if settings.embedding_size is None:  # factorized models have types of their own, which choose no tokenizer
            check_tokenizer(target, config, text=lines or (), name="target_tokenizer")
        pairs = None if parallel_text is None else _read_pairs(parallel_text)
    with run("word vectors"):
        word_vectors = WordVectors.none() if word_vectors is None else word_vectors
        known = word_vectors if isinstance(word_vectors, WordVectors) else None
        refuse_too_little_memory(needed_memory(settings, config, len(target), known))
        vectors = WordVectors.load(word_vectors, **access) if known is None else known
        for languages in (settings.source_languages, settings.target_languages) if len(vectors) else ():
            vectors.select(languages, settings.max_words)  # an unknown language fails here
        refuse_too_little_memory(needed_memory(settings, config, len(target), vectors))
        rules = settings.choose_rules(
            vectors,
            language_model_loader(source_class.__name__) is not None,
            not settings.source_languages and _of_many_scripts(original),
        )
        fallback = method.fallback_with(settings.method_settings or {})
        notes += note_headless(source, source_class, source_access)
        rules = replace(rules, fallback=fallback, notes=(*rules.notes, *notes))
    with run("load"):
        other = None if donor is None else _load_donor(donor, access)
    return Inputs(
        source,
        config,
        source_class,
        original,
        target,
        vectors,
        lines,
        text,
        pairs,
        other,
        rules,
        hub_kwargs,
        source_access,
        by_language,
    )


def _of_many_scripts(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer was made for many languages: three scripts or more have pieces of words, not letters alone."""
    if not tokenizer.is_fast:
        return False
    forms = Vocabulary.from_tokenizer(tokenizer).forms
    pieces = [piece for form in forms if form and len(piece := form.decode("utf-8", "ignore").strip()) > 1]
    scripts, counts = np.unique(scripts_of(pieces), return_counts=True)
    return int((counts[scripts != NO_LETTERS] >= max(_FEWEST_PIECES, len(pieces) / 200)).sum()) >= 3


def _read_pairs(parallel_text: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    pairs = list(parallel_text)
    for number, pair in enumerate(pairs):
        if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(side, str) for side in pair):
            raise ValueError(
                f"parallel_text must be pairs (line, translation), but item {number} is {str(pair)[:60]!r}."
            )
    if not pairs:
        raise ValueError("parallel_text is empty; pass pairs (line, translation).")
    return pairs


def _load_donor(
    donor: str | os.PathLike | tuple[PreTrainedModel, PreTrainedTokenizerBase], access: dict[str, Any]
) -> Donor:
    if isinstance(donor, tuple):
        model, tokenizer = donor
    else:
        tokenizer = _load_tokenizer(donor, "donor", access)
        config = load_config(donor, access, "donor")
        with reading_weights("donor", donor):
            model = model_class(donor, config).from_pretrained(donor, **{"trust_remote_code": False, **access})
    embeddings = token_table(model)
    check_rows(len(embeddings), tokenizer, model)
    check_finite(model, "donor", type(model).__name__ if isinstance(donor, tuple) else donor)
    return Donor(tokenizer, embeddings.float())


def read_source(inputs: Inputs, settings: InitializationSettings, run: Run) -> Source:
    """Reads the source's weights, and checks that its tokenizer fits them.

    Raises:
        ValueError: a damaged checkpoint; embeddings that aren't found, or don't fit the tokenizer; something else that
            depends on the vocabulary in a way that isn't known; a special token that the target lacks and the model needs.
    """
    with run("load"):
        model = take_source(
            inputs.source,
            inputs.source_class,
            inputs.hub_kwargs,
        )
    embeddings = find_embeddings(model)
    if settings.embedding_size is not None:
        check_factorizable(embeddings)
    check_rows(embeddings.rows, inputs.source_tokenizer, model)
    special = plan_special_tokens(model, embeddings.rows, inputs.source_tokenizer, inputs.target_tokenizer)
    name = str(getattr(inputs.config, "_name_or_path", "") or type(model).__name__)
    facts = {
        "name": name,
        "license": source_license(inputs.source, name, inputs.source_access),
        "class": type(model).__name__,
        "tokens": len(inputs.source_tokenizer),
        "rows": embeddings.rows,
        "hidden_size": embeddings.hidden_size,
        "parameters": model.num_parameters(),
        "bytes": count_bytes(model),
        "embedding_parameters": embeddings.input.numel()
        + (embeddings.output.numel() if embeddings.output is not None else 0),
    }
    return Source(model, embeddings, special, facts, read_sentence_modules(inputs.source, inputs.source_access))


def read_sentence_modules(source: Any, access: dict[str, Any]) -> SentenceModules | None:
    """Those that lie with the source, also with the folder that a loaded model came from."""
    if isinstance(source, PreTrainedModel):
        source = getattr(source.config, "_name_or_path", "")
        if not os.path.isdir(source):
            return None
    return SentenceModules.read(source, access)


def note_headless(source: Any, source_class: type[PreTrainedModel], access: dict[str, Any]) -> list[str]:
    """What a person should know of a source without language-modelling head; nothing for others."""
    if language_model_loader(source_class.__name__) is not None:
        return []
    if not (source_class is AutoModel or source_class.__name__.endswith("Model")):
        return []  # it has another head
    if read_sentence_modules(source, access) is not None:
        return [
            "The source is a sentence encoder: it has no language-modelling head, and the result has none. Its pooling "
            "and the modules after it are carried along. To train it, give translations (`ofa pretrain --parallel`): "
            "each side then learns the source's vector of the line."
        ]
    return [
        f"The source ({source_class.__name__}) has no language-modelling head, and the result has none. `ofa pretrain` "
        "fits a new head first, with the body as it is; with translations (--parallel) it draws both sides to the source's "
        "vector of the line, and needs none."
    ]


def check_rows(rows: int, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    """Rows beyond the tokens are padding. Tokens beyond the rows may only be added ones that the model never saw."""
    vocabulary = tokenizer.get_vocab()
    tokens = max(vocabulary.values()) + 1
    if rows > tokens + max(_MOST_PADDING_ROWS, tokens // 50):
        raise ValueError(
            f"The source's embeddings have {rows} rows, but source_tokenizer has {tokens} tokens: too many to be "
            "padding. Pass the tokenizer that belongs to the source as source_tokenizer."
        )
    if rows < tokens:
        added = set(tokenizer.get_added_vocab().values())
        beyond = {index for index in vocabulary.values() if index >= rows}
        if not beyond <= added:
            raise ValueError(
                f"The source's embeddings have {rows} rows, but source_tokenizer has {tokens} tokens, and "
                f"{len(beyond - added)} of those without a row are ordinary ones. Pass the tokenizer that belongs to "
                "the source as source_tokenizer."
            )
        logger.warning("%d added tokens of source_tokenizer have no row in %s.", len(beyond), type(model).__name__)


def _source_tokenizer(source: Any, source_tokenizer: Any, config: PreTrainedConfig) -> tuple[Any, str]:
    if source_tokenizer is not None:
        return source_tokenizer, "source_tokenizer"
    if not isinstance(source, PreTrainedModel):
        return source, "source"
    if not getattr(config, "_name_or_path", ""):
        raise ValueError("source is a model without a name or folder; pass its tokenizer as source_tokenizer.")
    return config._name_or_path, "source"


def _load_tokenizer(tokenizer: Any, argument: str, access: dict[str, Any]) -> PreTrainedTokenizerBase:
    if isinstance(tokenizer, PreTrainedTokenizerBase):
        return tokenizer
    remedy = "Pass a loaded tokenizer" + (" as source_tokenizer." if argument == "source" else ".")
    bare = bare_sentencepiece(tokenizer)
    if bare is not None:
        return load_sentencepiece(bare)
    return load_tokenizer(tokenizer, argument, remedy, **access)
