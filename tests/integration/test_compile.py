"""torch.compile: the whole model in one graph, with the same outputs and gradients."""

import shutil

import pytest
import torch
from gpu.correctness import compiled
from tiny_models import LM_HEADS, VOCAB_SIZE, make_config, without_labels
from transformers import PreTrainedModel, set_seed


# Gemma 2 has a layer of each of its two kinds.
FAMILIES = {
    "xlm-roberta": {"num_hidden_layers": 1},
    "deberta-v2": {"num_hidden_layers": 1},
    "llama": {"num_hidden_layers": 1},
    "gemma2": {},
    "t5": {"num_layers": 1},
}


def make_model(family: str, **changes: object) -> PreTrainedModel:
    set_seed(0)
    return LM_HEADS[family](make_config(family, **changes)).eval()


def batch(with_labels: bool = False) -> dict[str, torch.Tensor]:
    ids = torch.randint(4, VOCAB_SIZE, (2, 9), generator=torch.Generator().manual_seed(1))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return {**inputs, "labels": ids} if with_labels else inputs


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("family", FAMILIES)
def test_forward_is_one_graph(family: str):
    model = make_model(family, **FAMILIES[family])
    inputs = without_labels(model, batch())
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(**inputs).logits, model(**inputs).logits)


def test_training_step_of_the_gpu_check():
    """Of an encoder with the blocked loss; a decoder with logits is below."""
    assert compiled("cpu")["largest_difference"] < 1e-4


def test_training_step_of_a_decoder():
    model, other = (make_model("llama", num_hidden_layers=1) for _ in range(2))
    compiled = torch.compile(other, backend="aot_eager")
    for module in (model, compiled):
        module(**batch(with_labels=True)).loss.backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    for name, parameter in compiled._orig_mod.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(
    shutil.which("c++") is None and shutil.which("g++") is None, reason="inductor needs a C++ compiler"
)
def test_inductor():
    model = make_model("xlm-roberta", num_hidden_layers=1)
    compiled = torch.compile(model)
    with torch.no_grad():
        torch.testing.assert_close(compiled(**batch()).logits, model(**batch()).logits, rtol=1e-4, atol=1e-4)
