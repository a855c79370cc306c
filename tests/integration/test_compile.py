"""torch.compile: the whole model in one graph, with the same outputs and gradients."""

import shutil

import pytest
import torch
from tiny_models import LM_HEADS, VOCAB_SIZE, make_config, without_labels
from transformers import PreTrainedModel, set_seed


FAMILIES = ["xlm-roberta", "deberta-v2", "llama", "gemma2", "t5"]


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
    model = make_model(family)
    inputs = without_labels(model, batch())
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(**inputs).logits, model(**inputs).logits)


@pytest.mark.parametrize("family", ["xlm-roberta", "llama"])
def test_training_step(family: str):
    model, compiled = make_model(family), torch.compile(make_model(family), backend="aot_eager")
    for module in (model, compiled):
        module(**batch(with_labels=True)).loss.backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    for name, parameter in compiled._orig_mod.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)


def test_sparse_prediction_training_step():
    model, compiled = (make_model("xlm-roberta", sparse_prediction=True) for _ in range(2))
    compiled = torch.compile(compiled, backend="aot_eager")
    for module in (model, compiled):
        module(**batch(with_labels=True)).loss.backward()
    torch.testing.assert_close(
        compiled._orig_mod.get_input_embeddings().weight.grad, model.get_input_embeddings().weight.grad
    )


@pytest.mark.skipif(
    shutil.which("c++") is None and shutil.which("g++") is None, reason="inductor needs a C++ compiler"
)
def test_inductor():
    model = make_model("xlm-roberta", num_hidden_layers=1)
    compiled = torch.compile(model)
    with torch.no_grad():
        torch.testing.assert_close(compiled(**batch()).logits, model(**batch()).logits, rtol=1e-4, atol=1e-4)
