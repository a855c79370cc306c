"""Checkpoints as ONNX: what the checkpoint is, with its own head."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...utils.files import new_file


# Logits may differ by so much from PyTorch's, relative to the largest.
_TOLERANCE = 1e-3
_TEXTS = ("All human beings are born free.", "Everyone has the right to life and liberty, and to be themselves.")
_OTHERS = ("No one.", "All human beings are born free.", "Everyone.")
# Of two gigabytes an ONNX file can hold, what weights may take.
_MOST_BYTES = 1_900_000_000


class _Outputs(torch.nn.Module):
    """A model with tensors as its only inputs and outputs."""

    def __init__(self, model: PreTrainedModel, names: list[str], outputs: list[str]) -> None:
        super().__init__()
        self.model, self.names, self.outputs = model, names, outputs
        self.options = {"use_cache": False} if hasattr(model.config, "use_cache") else {}

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.model(**dict(zip(self.names, tensors)), **self.options)
        return tuple(found[name] for name in self.outputs)


def example_inputs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: tuple[str, ...] = _TEXTS
) -> dict[str, torch.Tensor]:
    """(B, L) token ids and what else the model takes of a tokenizer; (B, choices, L) for multiple choice."""
    encoded = tokenizer(list(texts), padding=True, return_tensors="pt")
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in encoded]
    choices = type(model).__name__.endswith("ForMultipleChoice")
    return {name: torch.stack([encoded[name]] * 2, 1) if choices else encoded[name] for name in names}


@torch.no_grad()
def export_onnx(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: str | os.PathLike) -> float:
    """Writes a model with the head that it has, and compares it with PyTorch on texts of other number and length.

    Factors stay apart, in standard operators. Outputs are named as the model's own: `logits`, `last_hidden_state`,
    `start_logits` and `end_logits`. Sizes of batch and text are dynamic.

    Args:
        model: in float32, loaded with all its weights.
        tokenizer: its own; its `model_input_names` say which inputs there are.
        path: of the file. Weights of two gigabytes or more lie beside it.

    Returns:
        The largest difference from PyTorch, relative to the largest value.

    Raises:
        ImportError: the packages of the extra `onnx` are missing.
        RuntimeError: onnxruntime gives something else than PyTorch.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (what torch exports with)
    except ImportError as error:
        raise ImportError(f"ONNX needs more packages: pip install 'ofa-transformers[onnx]' ({error}).") from error
    model = model.eval()
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    inputs = example_inputs(model, tokenizer)
    options = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
    outputs = [name for name, value in model(**inputs, **options).items() if isinstance(value, torch.Tensor)]
    wrapped = _Outputs(model, list(inputs), outputs).eval()
    axes = {0: torch.export.Dim.DYNAMIC, inputs["input_ids"].dim() - 1: torch.export.Dim.DYNAMIC}
    large = 4 * model.num_parameters() > _MOST_BYTES
    with new_file(path) as file:
        torch.onnx.export(
            wrapped,
            tuple(inputs.values()),
            file,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes={"tensors": (axes,) * len(inputs)},
            dynamo=True,
            # The optimizer would fold a transposed copy of the embeddings into the head; onnxruntime optimizes at load.
            optimize=False,
            external_data=large,
            verbose=False,
        )
        others = example_inputs(model, tokenizer, _OTHERS)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        found = session.run(outputs, {name: tensor.numpy() for name, tensor in others.items()})
        difference = max(
            float(np.abs(given - wanted.numpy()).max() / max(np.abs(wanted.numpy()).max(), 1e-12))
            for given, wanted in zip(found, wrapped(*others.values()))
        )
        if not difference < _TOLERANCE:
            raise RuntimeError(
                f"The ONNX file gives other values than PyTorch, by {difference:.1e} of the largest, and was removed. "
                "Please report this, with the model's configuration."
            )
    return difference


def load_whole(model_class: type[PreTrainedModel], checkpoint: str | os.PathLike, dtype: torch.dtype | None = None):
    """The model of a checkpoint that has all weights of its class.

    Raises:
        ValueError: weights are missing, so that they would be drawn at random.
    """
    options = {} if dtype is None else {"dtype": dtype}
    model, loaded = model_class.from_pretrained(
        checkpoint, trust_remote_code=False, output_loading_info=True, **options
    )
    # Masked LMs are saved without pooler, and nobody reads one that was never trained.
    missing = sorted(key for key in loaded["missing_keys"] if "pooler" not in key)
    if missing:
        raise ValueError(
            f"{Path(checkpoint).name} has no weights for {', '.join(missing[:3])}{' and others' * (len(missing) > 3)} of a "
            f"{type(model).__name__}, which would be drawn at random. Export the checkpoint of a model that was trained "
            "with this head."
        )
    return model
