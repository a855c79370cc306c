"""How long the steps of a run take on this machine: some are done, on weights of the right shapes, for dry runs."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from ..scoring.causal_lm import score_causal_lm
from ..scoring.masked_lm import score_masked_lm, tokens_read
from ..scoring.sentences import embed_texts
from ..utils.progress import stage
from ..utils.quiet import quiet
from .alignment import Alignment
from .arguments import CHECKPOINTING_ARGUMENT, PretrainingArguments
from .distillation import Targets
from .encoding import Batch
from .objective import count_labels, training_loss
from .samples import StoredSamples
from .setup import Setup


# A pass that is measured multiplies weights with tokens about so often at most; of a longer one some rows are measured.
_PRODUCTS = 1e11
# Passes of a kind that are measured, and seconds after which no other one begins; and batches whose size is known.
_PASSES, _SECONDS, _BATCHES = 4, 4.0, 32
# Held-out lines that are scored, and that are embedded.
_SCORED, _EMBEDDED = 16, 96


@dataclass(frozen=True)
class RunTimes:
    """Seconds on this machine.

    Attributes:
        step: of an optimizer step.
        evaluation: of measuring all held-out text once; 0 without any.
    """

    step: float
    evaluation: float


def measure_run(setup: Setup, args: PretrainingArguments, lines: Mapping[str, Sequence[str]]) -> RunTimes:
    """Trains and evaluates a stand-in of the model for some seconds, in the memory that the run would take.

    Args:
        setup: its model may be on the meta device, and stays as it is.
        args: of the run.
        lines: of each language some, in the order of the schedule.
    """
    with stage("Measuring a step"):
        model = stand_in(setup.model)
        if getattr(args, CHECKPOINTING_ARGUMENT):
            model.gradient_checkpointing_enable()
        kinds = _passes(setup, args.per_device_train_batch_size, lines)
        options = {"causal": setup.causal, "alignment": setup.alignment, "bf16": args.bf16}
        passes = sum(share * pass_seconds(model, batches, **options) for share, batches in kinds)
        update = update_seconds(model)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            evaluation = _evaluation_seconds(setup, model, args.per_device_eval_batch_size * setup.max_length)
    return RunTimes(args.gradient_accumulation_steps * passes + update, evaluation)


def stand_in(model: PreTrainedModel) -> PreTrainedModel:
    """A model of the same class and shapes on the CPU, in float32, with random weights."""
    with no_init_weights(), quiet():
        built = type(model)._from_config(copy.deepcopy(model.config), dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in built.parameters():  # zeros would make numbers next to 0, for which a processor needs longer
            parameter.normal_(std=0.02, generator=generator)
    return built.train()


def pass_seconds(
    model: PreTrainedModel,
    batches: Sequence[Batch],
    *,
    causal: bool = False,
    alignment: Alignment | None = None,
    bf16: bool = False,
) -> float:
    """Mean seconds of a pass forward and back: of some, by their tokens with padding. Leaves gradients."""
    rows = max(1, int(_PRODUCTS / model.num_parameters() / batches[0]["input_ids"].shape[1]))

    def train(batch: Batch) -> float:
        """Seconds for a token."""
        # Lines of translations are twice as many rows as there are segments, first sides before second ones.
        sides = 2 if "segments" in batch else 1
        every = len(batch["input_ids"]) // sides
        taken = min(rows, every)
        part = {name: _part(tensor, every, taken) for name, tensor in batch.items()}
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            labels = count_labels(part["labels"], causal)
            tokens, pairs = training_loss(model, model, part, labels.clamp(min=1), causal, alignment)
        (tokens if pairs is None else tokens + pairs).backward()
        return (time.perf_counter() - start) * every / taken / batch["input_ids"].numel()

    train(batches[0])  # memory is fetched, kernels are chosen
    size = sum(batch["input_ids"].numel() for batch in batches) / len(batches)
    return size * _mean(train, batches)


def update_seconds(model: PreTrainedModel) -> float:
    """Seconds of clipping, a step of AdamW and the end of the gradients, of which the model has some."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, fused=True)
    gradients = [parameter.grad for parameter in trained]

    def update(_: int) -> float:
        for parameter, gradient in zip(trained, gradients):
            parameter.grad = gradient
        start = time.perf_counter()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - start

    update(0)
    return _mean(update, range(_PASSES))


def _mean(measure: Callable[..., float], items: Sequence) -> float:
    found: list[float] = []
    start = time.perf_counter()
    for item in itertools.islice(items, _PASSES):
        found.append(measure(item))
        if time.perf_counter() - start > _SECONDS:
            break
    return sum(found) / len(found)


def _part(tensor: torch.Tensor, every: int, taken: int) -> torch.Tensor:
    """The first rows of a batch, of either side where there are two."""
    return torch.cat([tensor[start : start + taken] for start in range(0, len(tensor), every)])


def _passes(setup: Setup, size: int, lines: Mapping[str, Sequence[str]]) -> list[tuple[float, list[Batch]]]:
    """Batches as the run draws them, of text and of pairs, with the share of each kind."""
    data, found = setup.data, []
    share = 0.0 if data.pairs is None else data.pairs.share
    ranges = [range(first, first + size) for first in range(0, _BATCHES * size, size)]
    if share < 1:
        encoded = [[{"input_ids": ids} for ids in data.encoder(lines[name])] for name in data.schedule.languages]
        samples = StoredSamples(encoded, data.schedule, _BATCHES * size)
        found.append((1 - share, [data.collate([samples[number] for number in numbers]) for numbers in ranges]))
    if data.pairs is not None:
        pairs, collate = data.pairs, data.pairs.collate
        if setup.alignment.vectors is not None and collate.targets is None:  # the teacher wasn't asked
            width = setup.model.config.get_text_config().hidden_size
            places = np.zeros(len(pairs.samples.text.segments), dtype=np.int64)
            collate = replace(collate, targets=Targets(np.zeros((1, width), np.float32), places, 1.0, ""))
        mixture = pairs.mixed(size)
        batches = [collate([pair for number in numbers for pair in mixture[number]]) for numbers in ranges]
        found.append((share, batches))
    return found


def _evaluation_seconds(setup: Setup, model: PreTrainedModel, tokens_per_batch: int) -> float:
    """Some lines are scored, and the rest costs as much a token."""
    tokenizer, seconds = setup.tokenizer, 0.0

    def length(lines: Sequence[str]) -> int:
        return sum(map(len, setup.data.encoder.tokens(lines)))

    def read(lines: Sequence[str]) -> int:
        return length(lines) if setup.causal else tokens_read(tokenizer, lines, setup.max_length)[0]

    def scored(lines: Sequence[str]) -> object:
        score = score_causal_lm if setup.causal else score_masked_lm
        return score(model, tokenizer, lines, max_length=setup.max_length, tokens_per_batch=tokens_per_batch)

    def embedded(lines: Sequence[str]) -> object:
        layer, modules = setup.measured_layer, setup.sentence_modules
        options = {"layer": layer, "modules": modules if layer is None else None}
        return embed_texts(model, tokenizer, lines, tokens_per_batch=tokens_per_batch, **options)

    lines = [line for found in setup.validation.values() for line in found]
    pairs = [line for sides in setup.validation_pairs.values() for side in sides for line in side]
    for every, measure, size, most in ((lines, scored, read, _SCORED), (pairs, embedded, length, _EMBEDDED)):
        if every:
            some = every[:: -(-len(every) // most)]
            start = time.perf_counter()
            measure(some)
            seconds += (time.perf_counter() - start) * size(every) / size(some)
    return seconds
