"""Two processes with half of the batch each train the same model as one process: DDP and FSDP2, over gloo on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM

from .workload import MaskedSequences, assert_tied


pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(
        not hasattr(os, "fork") or not torch.distributed.is_gloo_available(), reason="needs fork, gloo"
    ),
]
SCRIPT = Path(__file__).with_name("train_distributed.py")
KINDS = ["tied", "untied", "sparse", "untied-sparse"]
STEPS = 4
# Sums over the batch are taken in another order.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each strategy: trained without a break, and again from the state saved half-way."""
    output = tmp_path_factory.mktemp("runs")
    command = [sys.executable, str(SCRIPT), f"--output={output}", f"--steps={STEPS}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return output


@pytest.fixture(scope="module")
def single(runs: Path) -> Path:
    return runs / "single"


@pytest.fixture(scope="module", params=["single", "ddp", "fsdp2"])
def run(request: pytest.FixtureRequest, runs: Path) -> Path:
    return runs / request.param


def losses(folder: Path, name: str = "model") -> list[float]:
    return json.loads(Path(folder, f"{name}-losses.json").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_same_as_one_process(run: Path, single: Path, kind: str):
    assert losses(run / kind) == pytest.approx(losses(single / kind), rel=1e-4)
    # The two batches come round again and again.
    assert losses(run / kind)[STEPS - 2] < losses(run / kind)[0]
    expected = AutoModelForMaskedLM.from_pretrained(single / kind / "model").state_dict()
    actual = AutoModelForMaskedLM.from_pretrained(run / kind / "model").state_dict()
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(actual[name], tensor, **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}")


def test_sparse_prediction_is_the_same_training(run: Path):
    for other, kind in (("sparse", "tied"), ("untied-sparse", "untied")):
        assert losses(run / other) == pytest.approx(losses(run / kind), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_resuming_gives_the_uninterrupted_run(run: Path, kind: str):
    assert losses(run / kind, "resumed") == pytest.approx(losses(run / kind)[STEPS // 2 :], rel=1e-6)
    expected = load_file(run / kind / "model" / "model.safetensors")
    actual = load_file(run / kind / "resumed" / "model.safetensors")
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(actual[name], tensor, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_saved_model_loads_with_from_pretrained(run: Path, single: Path, kind: str, tmp_path: Path):
    model, info = AutoModelForMaskedLM.from_pretrained(run / kind / "model", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    if not kind.startswith("untied"):
        assert_tied(model)
        # The gathered shards of tied factors are two tensors, and are written twice; the next save has them once.
        model.save_pretrained(tmp_path)
        stored = load_file(tmp_path / "model.safetensors")
        assert sum(name.endswith("primitives.weight") for name in stored) == 1
    else:
        assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight
    reference = AutoModelForMaskedLM.from_pretrained(single / kind / "model")
    batch = {name: tensor[None] for name, tensor in MaskedSequences(1, seed=5)[0].items() if name != "labels"}
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, reference(**batch).logits, **TOLERANCE)
