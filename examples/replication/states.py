"""Trainings go on from a file where they broke off."""

import time
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from ofa_transformers.utils.files import new_file


SECONDS_TO_STATE = 300


class TrainingState:
    """What a training that broke off goes on from, in a file that is written every few minutes and removed at the end.

    Args:
        path: of the file; None: there is none, and nothing is kept.
        settings: of the training, of which alone the file may be.
        model: whose device's generator dropout draws from.
        parts: the model and what else has a `state_dict`, by name.
        masks: another generator.

    Raises:
        ValueError: the file is of a training with other settings.
    """

    def __init__(
        self,
        path: Path | None,
        settings: dict[str, Any],
        model: PreTrainedModel,
        parts: dict[str, Any],
        masks: torch.Generator,
    ) -> None:
        self._path, self._settings = path, settings
        self._device = model.device
        self._parts, self._masks = {"model": model, **parts}, masks
        self._written = time.monotonic()
        self.values: dict[str, Any] = {}  # what was kept beside
        if path is not None and path.is_file():
            kept = torch.load(path, map_location=model.device, weights_only=True)
            if kept["settings"] != settings:
                raise ValueError(f"{path} is of a training with {kept['settings']}, not {settings}; remove it.")
            for name, part in self._parts.items():
                part.load_state_dict(kept[name])
            self._set_dropout(kept["dropout"].cpu())
            masks.set_state(kept["masks"].cpu())
            self.values = kept["values"]

    def keep(self, **values: Any) -> None:
        """Writes the file if it is time to, with some values beside: tensors, numbers, texts, lists and dicts."""
        if self._path is None or time.monotonic() - self._written <= SECONDS_TO_STATE:
            return
        kept = {
            **{name: part.state_dict() for name, part in self._parts.items()},
            "settings": self._settings,
            "dropout": self._dropout(),
            "masks": self._masks.get_state(),
            "values": values,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(self._path) as temporary:
            torch.save(kept, temporary)
        self._written = time.monotonic()

    def remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _dropout(self) -> torch.Tensor:
        return torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else torch.get_rng_state()

    def _set_dropout(self, state: torch.Tensor) -> None:
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state, self._device)
        else:
            torch.set_rng_state(state)
