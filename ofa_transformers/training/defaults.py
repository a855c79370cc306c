"""What a run does where its arguments leave it open: whether translations are distilled, by whom, and their share."""

from __future__ import annotations

from dataclasses import replace

from transformers.utils import logging

from ..models.checkpoints import language_model_loader, load_config, model_class
from ..models.sentence_modules import SentenceModules
from .arguments import DataArguments, ModelArguments
from .distillation import default_teacher


logger = logging.get_logger(__name__)


def with_defaults(arguments: DataArguments, model_arguments: ModelArguments, causal: bool) -> DataArguments:
    """The arguments with what is left open of distillation settled, and translations as text where there is no other.

    Raises:
        ValueError: what distillation doesn't go with.
    """
    distill, share = arguments.distill, arguments.parallel_share
    named = model_arguments.model_name_or_path
    if distill and (causal or arguments.joined_pairs or not arguments.parallel):
        other = "parallel text (--parallel)" if not arguments.parallel else "an encoder, and no joined_pairs"
        raise ValueError(f"distill needs {other}.")
    if distill is None:
        fits = bool(arguments.parallel) and not causal and not arguments.joined_pairs
        distill = fits and (is_headless(model_arguments) or SentenceModules.read(named) is not None)
    if share is None:
        share = 1.0 if distill and is_headless(model_arguments) else 0.5
    train = arguments.train
    if not train and not arguments.train_datasets and arguments.parallel and share == 1:
        train = arguments.parallel
    teacher = (arguments.teacher or default_teacher(named)) if distill else arguments.teacher
    return replace(arguments, distill=distill, teacher=teacher, parallel_share=share, train=train)


def is_headless(arguments: ModelArguments) -> bool:
    """Whether a checkpoint has no language-modelling head."""
    hub = {"revision": arguments.model_revision, "trust_remote_code": arguments.trust_remote_code}
    config = load_config(arguments.model_name_or_path, hub, "model_name_or_path")
    return language_model_loader(model_class(arguments.model_name_or_path, config, hub).__name__) is None


def without_head(model_arguments: ModelArguments, arguments: DataArguments) -> dict[str, list[str]]:
    """No validation text, with a warning.

    Raises:
        ValueError: there is nothing else to measure.
    """
    problem = (
        f"validation: {model_arguments.model_name_or_path} has no language-modelling head and gets none by distillation, "
        "so that text has no bits per character"
    )
    if not arguments.parallel_validation:
        raise ValueError(
            f"{problem}. Measure retrieval of translations with parallel_validation (--held-out), or train a head, too, "
            "with a parallel_share below 1."
        )
    logger.warning(f"{problem}; retrieval is measured.")
    return {}
