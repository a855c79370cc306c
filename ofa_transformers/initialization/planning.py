"""What an adaptation would make, from sizes alone: for `ofa adapt --dry-run`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from ..models.checkpoints import factorized_class, reading_weights
from ..models.embeddings import check_factorizable, find_embeddings
from ..models.modeling_ofa import OfaPreTrainedMixin
from ..tokenization.vocabulary import Vocabulary
from ..utils.memory import available_memory
from ..utils.precision import cpu_multiplies_bfloat16
from .inputs import check_rows, read_inputs
from .mapping.matches import match_tokens
from .memory import needed_memory, refuse_too_little_memory
from .output_rows import has_rows_of_states, seconds_to_read
from .run import Run
from .settings import InitializationSettings
from .sizes import sizes_of
from .special_tokens import plan_special_tokens


# CPU seconds and rates of one core, from jobs A, B and C in docs/performance.md, which they give within 10 %.
_START_SECONDS = 4.0
_SECONDS_PER_PARAMETER = 1.3e-8
_SECONDS_PER_TOKEN = 1.9e-5
_SECONDS_PER_WORD = 33e-6
_NEIGHBOR_RATES = {False: 2.5e10, True: 6.2e10}  # multiplications a second, with bfloat16 where the processor has it
_FACTORIZATION_RATE = 1.5e10
# Source tokens that occur in so many words: with 20 times the words 2.7 times as many.
_WITH_VECTORS, _OF_WORDS, _GROWTH = 57_000, 200_000, 0.34
# Two cores take this share of one core's time.
_TWO_CORES = 0.67


@dataclass(frozen=True)
class AdaptationPlan:
    """Sizes of an adaptation.

    Attributes:
        source_class, target_class: names of the model classes.
        source_tokens, target_tokens: of either tokenizer.
        shared_tokens: target tokens that the source has as well.
        words, dimension, languages: of the word vectors that are used.
        parameters, embedding_parameters: before and after.
        settings: those that would hold.
        memory: bytes at the peak: source, result, and the work between them.
        mapped: bytes of word vectors, which the system may take back.
        available: bytes of memory that are free now.
        disk: bytes of the weights to write.
        seconds: an estimate for two cores like those of docs/performance.md.
        notes: what a person should know, a sentence each.
    """

    source_class: str
    target_class: str
    source_tokens: int
    target_tokens: int
    shared_tokens: int
    words: int
    dimension: int
    languages: int
    parameters: tuple[int, int]
    embedding_parameters: tuple[int, int]
    settings: InitializationSettings
    memory: int
    mapped: int
    available: int
    disk: int
    seconds: float
    notes: tuple[str, ...] = ()


def plan_adaptation(
    source: Any,
    *,
    target_tokenizer: Any,
    word_vectors: Any = None,
    source_tokenizer: Any = None,
    target_text: Iterable[str] | Mapping[str, Iterable[str]] | None = None,
    parallel_text: Iterable[tuple[str, str]] | None = None,
    donor: Any = None,
    hub_kwargs: dict[str, Any] | None = None,
    **settings: Any,
) -> AdaptationPlan:
    """Reads and checks all that `OfaInitializer.from_pretrained` does, but for the source's weights.

    Args:
        source, target_tokenizer, word_vectors, source_tokenizer, target_text, parallel_text, donor, hub_kwargs: as there.
        **settings: of [`InitializationSettings`].

    Raises:
        MemoryError: the machine hasn't enough; and what `from_pretrained` raises.
    """
    run, chosen = Run(), InitializationSettings(**settings)
    inputs = read_inputs(
        source,
        target_tokenizer,
        word_vectors,
        chosen,
        source_tokenizer=source_tokenizer,
        target_text=target_text,
        parallel_text=parallel_text,
        donor=donor,
        hub_kwargs=hub_kwargs,
        run=run,
    )
    chosen = chosen.with_rules(inputs.rules)
    embedding_size = chosen.embedding_size
    words, num_words = inputs.word_vectors, chosen.count_words(inputs.word_vectors)
    model = without_weights(source, inputs.source_class, inputs.config, hub_kwargs or {})
    embeddings = find_embeddings(model)
    if embedding_size is not None:
        check_factorizable(embeddings)
    rows, hidden_size = embeddings.rows, embeddings.hidden_size
    check_rows(rows, inputs.source_tokenizer, model)
    special = plan_special_tokens(model, rows, inputs.source_tokenizer, inputs.target_tokenizer)
    target = Vocabulary.from_tokenizer(inputs.target_tokenizer, "target_tokenizer")
    matches = match_tokens(
        Vocabulary.from_tokenizer(inputs.source_tokenizer, "source_tokenizer"),
        target,
        num_source_rows=rows,
        relatives=chosen.new_languages,
    )
    shared = int((matches.source_ids >= 0).sum())

    sizes = sizes_of(model, embeddings, len(target), embedding_size, special.pad_ids)
    work = needed_memory(chosen, embeddings, len(target), words)
    refuse_too_little_memory(work)

    with_vectors = min(rows, _WITH_VECTORS * (num_words / _OF_WORDS) ** _GROWTH)
    cpu_seconds = (
        _START_SECONDS
        + _SECONDS_PER_PARAMETER * sizes.parameters[0]
        + _SECONDS_PER_TOKEN * len(target)
        + _SECONDS_PER_WORD * num_words
        + (len(target) - shared) * with_vectors * words.dimension / _NEIGHBOR_RATES[cpu_multiplies_bfloat16()]
    )
    if inputs.text is not None and has_rows_of_states(model, inputs.target_tokenizer, embeddings.output is not None):
        cpu_seconds += seconds_to_read(sizes.parameters[0] - sizes.embedding_parameters[0])
    if embedding_size is not None:
        decomposed = rows if chosen.primitives == "source" else len(target)
        operations = hidden_size * (decomposed * hidden_size + 2 * rows * embedding_size)
        cpu_seconds += (1 if embeddings.output is None else 2) * operations / _FACTORIZATION_RATE
    return AdaptationPlan(
        source_class=type(model).__name__,
        target_class=(type(model) if embedding_size is None else factorized_class(type(model))).__name__,
        source_tokens=len(inputs.source_tokenizer),
        target_tokens=len(inputs.target_tokenizer),
        shared_tokens=shared,
        words=num_words,
        dimension=words.dimension,
        languages=len(words.language_counts()),
        parameters=sizes.parameters,
        embedding_parameters=sizes.embedding_parameters,
        settings=chosen,
        memory=sum(sizes.parameters) * model.dtype.itemsize + work,
        mapped=4 * len(words) * words.dimension,
        available=available_memory(),
        disk=sizes.disk,
        # Tokenizers and vectors have just been read, so that this part is no estimate.
        seconds=sum(run.seconds.values()) + _TWO_CORES * cpu_seconds,
        notes=inputs.rules.notes,
    )


def without_weights(
    source: Any, source_class: type, config: PreTrainedConfig, hub_kwargs: dict[str, Any]
) -> PreTrainedModel:
    """The source, dense, on the meta device."""
    with torch.device("meta"), reading_weights("source", source):
        if source_class is AutoModel:
            return AutoModel.from_config(config, trust_remote_code=bool(hub_kwargs.get("trust_remote_code")))
        if not isinstance(config, source_class.config_class):  # a checkpoint of the authors
            config = source_class.config_class.from_pretrained(source)
        model = source_class._from_config(config)
        return model.to_dense() if isinstance(model, OfaPreTrainedMixin) else model
