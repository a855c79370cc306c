"""`InitializationSettings`: what decides an initialisation beside its inputs; checked, completed, written and read here."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from transformers.utils import logging

from ..vectors import WordVectors


if TYPE_CHECKING:  # a mapping has no need of models, whose import takes seconds
    from transformers import PreTrainedConfig, PreTrainedModel


logger = logging.get_logger(__name__)

# How words are weighted in the means that are the vectors of subwords -> weights from frequencies.
WORD_WEIGHTINGS = {"uniform": None, "sqrt_frequency": np.sqrt}
# Which tokens that both vocabularies have are copied.
OVERLAPS = ("all", "used_by_source")
# Whose embeddings the primitives of a factorized model are made for.
PRIMITIVES = ("source", "target")
# Rows of target tokens that can neither be copied nor composed.
FALLBACKS = ("normal", "multivariate_normal", "mean", "zeros")
# The offset of languages for a model that is to be trained further as a language model.
LANGUAGE_OFFSET = 0.2

# Other names of settings: the options of `ofa adapt`, as `ofa_run.yaml` has them.
_OPTIONS = {
    "size": "embedding_size",
    "source_language": "source_languages",
    "target_language": "target_languages",
    "method_setting": "method_settings",
    "add_language": "new_languages",
}
# What lies beside the settings in `ofa_run.yaml` and in a report: inputs, the record of the run, an outcome.
_NO_SETTINGS = (
    "source",
    "tokenizer",
    "trim",
    "vectors",
    "target_text",
    "parallel",
    "donor",
    "trust_remote_code",
    "output",
    "record",
    "head_bias",
    "output_rows",
)


@dataclass(frozen=True)
class Rules:
    """What `InitializationSettings.choose_rules` chose; `notes` say why, where it isn't what the evidence favours."""

    word_weighting: str
    overlap: str
    language_offset: float = 0.0
    primitives: str = "target"
    notes: tuple[str, ...] = ()
    fallback: str = "normal"


