"""Export a masked LM to ONNX, factorized and dense, and compare onnxruntime's logits with PyTorch's.

    python examples/onnx_export.py --model adapted --output_dir onnx

Writes `factorized.onnx`, in which the two factors stay apart and stand once for input and output (opset operators alone:
whoever runs it needs no code of ours), and `dense.onnx`, the stock model. Sizes of batch and text are dynamic. A
checkpoint that is dense already gives `dense.onnx` alone. Needs `pip install 'ofa-transformers[onnx]'`.
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, BatchEncoding, PreTrainedModel

import ofa_transformers  # noqa: F401 (registers the factorized models)


class Logits(torch.nn.Module):
    """The model with tensors as its only inputs and output."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


def inputs_of(encoded: BatchEncoding) -> dict[str, torch.Tensor]:
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def export(model: PreTrainedModel, inputs: dict[str, torch.Tensor], path: Path) -> None:
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        Logits(model).eval(),
        kwargs=inputs,
        f=path,
        input_names=list(inputs),
        output_names=["logits"],
        dynamic_shapes=dict.fromkeys(inputs, axes),
        dynamo=True,
        # The optimizer would fold a transposed copy of the embeddings into the head; onnxruntime optimizes at load.
        optimize=False,
        # One file; leave it out for models over 2 GB.
        external_data=False,
        verbose=False,
    )


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint: a folder or a Hub id")
    parser.add_argument("--output_dir", required=True, type=Path)
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = AutoModelForMaskedLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    models = {"dense": model}
    if getattr(model.config, "embedding_size", None) is not None:
        models = {"factorized": model, "dense": model.to_dense().eval()}
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    texts = ["All human beings are born free.", "Everyone has the right to life and liberty, and to be themselves."]
    example = inputs_of(tokenizer(texts, padding=True, return_tensors="pt"))
    # Another number of texts and another length, so that a size that became a constant is found.
    other = inputs_of(tokenizer([texts[0], "No one.", "Everyone."], padding=True, return_tensors="pt"))
    for name, form in models.items():
        path = arguments.output_dir / f"{name}.onnx"
        export(form, example, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (logits,) = session.run(["logits"], {key: tensor.numpy() for key, tensor in other.items()})
        difference = np.abs(logits - form(**other).logits.numpy()).max()
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, logits differ from PyTorch's by {difference:.1e} at most")


if __name__ == "__main__":
    main()
