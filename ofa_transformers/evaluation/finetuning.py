"""Fine-tuning on labelled sentences of one language with `Trainer`, keeping the epoch of the best development score."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

from ..models.checkpoints import check_finite, check_fit, load_config, reading_weights
from ..models.checkpoints import load_tokenizer as load_any_tokenizer
from ..scoring.batching import Rows, batches_by_length, evaluation_mode, longest_input
from ..text.labelled.examples import Examples
from ..text.labelled.splits import Splits
from ..utils.quiet import quiet
from .counts import Scored
from .results import Measurement


logger = logging.get_logger(__name__)

# `input_ids` and `attention_mask` of a sentence as lists, and `labels`; tasks may add more for themselves.
Features = Mapping[str, Any]

_BASE_LEARNING_RATE, _BASE_HIDDEN_SIZE, _MAX_LEARNING_RATE = 2e-5, 768, 1e-3


@dataclass(frozen=True)
class FineTuning:
    """How to fine-tune; names and meaning as in `TrainingArguments`.

    Attributes:
        epochs: over the training sentences. The learning rate rises over the first tenth of the steps and falls
            linearly to 0 at the end.
        learning_rate: None stands for `default_learning_rate`.
        batch_size: sentences of a step.
        max_length: tokens of a sentence, special tokens included; the rest is cut off. At most what the model takes.
        weight_decay: AdamW's.
        device: "cpu" or "cuda" (one GPU, the first that CUDA_VISIBLE_DEVICES leaves); None: the GPU where there is one.
        trust_remote_code: run code that comes with a model.
    """

    epochs: float = 10
    learning_rate: float | None = None
    batch_size: int = 32
    max_length: int = 256
    weight_decay: float = 0.0
    device: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate", "batch_size", "max_length"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name}={value} must be positive.")
        if self.device not in (None, "cpu", "cuda"):
            raise ValueError(
                f"device={self.device!r} must be 'cpu' or 'cuda'; choose one of several GPUs with CUDA_VISIBLE_DEVICES."
            )
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device='cuda', but there is no GPU that torch can use; leave it out.")


def default_learning_rate(hidden_size: int) -> float:
    """2e-5 for base models (768 wide), as in the paper and XTREME; smaller models need larger steps.

    It grows with the inverse square of the width, up to 1e-3: 8e-5 at 384, 1.8e-4 at 256.
    """
    return min(_BASE_LEARNING_RATE * (_BASE_HIDDEN_SIZE / hidden_size) ** 2, _MAX_LEARNING_RATE)


def load_tokenizer(name: str, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, which pads at the end.

    Raises:
        OSError: it can't be found.
        ValueError: there is none, or it isn't fast.
    """
    tokenizer = load_any_tokenizer(name, "models", trust_remote_code=trust_remote_code)
    if not tokenizer.is_fast:
        raise ValueError(f"The tokenizer of {name} is not a fast one (it has no tokenizer.json), which this needs.")
    tokenizer.padding_side = "right"
    return tokenizer


