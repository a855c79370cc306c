"""Settings of the methods that train something after they have made a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from ..settings import InitializationSettings


if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class StepSettings:
    """Steps of AdamW; a method's own settings are derived from these, with their defaults.

    Attributes:
        METHOD: whose they are.
        steps: of AdamW.
        batch_size: lines of a step.
        learning_rate: its peak; a tenth of the steps warm up, then it falls to 0.

    Raises:
        ValueError: a number that can't be.
    """

    METHOD: ClassVar[str]

    steps: int
    batch_size: int
    learning_rate: float

    @classmethod
    def of(cls, settings: InitializationSettings) -> Self | None:
        """Those of an initialisation; None if its method is another."""
        return cls.among(settings.method_settings or {}) if settings.method == cls.METHOD else None

    @classmethod
    def among(cls, given: Mapping[str, Any]) -> Self:
        """Those among the settings of the method."""
        return cls(**{entry.name: given[entry.name] for entry in fields(cls) if entry.name in given})

    @classmethod
    def trained_lines(cls, given: Mapping[str, Any]) -> int:
        """Of all steps, with the settings of the method."""
        chosen = cls.among(given)
        return chosen.steps * chosen.batch_size

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}, but must be an integer from 1 on.")
        if not self.learning_rate > 0:
            raise ValueError(
                f"learning_rate is {self.learning_rate}, but must be above 0; {type(self).learning_rate} is the default."
            )
