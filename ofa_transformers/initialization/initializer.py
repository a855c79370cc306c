"""`OfaInitializer`: from a pretrained model, a target tokenizer and word vectors to a checkpoint (OFA, section 3)."""

import copy
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from huggingface_hub import EvalResult
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..models.factorization import truncation_errors
from ..models.surgery import (
    factorized_class,
    factorized_model,
    find_embeddings,
    is_empty,
    language_model_loader,
    load_config,
    model_class,
    take_source,
    with_new_embeddings,
)
from ..report import (
    PAGE_FILE,
    REPORT_FILE,
    OfaReport,
    count_languages,
    count_tokens,
    find_warnings,
    measure_rows,
    model_card,
    source_license,
    write_page,
)
from ..scoring.batching import longest_input
from ..utils.files import new_folder
from ..utils.hub import CARD_FILE, push_folder
from ..utils.memory import check_memory, estimate_memory
from ..utils.progress import stage
from ..vectors import WordVectors
from .factors import Factorizer
from .head_bias import TargetText, calibrate_bias, make_bias, read_target_text
from .mapping.build import as_list, build_mapping, check_settings
from .mapping.language_offset import mean_norm
from .mapping.rules import Rules, choose_rules
from .mapping.token_mapping import TokenMapping
from .special_tokens import set_special_tokens


logger = logging.get_logger(__name__)

# Rows that a model may have beyond its tokenizer's tokens and still be taken for padded (Qwen2: 267, T5: 28).
_MOST_PADDING_ROWS = 1024


