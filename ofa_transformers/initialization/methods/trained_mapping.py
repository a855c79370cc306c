"""Weights of M that are trained themselves (VocADT: Han et al., 2024, arXiv 2410.09644)."""

from dataclasses import dataclass

from ..mapping import TokenMapping
from .inputs import MethodInputs
from .mixture import mixture
from .registry import register_method
from .step_settings import StepSettings


@dataclass(frozen=True)
class TrainSettings(StepSettings):
    """How the weights of M are trained; the settings of the method "trained-mapping".

    Attributes:
        steps: of AdamW.
        batch_size: lines of a step.
        learning_rate: its peak, of the logarithms of weights and gates; a tenth of the steps warm up, then it falls to 0.
        neighbors: the share of a row that its neighbours (`ofa`) begin with; the rest is that of its pieces (`fvt`).
    """

    METHOD = "trained-mapping"

    steps: int = 40
    batch_size: int = 24
    learning_rate: float = 0.03
    neighbors: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.neighbors < 1:
            raise ValueError(f"neighbors is {self.neighbors}, but must lie between 0 and 1; 0.7 is the default.")

    @property
    def parts(self) -> dict[str, float]:
        """What the weights begin with, as `mixture` has it."""
        return {"ofa": self.neighbors, "fvt": 1 - self.neighbors}


@register_method(
    "trained-mapping",
    needs=("target_text", "word_vectors"),
    published="Han et al., 2024 (VocADT)",
    built_on=lambda settings: {name: {} for name in TrainSettings.among(settings).parts},
    trained_lines=TrainSettings.trained_lines,
)
def trained_mapping(
    inputs: MethodInputs,
    *,
    steps: int = TrainSettings.steps,
    batch_size: int = TrainSettings.batch_size,
    learning_rate: float = TrainSettings.learning_rate,
    neighbors: float = TrainSettings.neighbors,
) -> TokenMapping:
    """As `mixture`; the weights are then trained on the text by the model's own loss, its body and rows as they are.

    New rows stay weighted means of the source's rows. `TrainSettings` has the settings.
    """
    return mixture(inputs, parts=TrainSettings(neighbors=neighbors).parts)
