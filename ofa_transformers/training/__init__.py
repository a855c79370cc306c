"""Continued pretraining: text by language, masks, loss, checkpoints; shared by the scripts and `ofa pretrain`."""

from ..text.corpus import LanguageText, find_text
from .arguments import DataArguments, ModelArguments, PretrainingArguments
from .checkpoints import consolidate
from .masking import CausalCollator, MaskingCollator
from .run import pretrain
from .samples import Encoder, Share, TrainingBatches, TrainingData
from .schedule import LanguageSchedule
from .setup import Setup, prepare
from .trainer import PretrainingTrainer


__all__ = [
    "CausalCollator",
    "DataArguments",
    "Encoder",
    "LanguageSchedule",
    "LanguageText",
    "MaskingCollator",
    "ModelArguments",
    "PretrainingArguments",
    "PretrainingTrainer",
    "Setup",
    "Share",
    "TrainingBatches",
    "TrainingData",
    "consolidate",
    "find_text",
    "prepare",
    "pretrain",
]
