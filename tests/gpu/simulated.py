"""Where tensors are, without a GPU: the checks and other paths on a simulated device, and on one without float64, as MPS.

test_gpu.py runs it in a process of its own: PyTorch learns of a device once, before the first backward pass, and takes it
for the machine's accelerator from then on.
"""

from collections.abc import Iterator

import pytest
import simulated_device
import torch
from simulated_device import Far
from transformers import AutoModelForMaskedLM

from gpu import correctness
from ofa_transformers import OfaInitializer, factorize_model
from ofa_transformers.evaluation import embed_texts, score_masked_lm
from ofa_transformers.initialization.methods.omp import sparse_codes
from ofa_transformers.utils.search import retrieval_ranks


pytestmark = pytest.mark.skipif(not simulated_device.AVAILABLE, reason="PyTorch's backends in Python came with 2.10")


@pytest.fixture
def device() -> Iterator[str]:
    with simulated_device.simulated_device() as name:
        yield name


@pytest.fixture(scope="module")
def inputs() -> dict:
    return correctness.adaptation()


def source(device: str = "cpu"):
    return AutoModelForMaskedLM.from_pretrained(correctness.SEED_MODEL, dtype=torch.float32).to(device)


def test_the_device_keeps_the_rules(device: str):
    far = torch.ones(3).to(device)
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        far + torch.ones(3)
    with pytest.raises(RuntimeError, match="numpy"):
        far.numpy()
    assert torch.equal((far + 1)[torch.tensor([0, 2])].cpu(), torch.full((2,), 2.0))
    with simulated_device.simulated_device(float64=False), pytest.raises(TypeError, match="float64"):
        torch.ones(3, dtype=torch.float64).to(device)


def test_factors_and_mapping_where_there_is_no_float64():
    with simulated_device.simulated_device(float64=False) as device:
        assert correctness.factors(device)["largest_difference"] < 1e-5
        assert correctness.mapping(device, (torch.float32,))["largest_difference"] < 1e-5


def test_neighbours_factors_and_models(device: str):
    correctness.neighbours(device)
    correctness.factors(device)
    correctness.models(device, ("xlm-roberta", "gemma2", "mbart"))


@pytest.mark.parametrize(
    "options",
    [
        {"target_text": True, "embedding_size": 16, "language_offset": 0.2},
        {"authors_compatible": True, "embedding_size": 16},
        {"method": "mixture"},
    ],
    ids=["calibrated", "published", "mixture"],
)
def test_ways_to_initialize_give_what_the_cpu_gives(options: dict, inputs: dict, device: str):
    if "target_text" in options:
        options = options | {"target_text": list(correctness.text_of("swh_Latn")["swh_Latn"].values())}
    made = [
        OfaInitializer.from_pretrained(source(place), device=place, **inputs, **options) for place in ("cpu", device)
    ]
    weights = [dict(one.model.named_parameters(remove_duplicate=False)) for one in made]
    assert all(isinstance(weight.data, Far) for weight in weights[1].values())
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name].cpu(), weight, rtol=1e-4, atol=1e-5)


def test_measures_codes_and_any_model(inputs: dict, device: str):
    model, tokenizer = source(), inputs["source_tokenizer"]
    far = source(device)
    lines = ["the small house stands by the river", "all human beings are born free"]
    assert sum(score.nats for score in score_masked_lm(far, tokenizer, lines)) == pytest.approx(
        sum(score.nats for score in score_masked_lm(model, tokenizer, lines)), rel=1e-5
    )
    torch.testing.assert_close(embed_texts(far, tokenizer, lines), embed_texts(model, tokenizer, lines))
    draws = torch.Generator().manual_seed(0)
    pair = torch.randn(5, 4, generator=draws), torch.randn(5, 4, generator=draws)
    for found, expected in zip(retrieval_ranks(*(part.to(device) for part in pair)), retrieval_ranks(*pair)):
        assert torch.equal(found, expected)
    for found, expected in zip(sparse_codes(*(part.to(device) for part in pair), 2), sparse_codes(*pair, 2)):
        torch.testing.assert_close(found, expected)
    dense = [factorize_model(one, 16).to_dense().get_input_embeddings().weight for one in (model, far)]
    torch.testing.assert_close(dense[1].cpu(), dense[0])
