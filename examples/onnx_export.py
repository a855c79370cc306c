"""Export a checkpoint to ONNX with the head that it has, factorized and dense.

    python examples/onnx_export.py --model adapted --output_dir onnx

Writes `factorized.onnx`, in which the two factors stay apart and stand once for input and output (opset operators alone:
whoever runs it needs no code of ours), and `dense.onnx`, the stock model. Each is compared with PyTorch on texts of other
number and length. A checkpoint that is dense already gives `dense.onnx` alone; one without weights for its head is
refused. Needs `pip install 'ofa-transformers[onnx]'`. In a terminal, `ofa export --format onnx` writes the first one with
its tokenizer.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoConfig, AutoTokenizer

import ofa_transformers  # noqa: F401 (registers the factorized models)
from ofa_transformers.models.checkpoints import model_class
from ofa_transformers.workflows.export.onnx import export_onnx, load_whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint: a folder or a Hub id")
    parser.add_argument("--output_dir", required=True, type=Path)
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    chosen = model_class(arguments.model, AutoConfig.from_pretrained(arguments.model))
    model = load_whole(chosen, arguments.model, torch.float32)
    models = {"dense": model}
    if hasattr(model, "to_dense"):
        models = {"factorized": model, "dense": model.to_dense()}
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    for name, form in models.items():
        path = arguments.output_dir / f"{name}.onnx"
        difference = export_onnx(form, tokenizer, path)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, outputs differ from PyTorch's by {difference:.1e} at most")


if __name__ == "__main__":
    main()