def load_with_head(
    name: str, auto_class: type, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase, trust_remote_code: bool
) -> PreTrainedModel:
    """A model in float32 with a new head for the labels, drawn with torch's generator.

    Raises:
        OSError, ValueError: the model can't be found, its checkpoint is damaged or lacks weights other than the head's, it
            has no head of this kind, or the tokenizer doesn't fit.
    """

    names = list(labels)
    with quiet(bars=True), reading_weights("models", name):
        model, loaded = auto_class.from_pretrained(
            name,
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={label: number for number, label in enumerate(names)},
            dtype=torch.float32,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    # Masked LMs have no pooler; everything else below the head must be there.
    body = f"{model.base_model_prefix}."
    if missing := sorted(key for key in loaded["missing_keys"] if key.startswith(body) and "pooler" not in key):
        raise ValueError(
            f"{name} has no weights for {', '.join(missing[:3])}{' and others' * (len(missing) > 3)}: the checkpoint is "
            "incomplete, or its weights have other names than its configuration says (`ofa convert` reads those of "
            "OFA's authors)."
        )
    check_finite(model, "models", name)
    check_fit(model, tokenizer)
    if tokenizer.pad_token_id is None:  # decoders; the attention mask hides what it is
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model


def check_models(models: Sequence[str], seeds: Sequence[int], trust_remote_code: bool) -> None:
    """That the models have configuration and tokenizer, before the first of them is trained.

    Raises:
        OSError, ValueError: one hasn't, or there is no model or seed.
    """
    if isinstance(models, (str, os.PathLike)) or not models:
        raise ValueError(f"models={models!r} must be a list of at least one folder or Hub id.")
    if not seeds:
        raise ValueError("seeds is empty; name at least one, as seeds=[42].")
    for name in models:
        load_config(name, {"trust_remote_code": trust_remote_code}, "models")
        load_tokenizer(name, trust_remote_code)


@dataclass(frozen=True)
class Task:
    """What distinguishes a task.

    Attributes:
        name: for results.
        labels: C labels, in the order of the head's outputs.
        auto_class: loads a model with the head.
        collator: class of a padding collator, made with the tokenizer.
        encode: examples, labels, tokenizer, longest input -> features of each sentence.
        score: examples, labels, features, predictions -> metrics, the one to choose the epoch by first.
    """

    name: str
    labels: list[str]
    auto_class: type
    collator: type
    encode: Callable[[Examples, Sequence[str], PreTrainedTokenizerBase, int], list[Features]]
    score: Callable[[Examples, Sequence[str], Sequence[Features], Sequence[np.ndarray]], list[Scored]]


def evaluate_fine_tuned(
    task: Task,
    splits: Splits,
    models: Sequence[str],
    seeds: Sequence[int],
    settings: FineTuning,
    on_results: Callable[[list[Measurement]], object] | None = None,
) -> list[Measurement]:
    """Fine-tunes each model once for each seed, and measures it on the test sentences of each language.

    `on_results` is called with the measurements of each model and seed as soon as they are there.

    Raises:
        OSError, ValueError, FloatingPointError: see `evaluate_classification`.
    """
    check_models(models, seeds, settings.trust_remote_code)
    found: list[Measurement] = []
    for name in map(str, models):
        for seed in seeds:
            measured = _evaluate(task, splits, name, seed, settings)
            found += measured
            if on_results is not None:
                on_results(measured)
    return found


def _evaluate(task: Task, splits: Splits, name: str, seed: int, settings: FineTuning) -> list[Measurement]:
    tokenizer = load_tokenizer(name, settings.trust_remote_code)
    set_seed(seed)
    model = load_with_head(name, task.auto_class, task.labels, tokenizer, settings.trust_remote_code)
    length = min(settings.max_length, longest_input(model, tokenizer))

    def encode(examples: Examples) -> list[Features]:
        return task.encode(examples, task.labels, tokenizer, length)

    def score(examples: Examples, features: Sequence[Features]) -> list[Scored]:
        return task.score(examples, task.labels, features, predict(model, tokenizer, features))

    dev = encode(splits.dev)
    best = fine_tune(
        model,
        encode(splits.train),
        task.collator(tokenizer),
        lambda: score(splits.dev, dev)[0].value,
        settings,
        seed,
    )
    logger.info(f"{task.name}: {name}, seed {seed}: development score {best:.4f}")
    return [
        Measurement(
            name,
            task.name,
            language,
            scored.metric,
            scored.value,
            *scored.interval(),
            size=len(examples),
            seed=seed,
            data=f"{examples.data}; fine-tuned on {splits.train.data}",
        )
        for language, examples in splits.tests.items()
        for scored in score(examples, encode(examples))
    ]


def fine_tune(
    model: PreTrainedModel,
    train: Sequence[Features],
    collate: Callable[[list[Features]], dict[str, torch.Tensor]],
    score: Callable[[], float],
    settings: FineTuning,
    seed: int,
) -> float:
    """Fine-tunes a model in place; it ends with the weights of the epoch that scored best, the first of equals.

    Nothing stays on disk: the best weights are kept in memory. The same seed on the same device gives the same weights.

    Args:
        model: with its head.
        train: the training sentences.
        collate: makes a padded batch of them.
        score: the model's on the development sentences, larger is better; called after each epoch.
        settings: how to fine-tune.
        seed: of the order and of dropout.

    Returns:
        The best score.

    Raises:
        FloatingPointError: the model's outputs are no numbers any more.
    """
    keys = ("input_ids", "attention_mask", "labels")
    usable = [{key: features[key] for key in keys} for features in train if _has_label(features)]
    with tempfile.TemporaryDirectory(prefix="ofa-fine-tuning-") as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate or default_learning_rate(_hidden_size(model)),
            per_device_train_batch_size=settings.batch_size,
            warmup_steps=0.1,
            weight_decay=settings.weight_decay,
            train_sampling_strategy="group_by_length",
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=not (sys.stderr.isatty() and logging.is_progress_bar_enabled()),
            use_cpu=settings.device == "cpu",
            dataloader_pin_memory=torch.cuda.is_available() and settings.device != "cpu",
            seed=seed,
        )
        if arguments.n_gpu > 1:
            arguments._n_gpu = 1  # Trainer would divide each batch among all GPUs
        best = _BestEpoch(score)
        _SilentTrainer(model, arguments, data_collator=collate, train_dataset=usable, callbacks=[best]).train()
    model.load_state_dict(best.weights)
    return best.best


