"""Token distillation (Dobler et al., 2025): rows of another method, fitted to the source's hidden states afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..mapping import TokenMapping
from .inputs import MethodInputs
from .registry import find_method, register_method
from .step_settings import StepSettings


@dataclass(frozen=True)
class FitSettings(StepSettings):
    """How rows are fitted; the settings of the method "fitted" beside those of how it starts.

    Attributes:
        steps: of AdamW.
        batch_size: lines of a step.
        learning_rate: its peak, as a share of the root mean square of the rows; a tenth of the steps warm up, then it
            falls to 0.
        layer: whose hidden states are reproduced; the last by default.
        own_states: whether the lines of target_text shall have the states that the source itself gives them, which is
            right where it knows their languages. By default where there is no parallel_text.
    """

    METHOD = "fitted"

    steps: int = 150
    batch_size: int = 64
    learning_rate: float = 0.3
    layer: int | None = None
    own_states: bool | None = None


def _start(settings: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    FitSettings.among(settings)  # a value out of range fails here
    return {settings.get("start") or "ofa": settings.get("start_settings") or {}}


@register_method(
    "fitted",
    needs=(("target_text", "parallel_text"),),
    published="Dobler et al., 2025 (token distillation)",
    built_on=_start,
    trained_lines=FitSettings.trained_lines,
)
def fitted(
    inputs: MethodInputs,
    *,
    start: str = "ofa",
    start_settings: Mapping[str, Any] | None = None,
    steps: int = FitSettings.steps,
    batch_size: int = FitSettings.batch_size,
    learning_rate: float = FitSettings.learning_rate,
    layer: int | None = None,
    own_states: bool | None = None,
) -> TokenMapping:
    """As `start`; the new rows are then fitted so that the source's hidden states of text are reproduced.

    The body is frozen. Lines of target_text get the states that the source gives them, which is right for languages
    that it knows; with parallel_text, translations get those of the source's line, and target_text only takes part with
    own_states=True. `FitSettings` has the settings.
    """
    return find_method(start).function(inputs, **(start_settings or {}))