@dataclass(frozen=True)
class InitializationSettings:
    """The settings of [`OfaInitializer.from_pretrained`], which says what they mean; its inputs are not among them.

    Once built, every value is one that an initialisation can have; what depends on the inputs is checked by
    `check_source` and `choose_rules`.

    Attributes:
        unknown: settings of a newer version, kept as they were read, without effect.

    Raises:
        ValueError: a value out of range, or one that authors_compatible rules out.
    """

    embedding_size: int | None = None
    method: str = "ofa"
    method_settings: Mapping[str, Any] | None = field(default=None, hash=False)
    source_languages: tuple[str, ...] | None = None
    target_languages: tuple[str, ...] | None = None
    num_neighbors: int = 10
    temperature: float = 0.1
    fuzzy_match: bool = True
    fallback: str | None = None
    max_words: int | None = None
    word_weighting: str | None = None
    overlap: str | None = None
    language_offset: float | None = None
    primitives: str | None = None
    authors_compatible: bool = False
    new_languages: Mapping[str, str] | None = field(default=None, hash=False)
    seed: int = 114514
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        for name in ("source_languages", "target_languages"):
            object.__setattr__(self, name, codes_of(getattr(self, name)))
        _check_at_least("num_neighbors", self.num_neighbors, 1, "must be at least 1 (the paper uses 10).")
        if not self.temperature > 0 or not np.isfinite(self.temperature):
            raise ValueError(f"temperature is {self.temperature}, but must be a positive number (the paper uses 0.1).")
        if self.max_words is not None:
            _check_at_least("max_words", self.max_words, 1, "at least one word is needed; pass None for all words.")
        _check_at_least("seed", self.seed, 0, "must be at least 0.")
        object.__setattr__(self, "method_settings", dict(self.method_settings) if self.method_settings else None)
        object.__setattr__(self, "new_languages", dict(self.new_languages) if self.new_languages else None)
        if self.fallback is not None:
            check_fallback(self.fallback)
        for name, known in (("word_weighting", WORD_WEIGHTINGS), ("overlap", OVERLAPS), ("primitives", PRIMITIVES)):
            if getattr(self, name) is not None:
                _check_name(name, getattr(self, name), known)
        check_language_offset(self.language_offset or 0.0)
        if self.authors_compatible:
            self._check_published()

    def _check_published(self) -> None:
        if self.method != "ofa":
            raise ValueError(
                f"authors_compatible=True gives what the published OFA gives, which is no method={self.method!r}; leave "
                "one of the two out."
            )
        chosen = [f"word_weighting={self.word_weighting!r}"] if self.word_weighting not in (None, "uniform") else []
        chosen += [f"overlap={self.overlap!r}"] if self.overlap not in (None, "all") else []
        chosen += [f"language_offset={self.language_offset}"] if self.language_offset else []
        chosen += [f"primitives={self.primitives!r}"] if self.primitives == "target" else []
        chosen += [f"new_languages={self.new_languages}"] if self.new_languages else []
        if chosen:
            raise ValueError(
                f"authors_compatible=True gives what the published code gives, which has no {' and no '.join(chosen)}; "
                "leave one of the two out."
            )

    def check_source(self, source_class: "type[PreTrainedModel]", config: "PreTrainedConfig") -> None:
        """Raises ValueError for an embedding_size that a source of this class and configuration can't have."""
        if self.embedding_size is None:
            return
        from ..models.checkpoints import factorized_class

        factorized = factorized_class(source_class)  # raises for an architecture that doesn't factorize
        hidden_size = config.get_text_config().hidden_size
        if factorized.config_class.size_field != "embedding_size":  # a table of its own width: ALBERT's, ELECTRA's
            hidden_size = getattr(config, "embedding_size", hidden_size)
        is_integer = isinstance(self.embedding_size, int) and not isinstance(self.embedding_size, bool)
        if not (is_integer and 1 <= self.embedding_size <= hidden_size):
            raise ValueError(
                f"embedding_size must be an integer between 1 and the source's hidden size, {hidden_size}, but is "
                f"{self.embedding_size!r}. The paper uses 100, 200 and 400 of 768; None keeps the full size."
            )

    def choose_rules(
        self, word_vectors: WordVectors, language_model: bool = False, multilingual: bool = False
    ) -> Rules:
        """The rules that hold: for those that are None the ones that make the better rows, where the inputs allow them.

        Weighting needs word frequencies, and the filter of overlapping tokens these and the languages of the source.
        The evidence is in examples/initialization_study: the filter helps only together with the weighting, and only
        a source of one language. A language model of known languages gets a language offset, for that is what it
        learns fastest from (examples/replication); a model without such a head doesn't, since an offset costs it
        retrieval. Primitives are made for the target's rows, since these then lose less at the same size (there, too).

        Args:
            word_vectors: with or without frequencies.
            language_model: whether the source has the head of one.
            multilingual: whether the source is one of many languages, so that it isn't asked which.

        Raises:
            ValueError: a rule that is asked for, but lacks what it needs; frequencies that are none.
        """
        if self.authors_compatible:
            return Rules("uniform", "all", self.language_offset or 0.0, "source")
        if not len(word_vectors):
            return self._rules_without_words()
        weighting, overlap, offset = self.word_weighting, self.overlap, self.language_offset
        has_frequencies = word_vectors.frequencies is not None
        asked = [f"word_weighting={weighting!r}"] if weighting and WORD_WEIGHTINGS[weighting] else []
        asked += [f"overlap={overlap!r}"] if overlap not in (None, "all") else []
        if asked and not has_frequencies:
            raise ValueError(
                f"{' and '.join(asked)} needs word frequencies, but these word vectors have none. Build them with "
                "WordVectors.from_parallel, which keeps frequencies, or set WordVectors(..., frequencies=...)."
            )
        if overlap not in (None, "all") and not self.source_languages:
            raise ValueError(
                f"overlap={overlap!r} needs source_languages: which languages the source was trained on, for example "
                "['eng']."
            )
        notes = []
        if weighting is None:
            weighting = "sqrt_frequency" if has_frequencies else "uniform"
            if not has_frequencies:
                notes.append(
                    "The word vectors have no frequencies, so every word counts alike (word_weighting='uniform'). "
                    "Frequencies would make better rows."
                )
        if overlap is None:
            overlap = "all"
            if weighting != "uniform" and not self.source_languages and not multilingual:
                notes.append(
                    "source_languages is not given, so every token that both vocabularies have is copied, false "
                    "friends included (overlap='all'). For a source of one language, naming it would make better rows."
                )
            elif weighting != "uniform" and len(self.source_languages or ()) == 1:
                overlap = "used_by_source"
        if offset is None:
            offset = LANGUAGE_OFFSET if language_model and self.source_languages else 0.0
        if weighting != "uniform" or overlap != "all":
            word_vectors.check_frequencies()
        for note in notes:
            logger.warning(note)
        return Rules(weighting, overlap, offset, self.primitives or "target", tuple(notes))

    def _rules_without_words(self) -> Rules:
        asked = {name: getattr(self, name) for name in ("word_weighting", "overlap", "language_offset")}
        if chosen := [
            f"{name}={value!r}" for name, value in asked.items() if value not in (None, "uniform", "all", 0)
        ]:
            raise ValueError(f"{' and '.join(chosen)} needs word vectors; pass word_vectors, or leave it out.")
        return Rules("uniform", "all", 0.0, self.primitives or "target")

    def with_rules(self, rules: Rules) -> "InitializationSettings":
        """The settings with nothing left open: what holds, as the report has it. At full size there are no primitives."""
        return replace(
            self,
            word_weighting=rules.word_weighting,
            overlap=rules.overlap,
            language_offset=rules.language_offset,
            fallback=self.fallback or rules.fallback,
            primitives=None if self.embedding_size is None else rules.primitives,
        )

    def count_words(self, word_vectors: WordVectors) -> int:
        """Words that are used, of languages that are all."""
        return len(word_vectors) if self.max_words is None else min(self.max_words, len(word_vectors))

    def arguments(self) -> dict[str, Any]:
        """The settings as arguments of `OfaInitializer.from_pretrained`."""
        return {name: getattr(self, name) for name in _names()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML."""
        known = {name: list(value) if isinstance(value, tuple) else value for name, value in self.arguments().items()}
        return {**known, **self.unknown}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "InitializationSettings":
        """The settings that `to_dict`, a report's `settings` or the content of an `ofa_run.yaml` hold.

        What else these hold (inputs, the record of the run) is passed over; None stands for the default. A key that
        this version doesn't know is kept in `unknown`, with a warning.

        Raises:
            ValueError: as the constructor.
        """
        named = {_OPTIONS.get(key, key): value for key, value in values.items() if key not in _NO_SETTINGS}
        unknown = {key: value for key, value in named.items() if key not in _names()}
        if unknown:
            logger.warning(
                "Settings that this version of ofa-transformers doesn't know have no effect: %s. They may be a newer "
                "version's.",
                ", ".join(unknown),
            )
        given = {key: value for key, value in named.items() if key not in unknown and value is not None}
        for name in (
            "source_languages",
            "target_languages",
            "method_settings",
            "new_languages",
        ):  # an option that wasn't given is empty
            given[name] = given.get(name) or None
        if isinstance(given["method_settings"], (list, tuple)):
            given["method_settings"] = dict(map(named_value, given["method_settings"]))
        if isinstance(given["new_languages"], (list, tuple)):
            given["new_languages"] = dict(map(_new_language, given["new_languages"]))
        return cls(**given, unknown=unknown)

    @classmethod
    def from_report(cls, report: Any) -> "InitializationSettings":
        """The settings that held in the initialisation that an [`OfaReport`] tells about."""
        return cls.from_dict(report.settings)


def check_fallback(fallback: str) -> None:
    """Raises ValueError for a name that isn't one of `FALLBACKS`."""
    _check_name("fallback", fallback, FALLBACKS)


def check_language_offset(language_offset: float) -> None:
    """Raises ValueError for a negative or infinite offset."""
    if not (np.isfinite(language_offset) and language_offset >= 0):
        raise ValueError(
            f"language_offset is {language_offset}, but must be 0 (none) or a positive share of the mean norm of the "
            "source's rows, such as 0.2."
        )


def _names() -> list[str]:
    return [entry.name for entry in fields(InitializationSettings) if entry.name != "unknown"]


def codes_of(languages: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Codes; one string may name several with commas between."""
    if languages is None:
        return None
    given = [languages] if isinstance(languages, str) else languages
    return tuple(sorted({code.strip() for value in given for code in value.split(",") if code.strip()}))


def pivot_of_source(languages: Sequence[str] | None) -> str:
    """What translations are paired with: English, where the source knows it or nothing is said; else the first language."""
    return "eng" if not languages or "eng" in languages else languages[0]


def named_value(setting: str) -> tuple[str, Any]:
    """Name and value of `name=value`, the value as YAML has it."""
    name, mark, value = setting.partition("=")
    if not mark or not name:
        raise ValueError(f"method_settings: {setting!r} must be NAME=VALUE, for example atoms=32.")
    return name, yaml.safe_load(value)


def _new_language(option: str) -> tuple[str, str]:
    """The code and its relative of `CODE:like=TOKEN`."""
    code, mark, relative = option.partition(":like=")
    if not (code and mark and relative):
        raise ValueError(f"new_languages: {option!r} must be CODE:like=TOKEN, for example xyz_Latn:like=swh_Latn.")
    return code, relative


def _check_at_least(name: str, value: Any, least: int, otherwise: str) -> None:
    try:
        whole = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} is {value!r}, but must be an integer.") from None
    if whole < least:
        raise ValueError(f"{name} is {value}, but {otherwise}")


def _check_name(name: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(map(repr, known))}.")