class _SilentTrainer(Trainer):
    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Nothing: Trainer would print them beside the results."""


class _BestEpoch(TrainerCallback):
    def __init__(self, score: Callable[[], float]):
        self.score, self.best, self.weights = score, -np.inf, {}

    def on_epoch_end(self, args: Any, state: Any, control: Any, *, model: PreTrainedModel, **kwargs: Any) -> None:
        score = self.score()
        logger.info(f"epoch {state.epoch:.2f}: development score {score:.4f}")
        if score > self.best:
            self.best = score
            self.weights = {name: weight.detach().to("cpu", copy=True) for name, weight in model.state_dict().items()}


@torch.no_grad()
def predict(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoded: Sequence[Features],
    *,
    tokens_per_batch: int = 4096,
) -> list[np.ndarray]:
    """The label of highest score: of each of N sentences (), or of each of its tokens (length,).

    Batches are of similar length, of at most `tokens_per_batch` tokens.

    Raises:
        FloatingPointError: scores that are no numbers.
    """
    device = next(model.parameters()).device
    ids = Rows([features["input_ids"] for features in encoded])
    found: list[np.ndarray] = [np.empty(0)] * len(encoded)
    with evaluation_mode(model):
        for batch in batches_by_length(ids.lengths.tolist(), tokens_per_batch):
            padded, attention = ids.padded(batch, tokenizer.pad_token_id), ids.within(batch).long()
            logits = model(input_ids=padded.to(device), attention_mask=attention.to(device)).logits.float()
            if not torch.isfinite(logits).all():
                raise FloatingPointError(
                    f"The outputs of {model.name_or_path}, fine-tuned, are not numbers any more; take a smaller "
                    "learning_rate."
                )
            labels = logits.argmax(-1).cpu().numpy()
            for row, index in enumerate(batch):
                found[index] = labels[row, : ids.lengths[index]] if labels.ndim == 2 else labels[row]
    return found


def _has_label(features: Features) -> bool:
    """Whether a sentence has something to learn from: a batch of sentences without would have a loss of 0 / 0."""
    labels = features["labels"]
    return not isinstance(labels, list) or any(label >= 0 for label in labels)


def _hidden_size(model: PreTrainedModel) -> int:
    return getattr(model.config.get_text_config(), "hidden_size", _BASE_HIDDEN_SIZE)
