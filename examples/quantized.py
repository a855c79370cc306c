"""Load a checkpoint with 8-bit weights (torchao) and compare its predictions with the unquantised ones.

    python examples/quantized.py --model adapted --output_dir adapted-int8 [--activations]

The linear layers of the body are quantised. The factors of tied embeddings keep their precision, as tied embeddings of any
model do. The saved checkpoint loads with `from_pretrained` like any other. Runs on CPUs as well as GPUs. Needs
`pip install 'ofa-transformers[quantization]'`.
"""

import argparse
from pathlib import Path

import torch
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig
from transformers import AutoModelForMaskedLM, AutoTokenizer, TorchAoConfig

import ofa_transformers  # noqa: F401 (registers the factorized models)


def size(folder: str) -> float:
    """MB of the weights in a folder."""
    return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors")) / 1e6


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint: a folder or a Hub id")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--activations", action="store_true", help="quantise the activations as well, at run time")
    arguments = parser.parse_args()
    kind = Int8DynamicActivationInt8WeightConfig if arguments.activations else Int8WeightOnlyConfig
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    full = AutoModelForMaskedLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    AutoModelForMaskedLM.from_pretrained(
        arguments.model, dtype=torch.float32, quantization_config=TorchAoConfig(kind())
    ).save_pretrained(arguments.output_dir)
    tokenizer.save_pretrained(arguments.output_dir)
    quantized = AutoModelForMaskedLM.from_pretrained(arguments.output_dir).eval()

    texts = ["All human beings are born free.", "Everyone has the right to life and liberty, and to be themselves."]
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    expected, found = (model(**encoded).logits[encoded["attention_mask"].bool()] for model in (full, quantized))
    same = (expected.argmax(-1) == found.argmax(-1)).float().mean()
    error = (expected - found).norm() / expected.norm()
    print(
        f"{sum(p.nbytes for p in full.parameters()) / 1e6:.1f} MB in float32, {size(arguments.output_dir):.1f} MB quantised"
    )
    print(f"logits differ by {error:.2%} of their norm; the same token comes first at {same:.0%} of the positions")


if __name__ == "__main__":
    main()
