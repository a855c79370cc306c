"""What a run would do, from sizes and the first lines of the text alone: for `ofa pretrain --dry-run`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..text.corpus import LanguageText
from ..utils.memory import available_memory
from ..utils.progress import stage
from ..utils.targets import check_space, check_workspace
from .arguments import DataArguments, ModelArguments, PretrainingArguments
from .checkpoints import check_whole, last_checkpoint, read_data_state, saved_steps
from .resuming import check_settings, check_steps, settings_of
from .run import CHECKPOINT_BYTES, WRITING, bytes_to_write, check_output, interval
from .samples import BLOCK_LINES, Encoder
from .setup import Setup, prepare
from .timing import measure_run


# Bytes a parameter: weight, gradient, and two states of AdamW, float32.
_TRAINING_BYTES = 16
# Activations of a layer, bytes for each token and dimension in half precision (Korthikanti et al., 2023, eq. 1, without
# the attention matrices, which are never kept).
_ACTIVATION_BYTES = 34


@dataclass(frozen=True)
class LanguagePlan:
    """Text of a language: files or data sets, about how many characters, lines and tokens, and its share of samples."""

    language: str
    parts: int
    characters: int
    lines: int
    tokens: int
    share: float


@dataclass(frozen=True)
class PretrainingPlan:
    """Sizes of a run.

    Attributes:
        languages: the text.
        model_class, parameters: of the model.
        steps: still to do.
        tokens_per_step: at most, of all processes.
        max_length: tokens of a sample.
        resumed: the checkpoint that the run would go on from.
        validation_languages, validation_lines: of the held-out text.
        memory: bytes of a process at the peak.
        available, device: bytes that are free where it would run.
        checkpoint, disk, cache: bytes of one checkpoint, of all that is kept, and of the encoded text.
        seconds: of the steps and their checkpoints, from some that were measured; None where a GPU would do them, or the
            memory is too little.
        evaluations: of held-out text and translations, before the first step, at intervals and at the end.
        evaluation_seconds: of all of them, likewise.
    """

    languages: list[LanguagePlan]
    model_class: str
    parameters: int
    steps: int
    tokens_per_step: int
    max_length: int
    resumed: Path | None
    validation_languages: int
    validation_lines: int
    memory: int
    available: int
    device: str
    checkpoint: int
    disk: int
    cache: int
    seconds: float | None
    evaluations: int
    evaluation_seconds: float | None

    @property
    def tokens(self) -> int:
        return self.steps * self.tokens_per_step


def plan_pretraining(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    training_arguments: PretrainingArguments,
    *,
    causal: bool = False,
) -> PretrainingPlan:
    """Checks all that `pretrain` checks before it trains, without the model's weights, and writes nothing.

    Raises:
        FileNotFoundError, FileExistsError, ValueError, ImportError: as `pretrain`.
    """
    args = training_arguments
    output = check_workspace(args.output_dir)
    resumed = args.resume_from_checkpoint or last_checkpoint(output)
    if not resumed:
        check_output(output)
    with stage("Reading text"):
        setup = prepare(model_arguments, data_arguments, causal=causal, seed=args.sample_seed, weights=False)
        schedule = setup.data.schedule
        shares = dict(zip(schedule.languages, schedule.shares.tolist()))
        languages, lines = [], {}
        for name in schedule.languages:
            lines[name] = [line for size in setup.data.texts[name].sizes() for line in _block(size.sample)]
            languages.append(_language(setup.data.texts[name], setup.data.encoder, shares[name]))

    parameters = setup.model.num_parameters()
    samples = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    tokens_per_step = samples * setup.max_length
    done = int(Path(resumed).name.rpartition("-")[2]) if resumed else 0
    if resumed:
        check_whole(Path(resumed))
        before = read_data_state(Path(resumed), setup.identity)["settings"]
        check_steps(Path(resumed), done, args.max_steps)
        check_settings(Path(resumed), before, settings_of(setup, args, args.world_size))
    steps = args.max_steps - done
    checkpoint = CHECKPOINT_BYTES * parameters
    check_space(output, bytes_to_write(args, parameters, len(saved_steps(output))))
    on_gpu = args.device.type == "cuda"
    memory = _TRAINING_BYTES * parameters + _activations(setup, args)
    available = torch.cuda.mem_get_info()[0] if on_gpu else available_memory()
    evaluations = _evaluations(args, done) if setup.held_out else 0
    times = None
    if not on_gpu and memory < available:
        times = measure_run(setup, args, lines)
    return PretrainingPlan(
        languages=languages,
        model_class=type(setup.model).__name__,
        parameters=parameters,
        steps=steps,
        tokens_per_step=tokens_per_step,
        max_length=setup.max_length,
        resumed=Path(resumed) if resumed else None,
        validation_languages=len(setup.validation),
        validation_lines=sum(map(len, setup.validation.values())),
        memory=memory,
        available=available,
        device=torch.cuda.get_device_name() if on_gpu else "the CPU",
        checkpoint=checkpoint,
        disk=bytes_to_write(args, parameters),
        cache=0 if data_arguments.streaming else 4 * sum(row.tokens for row in languages),
        seconds=times and steps * times.step + _saves(args, done) * checkpoint / WRITING,
        evaluations=evaluations,
        evaluation_seconds=times and evaluations * times.evaluation,
    )


def _language(text: LanguageText, encoder: Encoder, share: float) -> LanguagePlan:
    sizes = text.sizes()
    tokens = 0.0
    for size in sizes:
        sample = _block(size.sample)
        if length := sum(map(len, sample)):
            tokens += size.characters * sum(len(ids) for ids in encoder(sample)) / length
    characters, lines = (sum(size[number] for size in sizes) for number in (0, 1))
    return LanguagePlan(text.language, len(text.parts), characters, max(lines, 1), max(round(tokens), 1), share)


def _block(lines: list[str]) -> list[str]:
    return lines[:: -(-len(lines) // BLOCK_LINES) or 1]


def _activations(setup: Setup, args: PretrainingArguments) -> int:
    """Bytes of one forward pass, logits included, which are those of labelled positions only."""
    config = setup.model.config.get_text_config()
    layers = 1 if _checkpoints_activations(args) else config.num_hidden_layers
    tokens = args.per_device_train_batch_size * setup.max_length
    size = 1 if args.bf16 else 2
    return layers * tokens * config.hidden_size * _ACTIVATION_BYTES * size


def _checkpoints_activations(args: PretrainingArguments) -> bool:
    from .arguments import CHECKPOINTING_ARGUMENT

    return bool(getattr(args, CHECKPOINTING_ARGUMENT))


def _saves(args: PretrainingArguments, done: int) -> int:
    """How many checkpoints the rest of a run writes, and the model."""
    every = interval(args.save_steps, args.max_steps)
    return args.max_steps // every - done // every + 1


def _evaluations(args: PretrainingArguments, done: int) -> int:
    """How often held-out text is measured in the rest of a run."""
    start = int(args.eval_on_start and not done)
    if args.eval_strategy != "steps":
        return start + 1
    every = interval(args.eval_steps, args.max_steps)
    last = int(args.max_steps > done and args.max_steps % every != 0)
    return start + args.max_steps // every - done // every + last
