"""Options that the scripts and `ofa pretrain` share, in the manner of Transformers' examples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from transformers import TrainingArguments

from ..utils.precision import cpu_bfloat16
from .fields import check_accelerator_config, check_fields
from .progress import BEST, more_is_better


# The trackers that are extras of this package -> modules of which one must be there.
TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",), "codecarbon": ("codecarbon",)}


@dataclass
class ModelArguments:
    """The model to continue."""

    model_name_or_path: str = field(metadata={"help": "A folder or a Hub id."})
    tokenizer_name: str | None = field(default=None, metadata={"help": "Default: the model's own."})
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit on the Hub."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Run code that comes with the model."})


@dataclass
class DataArguments:
    """The text, and how it becomes samples."""

    train: list[str] | None = field(
        default=None,
        metadata={
            "help": "Text (.txt, .tsv, .jsonl, optionally .gz or .zst) or Parquet files whose names begin with the "
            "language, LANGUAGE=FILE, or folders of them."
        },
    )
    train_datasets: list[str] | None = field(
        default=None, metadata={"help": "LANGUAGE=ID or LANGUAGE=ID:CONFIG of data sets on the Hub."}
    )
    validation: list[str] | None = field(default=None, metadata={"help": "Held-out text, given like train."})
    validation_datasets: list[str] | None = field(
        default=None, metadata={"help": "Held-out text, given like train_datasets."}
    )
    text_column: str = field(default="text", metadata={"help": "Of Parquet, .jsonl and data sets."})
    train_split: str = field(default="train", metadata={"help": "Split of the training data sets."})
    validation_split: str = field(default="validation", metadata={"help": "Split of the validation data sets."})
    streaming: bool = field(default=False, metadata={"help": "Encode while training, keeping nothing on disk."})
    alpha: float = field(default=0.3, metadata={"help": "Languages are drawn with p ~ characters^alpha."})
    sampling_sizes: str | None = field(
        default=None, metadata={"help": "A JSON file {language: size} to use in place of the characters."}
    )
    parallel: list[str] | None = field(
        default=None,
        metadata={
            "help": "Translations: files by language whose lines have common ids (ID<TAB>TEXT), LANGUAGE=FILE, or folders."
        },
    )
    parallel_exclude: str | None = field(
        default=None, metadata={"help": "A file of ids of parallel text that is held out, one a line."}
    )
    parallel_validation: str | None = field(
        default=None,
        metadata={"help": "A file of ids of parallel text to measure retrieval on; they are not trained on."},
    )
    parallel_share: float | None = field(
        default=None,
        metadata={
            "help": "Share of the batches that are translations. Default: half, or all where a model without "
            "language-modelling head is distilled."
        },
    )
    distill: bool | None = field(
        default=None,
        metadata={
            "help": "Draw both sides of a pair to a teacher's vector of the segment. Default: for sentence encoders and "
            "models without language-modelling head."
        },
    )
    teacher: str | None = field(
        default=None,
        metadata={"help": "Whose vectors they are. Default: the source that the model was adapted from, or itself."},
    )
    distillation_weight: float | None = field(
        default=None,
        metadata={
            "help": "Of the squared error to these vectors. Default: 1, or 0.3 beside the loss of masked tokens, where a "
            "masked language model is distilled that is no sentence encoder."
        },
    )
    joined_pairs: bool = field(
        default=False,
        metadata={
            "help": "Both sides of a pair in one sample (translation language modelling) instead of a contrastive loss."
        },
    )
    alignment_weight: float = field(
        default=0.3, metadata={"help": "Of the contrastive loss beside the loss of masked tokens."}
    )
    alignment_temperature: float = field(default=0.05, metadata={"help": "Of the contrastive loss."})
    alignment_layer: int | None = field(
        default=None,
        metadata={"help": "Whose hidden states are aligned. Default: two thirds up, as retrieval has it."},
    )
    alignment_centered: bool = field(
        default=False, metadata={"help": "Take the batch's mean from the sentence vectors before they are compared."}
    )
    max_seq_length: int | None = field(
        default=None, metadata={"help": "Tokens of a sample. Default: what the model takes, at most 512."}
    )
    line_by_line: bool = field(default=False, metadata={"help": "A sample for each line, instead of packing them."})
    mlm_probability: float = field(default=0.15, metadata={"help": "Share of tokens that are masked."})
    whole_word_masking: bool = field(default=False, metadata={"help": "Mask all tokens of a word or none."})
    pad_to_multiple_of: int | None = field(default=None, metadata={"help": "For the width of batches."})
    validation_lines: int = field(default=200, metadata={"help": "Held-out lines that are read of each language."})
    data_cache_dir: str | None = field(
        default=None, metadata={"help": "Where encoded text is kept. Default: the cache of `datasets`."}
    )


@dataclass
class PretrainingArguments(TrainingArguments):
    """Trainer's own arguments, and those of the optimizer's two parts.

    Raises:
        ValueError: an argument of Trainer's that a run would not heed (`fields.py`), or that doesn't go with another.
        ImportError: a tracker of `report_to` that isn't installed.
    """

    embedding_learning_rate: float | None = field(
        default=None, metadata={"help": "Of input and output embeddings, both factors. Default: learning_rate."}
    )
    embedding_weight_decay: float | None = field(
        default=None, metadata={"help": "Of input and output embeddings. Default: weight_decay."}
    )
    freeze_body_steps: int = field(
        default=0, metadata={"help": "Steps in which only the embeddings are trained; then the body warms up."}
    )
    eval_on_start: bool = field(default=True, metadata={"help": "Measure held-out text before the first step, too."})
    early_stopping_patience: int = field(
        default=3,
        metadata={"help": "Evaluations in a row that may be no better than the best one; then the run ends. 0: any."},
    )

    def __post_init__(self) -> None:
        if isinstance(self.report_to, str):  # several on a command line: tensorboard,codecarbon
            self.report_to = self.report_to.split(",")
        check_trackers(self.report_to or ())
        check_fields(self)
        if self.metric_for_best_model is None:
            self.metric_for_best_model = BEST
        if self.greater_is_better is None:  # Trainer takes bits for a score
            self.greater_is_better = more_is_better(self.metric_for_best_model)
        if self.early_stopping_patience < 0:
            raise ValueError(f"early_stopping_patience={self.early_stopping_patience} is negative; 0 never stops.")
        if self.fp16 and on_cpu(self.use_cpu):
            raise ValueError("fp16=True needs a GPU; on a processor compute in float32, or with bf16.")
        if self.bf16 and on_cpu(self.use_cpu):
            self.use_cpu = True  # without which Trainer refuses bf16 where there is no GPU
            self.bf16 = cpu_bfloat16("bf16")
        super().__post_init__()
        if not self.bf16:
            self.mixed_precision = configured_precision(self.use_cpu) or self.mixed_precision
        check_accelerator_config(self.accelerator_config)

    @property
    def sample_seed(self) -> int:
        """Of languages, order of samples, and masks."""
        return self.seed if self.data_seed is None else self.data_seed

    @property
    def loader_options(self) -> dict[str, Any]:
        """For the `DataLoader`."""
        return {
            "num_workers": self.dataloader_num_workers,
            "pin_memory": self.dataloader_pin_memory and not on_cpu(self.use_cpu),
            "persistent_workers": self.dataloader_persistent_workers,
            "prefetch_factor": self.dataloader_prefetch_factor,
            "multiprocessing_context": self.dataloader_multiprocessing_context,
        }


def on_cpu(use_cpu: bool) -> bool:
    """Whether a run would be on the processor: it was asked for, or there is nothing else."""
    return use_cpu or not torch.accelerator.is_available()


def configured_precision(use_cpu: bool) -> str | None:
    """For `Accelerator`: "no" where its configuration asks for bfloat16 of a processor without; None as configured."""
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION") == "bf16" and on_cpu(use_cpu)
    return "no" if asked and not cpu_bfloat16("mixed_precision: bf16") else None


def check_trackers(report_to: Sequence[str]) -> None:
    """Raises ImportError for a tracker that isn't installed, which Trainer says late and accelerate not at all."""
    for name in report_to:
        if name in TRACKERS and not any(map(find_spec, TRACKERS[name])):
            raise ImportError(f"report_to={name} needs {name}: pip install 'ofa-transformers[{name}]'")


# Trainer's argument for gradient checkpointing, which has another name in newer Transformers.
CHECKPOINTING_ARGUMENT = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if name in PretrainingArguments.__dataclass_fields__
)
