"""The card of an adapted model that Transformers' `Trainer` pushes, in place of Trainer's own.

`Trainer.push_to_hub` writes a README.md of its own over any other, and has no callback between that and the upload. So
the package, where it is imported, adds to what `Trainer.create_model_card` wrote; Trainers with a method of their own
(TRL, sentence-transformers) are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard
from transformers.utils import logging

from ..models.mixin_ofa import OfaPreTrainedMixin
from ..utils.hub import CARD_FILE, PLACEHOLDER
from ..utils.reading import read_json
from .card import card_of_folder, model_card
from .report import REPORT_FILE, OfaReport


logger = logging.get_logger(__name__)

# Of a Trainer's card, what nobody filled in; and whom it takes a model in a folder to come from.
_UNSAID = re.compile(r"^## [^\n]+\n+More information needed\n+", flags=re.MULTILINE)
_ORIGIN = re.compile(
    r"^This model (?:was trained from scratch|is a fine-tuned version of \S+) on ", flags=re.MULTILINE
)
# What a training decides anew, whatever the card before it says.
_OF_TRAINING = ("model-index", "datasets", "metrics")


def create_model_card(
    wrapped: Callable[..., None], trainer: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """`Trainer.create_model_card`, which it wraps: an adapted model's own card comes first, the training after it."""
    output = Path(trainer.args.output_dir)
    try:
        own = _own_card(trainer.model, output)
    except (OSError, ValueError, KeyError, yaml.YAMLError) as error:  # the weights are worth pushing without it
        logger.warning("The card of %s can't be read, and the Trainer's stands alone: %s", output, error)
        own = None
    wrapped(*args, **kwargs)
    path = output / CARD_FILE
    if own is not None and trainer.is_world_process_zero():
        card = with_training(own, ModelCard.load(path, ignore_metadata_errors=True))
        text = str(card)
        path.write_text(text.replace(PLACEHOLDER, trainer.hub_model_id or PLACEHOLDER), encoding="utf-8")


def _own_card(model: Any, output: Path) -> ModelCard | None:
    """The card in the folder that a model was loaded from; for another head than there, one of its report, or of what
    lies in `output`. None for a model that wasn't adapted, and for one at full size that isn't from a folder."""
    folder, class_name = Path(getattr(model.config, "_name_or_path", "") or ""), type(model).__name__
    if (folder / "config.json").is_file():
        config = read_json(folder / "config.json", "save the model again")
        if class_name in (config.get("architectures") or ()) and (folder / CARD_FILE).is_file():
            card = ModelCard.load(folder / CARD_FILE, ignore_metadata_errors=True)
            if "ofa" in (card.data.tags or ()):
                return card
        if (folder / REPORT_FILE).is_file():
            report = OfaReport.load(folder)
            return model_card(replace(report, target={**report.target, "class": class_name}))
    return card_of_folder(output) if isinstance(model, OfaPreTrainedMixin) else None


def with_training(own: ModelCard, trained: ModelCard) -> ModelCard:
    """One card of both: an adapted model's, and below it what Trainer's says of a training.

    Args:
        own: of the model before it was trained.
        trained: of `Trainer.create_model_card`; title, licence, base model and tags are taken where `own` has none.
    """
    before, after = own.data.to_dict(), trained.data.to_dict()
    data = {**after, **{name: value for name, value in before.items() if name not in _OF_TRAINING}}
    tags = dict.fromkeys([*(before.get("tags") or ()), *(after.get("tags") or ())])
    data["tags"] = list(tags)
    name, _, training = trained.text.partition("\n# ")[2].partition("\n")
    training = _ORIGIN.sub("By Transformers' `Trainer`, on ", _UNSAID.sub("", training)).strip()
    text = re.sub(r"^# .*", lambda _: f"# {name}", own.text.lstrip(), count=1)
    training = re.sub(r"^(?=#)", "#", training, flags=re.MULTILINE)
    since = f"## Trained since\n\nWhat stands above is of the model before this training.\n\n{training}\n"
    head = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return ModelCard(f"---\n{head}---\n\n{text.rstrip()}\n\n{since}", ignore_metadata_errors=True)
