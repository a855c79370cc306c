"""What a model of any class can be called with."""

import inspect
from typing import Any

from transformers import PreTrainedModel


def accepted(model: PreTrainedModel, **options: Any) -> dict[str, Any]:
    """Those of the options that the model's `forward` names."""
    takes = inspect.signature(model.forward).parameters
    return {name: value for name, value in options.items() if name in takes}