class OfaInitializer:
    """A pretrained model with the vocabulary of another tokenizer, ready for continued pretraining.

    Build it with [`OfaInitializer.from_pretrained`].

    Attributes:
        model (`PreTrainedModel`): the adapted model. At full size it keeps its class; factorized it is an Ofa* class
            with the same head.
        tokenizer (`PreTrainedTokenizerBase`): the target tokenizer; its `model_max_length` is no more than the model takes.
        mapping (`TokenMapping`): how every row was made.
        report (`OfaReport`): counts, timings, and `report.explain(token)`.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, mapping: TokenMapping, report: OfaReport
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.mapping = mapping
        self.report = report

    def __repr__(self) -> str:
        return f"OfaInitializer(model={type(self.model).__name__}, mapping={self.mapping!r})"

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike | PreTrainedModel,
        *,
        target_tokenizer: str | os.PathLike | PreTrainedTokenizerBase,
        word_vectors: str | os.PathLike | WordVectors,
        embedding_size: int | None = None,
        source_tokenizer: str | os.PathLike | PreTrainedTokenizerBase | None = None,
        source_languages: Iterable[str] | None = None,
        target_languages: Iterable[str] | None = None,
        num_neighbors: int = 10,
        temperature: float = 0.1,
        fuzzy_match: bool = True,
        fallback: str = "normal",
        max_words: int | None = None,
        word_weighting: str | None = None,
        overlap: str | None = None,
        language_offset: float | None = None,
        primitives: str | None = None,
        target_text: Iterable[str] | None = None,
        authors_compatible: bool = False,
        seed: int = 114514,
        device: torch.device | str | None = None,
        **hub_kwargs: Any,
    ) -> "OfaInitializer":
        """Adapts `source` to the vocabulary of `target_tokenizer` with OFA (Liu et al., 2024, section 3).

        Input embeddings, output embeddings where they are untied, and a head's bias are made by one mapping. The body
        is copied.

        Args:
            source: a Hub id, a folder, or a loaded model, which is left as it is.
            target_tokenizer: a Hub id, a folder, or a fast tokenizer. It becomes the tokenizer of the checkpoint.
            word_vectors: a file, a folder, a Hub id, or [`WordVectors`], aligned over the languages of both.
            embedding_size: D', the rank of the factorization E ≈ F P, from 1 to the hidden size. None keeps the full
                size, and with it the class of the source.
            source_tokenizer: as `target_tokenizer`; by default the one that lies with the source.
            source_languages, target_languages: ISO 639-3 codes of the languages whose words count for the subwords of
                either tokenizer; all by default.
            num_neighbors: k, the source subwords that a composed row is made of.
            temperature: of the softmax over their cosines.
            fuzzy_match: match tokens also without regard to case.
            fallback: rows that are neither copied nor composed: "normal" (drawn with the mean and standard deviation of
                the source's columns, as in the paper), "mean", or "zeros".
            max_words: take only so many words, from the first on.
            word_weighting: of the words in a subword's mean: "uniform", as in the paper, or "sqrt_frequency", which
                needs word vectors with frequencies. By default the second where they have them; the report says which.
            overlap: which tokens of both vocabularies are copied: "all", as in the paper, or those "used_by_source",
                which leaves out false friends (German "die" is no English "die"); needs frequencies and
                source_languages. By default the second where words are weighted by frequency and source_languages names
                one language; a source of many gains nothing.
            language_offset: g. Adds to each composed row a vector of g times the mean norm of the source's rows, with
                a random direction for each language (the one whose words use the token most; none for a language of
                the source), because the rows of translations are nearly equal, so that a masked LM cannot tell in
                which language to answer. Applies to input and output embeddings, factorized or not. By default 0.2 for
                a masked or causal language model where source_languages names its languages, which then learns much
                faster, and 0 otherwise: it costs retrieval (examples/replication).
            primitives: of a factorized model. "target", the default: made for the rows of the target's tokens, the
                frequent ones most of all, which lose much less at the same size (examples/replication); frequencies are
                those of target_text, or else of the word vectors. "source", as in the paper: the SVD of the source's
                embeddings.
            target_text: a sample of the text to train on, some thousand lines of each language. The head's bias then is
                not carried over, but set so that the model predicts each target token about as often as this text has
                it, which takes a forward pass over some of it. Primitives are made for it, too.
            authors_compatible: give what the published code gives, accidents included: unk and uncovered subwords may
                be neighbours, special tokens match by spelling, a factorized head's bias is random, one at full size
                carried by position.
            seed: of the fallback rows.
            device: where neighbours and factorization are computed; a GPU if there is one by default. The model stays
                where it is.
            **hub_kwargs: handed on to the loading of the source: `revision`, `token`, `cache_dir`, `dtype`,
                `trust_remote_code`, ... (`token` and `cache_dir` also to that of tokenizers and vectors).

        Returns:
            [`OfaInitializer`]

        Raises:
            ValueError: an argument out of range, or one that authors_compatible rules out; a weighting or filter that
                lacks frequencies or source_languages; a target_text without text; a source whose embeddings aren't
                found, or don't fit its tokenizer; an embedding_size for an architecture that doesn't factorize; word
                vectors or a checkpoint that are damaged; a language that no word has.
            FileNotFoundError, OSError: something that isn't there.
        """
        clock = Clock()
        shared = hub_kwargs.pop("_shared", None) or _Shared()
        inputs = read_inputs(
            source,
            target_tokenizer=target_tokenizer,
            word_vectors=word_vectors,
            embedding_size=embedding_size,
            source_tokenizer=source_tokenizer,
            source_languages=source_languages,
            target_languages=target_languages,
            num_neighbors=num_neighbors,
            temperature=temperature,
            fallback=fallback,
            max_words=max_words,
            word_weighting=word_weighting,
            overlap=overlap,
            language_offset=language_offset,
            primitives=primitives,
            target_text=target_text,
            authors_compatible=authors_compatible,
            hub_kwargs=hub_kwargs,
            clock=clock,
            shared=shared,
        )
        config, source_class, rules = inputs.config, inputs.source_class, inputs.rules
        original, target, words = inputs.original, inputs.target, inputs.words
        source_languages, target_languages = inputs.source_languages, inputs.target_languages
        with clock("load"):
            model = take_source(source, source_class, hub_kwargs, share_embeddings=embedding_size is not None)
        embeddings = find_embeddings(model)
        check_rows(embeddings.rows, original, model)
        if shared.mapping is None:
            num_words = len(words) if max_words is None else min(max_words, len(words))
            check_memory(
                estimate_memory(
                    embeddings.rows,
                    len(target),
                    num_words,
                    words.dimension,
                    embeddings.hidden_size,
                    embedding_size,
                    matrices=1 if embeddings.output is None else 2,
                )
            )

        with clock("mapping"):
            mapping = shared.mapping or build_mapping(
                original,
                target,
                words,
                num_source_rows=embeddings.rows,
                source_languages=source_languages,
                target_languages=target_languages,
                num_neighbors=num_neighbors,
                temperature=temperature,
                fuzzy_match=fuzzy_match,
                max_words=max_words,
                word_weighting=rules.word_weighting,
                overlap=rules.overlap,
                authors_compatible=authors_compatible,
                device=device,
            )

        shared.target, shared.original, shared.words, shared.mapping = target, original, words, mapping
        if shared.factorizer is None:
            shared.factorizer = Factorizer(
                mapping,
                rules.primitives,
                text=shared.text,
                published=authors_compatible,
                device=device,
                largest_size=shared.largest_size,
            )

        name = str(getattr(config, "_name_or_path", "") or type(model).__name__)
        described = {
            "name": name,
            "license": source_license(source, name, inputs.source_access),
            "class": type(model).__name__,
            "tokens": len(original),
            "rows": embeddings.rows,
            "hidden_size": embeddings.hidden_size,
            "parameters": model.num_parameters(),
            "embedding_parameters": embeddings.input.numel()
            + (embeddings.output.numel() if embeddings.output is not None else 0),
        }
        errors: dict[str, float] | None = None if embedding_size is None else {}
        rows: dict[str, torch.Tensor] = {}
        factors: dict[str, torch.Tensor] = {}  # the primitives
        singular_values: dict[str, torch.Tensor] = {}
        for part, matrix in embeddings.matrices():
            norm = None
            if embedding_size is not None:
                with clock("factorization"):
                    if rules.language_offset:
                        norm = mean_norm(matrix.detach().cpu().numpy(), mapping.source_rows)
                    matrix, factors[part], singular_values[part] = shared.factorizer(part, matrix, embedding_size)
                    errors[part] = float(truncation_errors(singular_values[part].numpy())[embedding_size])
            with clock("rows"):
                rows[part] = mapping.apply(
                    matrix,
                    fallback,
                    seed,
                    language_offset=rules.language_offset,
                    primitives=factors.get(part),
                    source_norm=norm,
                )
        with clock("rows"):
            bias = make_bias(embeddings.bias, mapping, shared.text, authors_compatible, embedding_size, seed)

        with clock("report"):
            if shared.counts is None:
                shared.counts = (*count_tokens(mapping), *count_languages(mapping))
            total, by_script, by_language, unused = shared.counts
            figures, embedding_map = measure_rows(
                embeddings.input, rows["input"], factors.get("input"), mapping, singular_values, seed
            )

        with clock("model"):
            set_special_tokens(model, target, mapping)
            if embedding_size is None:
                model = with_new_embeddings(model, embeddings, rows, bias)
            else:
                model = factorized_model(model, embeddings, rows, factors, bias, embedding_size)
        head_bias = None if bias is None else "carried"
        if bias is not None and shared.text is not None:
            with clock("head bias"):
                head_bias = "calibrated" if calibrate_bias(model, target, shared.text) else "log_probability"
        report = OfaReport(
            source=described,
            target={
                "name": str(getattr(target, "name_or_path", "")),
                "class": type(model).__name__,
                "tokens": len(target),
                "rows": mapping.shape[0],
                "embedding_size": embedding_size,
                "parameters": model.num_parameters(),
                "embedding_parameters": sum(t.numel() for t in (*rows.values(), *factors.values())),
            },
            word_vectors={
                "words": len(words),
                "dimension": words.dimension,
                "languages": words.language_counts(),
                "unused": unused,
                "metadata": dict(words.metadata),
            },
            settings={
                **mapping.settings,
                "language_offset": rules.language_offset,
                "head_bias": head_bias,
                "primitives": None if embedding_size is None else rules.primitives,
                "fallback": fallback,
                "embedding_size": embedding_size,
                "seed": seed,
            },
            tokens=total,
            tokens_by_script=by_script,
            reconstruction_error=errors,
            seconds=clock.seconds,
            versions={
                p: version(p) for p in ("ofa-transformers", "transformers", "tokenizers", "torch", "numpy", "scipy")
            },
            warnings=[*find_warnings(total, by_script, by_language, unused, words.language_counts()), *rules.notes],
            tokens_by_language=by_language,
            matches=mapping.count_matches(),
            figures=figures,
            mapping=mapping,
            map=embedding_map,
        )
        logger.info("%s", report)
        return cls(model, _limited(target, model), mapping, report)

    @classmethod
    def each_size(
        cls,
        source: str | os.PathLike | PreTrainedModel,
        embedding_sizes: Sequence[int | None],
        **options: Any,
    ) -> Iterator["OfaInitializer"]:
        """Adapts `source` at several sizes for little more than the cost of one.

        Mapping and singular vectors are made once. The results are those of `from_pretrained` at each size, and
        have nothing but tokenizer and mapping in common:

            for adapted in OfaInitializer.each_size(source, [100, 200, 400, None], target_tokenizer=..., ...):
                adapted.save_pretrained(f"adapted-{adapted.report.target['embedding_size']}")
                del adapted  # before the next one is made, so that memory holds one at a time

        Args:
            source: as in `from_pretrained`.
            embedding_sizes: the sizes, each once; None is the full one.
            **options: the other arguments of `from_pretrained`.

        Raises:
            ValueError, FileNotFoundError, OSError: as `from_pretrained`; all sizes are checked at the start.
        """
        sizes = list(embedding_sizes)
        if not sizes or len(set(sizes)) < len(sizes):
            raise ValueError(f"embedding_sizes must name one size or more, each once, but is {sizes}.")
        config = source.config if isinstance(source, PreTrainedModel) else load_config(source, options)
        for size in sizes:
            _check_embedding_size(size, model_class(source, config), config)
        factorized = [size for size in sizes if size is not None]
        shared = _Shared(largest_size=max(factorized) if len(factorized) > 1 else None)
        return (cls.from_pretrained(source, embedding_size=size, _shared=shared, **options) for size in sizes)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        overwrite: bool = False,
        report_page: bool = True,
        eval_results: Sequence[EvalResult] | None = None,
        **kwargs: Any,
    ) -> None:
        """Writes model, tokenizer, report and model card to a folder that `AutoModel*` and `AutoTokenizer` load.

        Everything is written to a temporary folder beside it first, so that the folder is whole or absent, and what
        was there survives a failure.

        Args:
            save_directory: the folder.
            overwrite: replace the folder if it has content.
            report_page: write report.html beside ofa_report.json: pictures, and where each token came from.
            eval_results: what was measured, for the card's table and the Hub's `model-index`
                ([`huggingface_hub.EvalResult`]).
            **kwargs: handed on to the model's `save_pretrained`, for example `max_shard_size`.

        Raises:
            FileExistsError: the folder has content and `overwrite` is False.
            OSError: the disk is full, or the folder can't be written.
        """
        with new_folder(save_directory, overwrite) as folder:
            self._write(folder, report_page, eval_results, **kwargs)
        logger.info("Saved the adapted model to %s", save_directory)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str = "Model adapted with OFA",
        report_page: bool = True,
        eval_results: Sequence[EvalResult] | None = None,
        max_shard_size: int | str = "5GB",
        **kwargs: Any,
    ) -> str:
        """Uploads what `save_pretrained` writes, as one commit.

        An upload that broke off is resumed by calling this again: files that have arrived aren't sent twice.

        Args:
            repo_id: `user/name` on the Hub; created if it doesn't exist.
            private, token, revision, commit_message: as in [`push_folder`].
            report_page, eval_results: as in `save_pretrained`.
            max_shard_size: of a file of weights. Small ones lose little where the connection breaks.
            **kwargs: handed on to the model's `save_pretrained`.

        Returns:
            The address of the commit.

        Raises:
            ConnectionError: the Hub refused, or the connection broke; says what to do.
        """
        with tempfile.TemporaryDirectory() as folder:
            self._write(folder, report_page, eval_results, max_shard_size=max_shard_size, **kwargs)
            return push_folder(
                folder, repo_id, private=private, token=token, revision=revision, commit_message=commit_message
            )

    def _write(
        self,
        folder: str | os.PathLike,
        report_page: bool,
        eval_results: Sequence[EvalResult] | None,
        **kwargs: Any,
    ) -> None:
        with stage("Writing model and report"):
            self.model.save_pretrained(folder, **kwargs)
            self.tokenizer.save_pretrained(folder)
            self.report.save(os.path.join(folder, REPORT_FILE))
            if report_page:
                write_page(self.report, os.path.join(folder, PAGE_FILE))
            model_card(self.report, eval_results=eval_results).save(os.path.join(folder, CARD_FILE))


@dataclass
class _Shared:
    """What adaptations of one source at several sizes have in common, once the first of them has made it."""

    target: PreTrainedTokenizerBase | None = None
    original: PreTrainedTokenizerBase | None = None
    words: WordVectors | None = None
    text: TargetText | None = None
    mapping: TokenMapping | None = None
    counts: tuple | None = None
    factorizer: Factorizer | None = None
    largest_size: int | None = None  # of several


class Clock:
    """Wall time by phase, in seconds; shows the phase that runs."""

    _SHOWN = {
        "load": "Loading source and tokenizers",
        "word vectors": "Reading word vectors",
        "mapping": "Mapping tokens",
        "factorization": "Factorizing embeddings",
        "rows": "Making rows",
        "report": "Measuring rows",
        "model": "Putting the model together",
        "head bias": "Fitting the head's bias",
    }

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        with stage(self._SHOWN[phase]):
            yield
        self.seconds[phase] = round(self.seconds.get(phase, 0.0) + time.perf_counter() - start, 3)


@dataclass(frozen=True)
class Inputs:
    """What an adaptation starts from, read and checked, but for the source's weights.

    Attributes:
        config, source_class: of the source.
        source_access: arguments for the loading of what lies beside the source.
        original, target: the tokenizers.
        words: the word vectors.
        source_languages, target_languages: lists, or None for all.
        rules: how words are weighted, which tokens are copied, and what else goes beyond the paper.
    """

    config: PreTrainedConfig
    source_class: type[PreTrainedModel]
    source_access: dict[str, Any]
    original: PreTrainedTokenizerBase
    target: PreTrainedTokenizerBase
    words: WordVectors
    source_languages: list[str] | None
    target_languages: list[str] | None
    rules: Rules


def read_inputs(
    source: Any,
    *,
    target_tokenizer: Any,
    word_vectors: Any,
    embedding_size: int | None,
    source_tokenizer: Any = None,
    source_languages: Iterable[str] | None,
    target_languages: Iterable[str] | None,
    num_neighbors: int,
    temperature: float,
    fallback: str,
    max_words: int | None,
    word_weighting: str | None,
    overlap: str | None,
    language_offset: float | None,
    primitives: str | None = None,
    target_text: Iterable[str] | None,
    authors_compatible: bool,
    hub_kwargs: dict[str, Any] | None = None,
    clock: Clock | None = None,
    shared: "_Shared | None" = None,
) -> Inputs:
    """All that `OfaInitializer.from_pretrained` checks before it loads the source's weights; raises what it raises."""
    hub_kwargs, clock, shared = hub_kwargs or {}, clock or Clock(), shared or _Shared()
    if isinstance(target_text, str):
        raise ValueError("target_text is one string, but must be lines of text: pass a list, or an open file.")
    check_settings(
        num_neighbors,
        temperature,
        fallback,
        word_weighting,
        overlap,
        language_offset,
        primitives,
        authors_compatible,
    )
    source_languages, target_languages = as_list(source_languages), as_list(target_languages)
    access = {name: hub_kwargs[name] for name in ("token", "cache_dir") if name in hub_kwargs}
    with clock("load"):
        config = source.config if isinstance(source, PreTrainedModel) else load_config(source, hub_kwargs)
        source_class = model_class(source, config)
        _check_embedding_size(embedding_size, source_class, config)
        target = _load_tokenizer(shared.target or target_tokenizer, "target_tokenizer", access)
        # A revision is one of the source's repository, and of its tokenizer where that lies there.
        beside = ("revision",) if source_tokenizer is None else ()
        source_access = {**access, **{name: hub_kwargs[name] for name in beside if name in hub_kwargs}}
        named = _source_tokenizer(source, shared.original or source_tokenizer, config)
        original = _load_tokenizer(*named, source_access)
        # Text that can't be read fails here, before the long work.
        if target_text is not None and shared.text is None:
            shared.text = read_target_text(target, target_text)
    with clock("word vectors"):
        words = shared.words or word_vectors
        if not isinstance(words, WordVectors):
            words = WordVectors.load(words, **access)
        for languages in (source_languages, target_languages):
            words.select(languages, max_words)  # an unknown language fails here, before the model is loaded
        rules = choose_rules(
            word_weighting,
            overlap,
            words,
            source_languages,
            authors_compatible,
            language_offset,
            language_model_loader(source_class.__name__) is not None,
            primitives,
        )
    return Inputs(
        config, source_class, source_access, original, target, words, source_languages, target_languages, rules
    )


def _check_embedding_size(
    embedding_size: int | None, source_class: type[PreTrainedModel], config: PreTrainedConfig
) -> None:
    if embedding_size is None:
        return
    factorized_class(source_class)  # raises for an architecture that doesn't factorize
    hidden_size = config.get_text_config().hidden_size
    is_integer = isinstance(embedding_size, int) and not isinstance(embedding_size, bool)
    if not (is_integer and 1 <= embedding_size <= hidden_size):
        raise ValueError(
            f"embedding_size must be an integer between 1 and the source's hidden size, {hidden_size}, but is "
            f"{embedding_size!r}. The paper uses 100, 200 and 400 of 768; None keeps the full size."
        )


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
    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer, **access)
    except Exception as error:  # tokenizer files that don't fit their class fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{argument}: no tokenizer could be loaded from {str(tokenizer)!r}. {remedy} ({reason})"
        ) from error
    if is_empty(loaded):
        raise ValueError(f"{argument}: {str(tokenizer)!r} holds no tokenizer. {remedy}")
    return loaded


def _limited(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer, or a copy of it that truncates to the model's positions where its own limit is beyond them."""
    longest = longest_input(model, tokenizer)
    if longest >= tokenizer.model_max_length:
        return tokenizer
    limited = copy.copy(tokenizer)
    limited.model_max_length = longest
    limited.init_kwargs = {**tokenizer.init_kwargs, "model_max_length": longest}
    return limited


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
