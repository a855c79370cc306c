"""The factorized modules: alone, what may stand in their place, and what it costs to construct a model of them."""

from pathlib import Path

import pytest
import torch
from tiny_models import (
    EMBEDDING_SIZE,
    FAMILY_NAMES,
    HIDDEN_SIZE,
    VOCAB_SIZE,
    make_batch,
    make_config,
    make_model,
    table_width,
)
from torch import nn
from transformers import AutoModelForSequenceClassification
from transformers.models.xlm_roberta import modeling_xlm_roberta

import ofa_transformers as ofa


def test_factorized_embedding_is_the_product_of_its_factors():
    module = ofa.FactorizedEmbedding(50, 16, 4, padding_idx=1)
    ids = torch.tensor([[3, 1, 49], [0, 0, 7]])
    dense = module.weight @ module.primitives.weight.T
    assert module(ids).shape == (2, 3, 16)
    torch.testing.assert_close(module(ids), dense[ids])
    torch.testing.assert_close(module.to_dense(), dense.detach())
    module(ids).sum().backward()
    assert module.weight.grad[1].abs().sum() == 0  # as in nn.Embedding, the padding row gets no gradient
    assert isinstance(module, nn.Embedding) and (module.num_embeddings, module.embedding_dim) == (50, 16)
    assert "embedding_size=4" in repr(module)


@pytest.mark.parametrize("bias", [True, False])
def test_factorized_linear_is_the_product_of_its_factors(bias):
    module = ofa.FactorizedLinear(16, 50, 4, bias=bias)
    hidden = torch.randn(2, 3, 16)
    expected = hidden @ (module.weight @ module.primitives.weight.T).T + (module.bias if bias else 0)
    torch.testing.assert_close(module(hidden), expected)
    assert isinstance(module, nn.Linear) and (module.in_features, module.out_features) == (16, 50)


@pytest.mark.parametrize("size", [0, -3, 17])
def test_modules_refuse_sizes_out_of_range(size):
    for make in (lambda: ofa.FactorizedEmbedding(50, 16, size), lambda: ofa.FactorizedLinear(16, 50, size)):
        with pytest.raises(ValueError, match=rf"between 1 and the hidden size, 16, but is {size}"):
            make()


# ----------------------------------------------------------------------------------------------- other modules in their place


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("place", ["input", "output"])
def test_dense_modules_are_refused_before_they_are_used(family, place, tmp_path):
    model, batch, width = make_model(family, tie_word_embeddings=False), make_batch(), table_width(family)
    if place == "input":
        model.set_input_embeddings(nn.Embedding(VOCAB_SIZE, width))
    else:
        model.set_output_embeddings(nn.Linear(width, VOCAB_SIZE))
    for use in (
        lambda: model(**batch),
        lambda: model.save_pretrained(tmp_path),
        lambda: model.resize_token_embeddings(VOCAB_SIZE + 1),
        lambda: model.to_dense(),
    ):
        with pytest.raises(ValueError, match=rf"shape \({VOCAB_SIZE}, {width}\) was set .* FactorizedEmbedding"):
            use()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_factorized_modules_are_taken(family, tmp_path):
    model, batch = make_model(family, tie_word_embeddings=False), make_batch()
    table = ofa.FactorizedEmbedding(VOCAB_SIZE, table_width(family), EMBEDDING_SIZE)
    table.embed_scale = model.get_input_embeddings().embed_scale
    projection = ofa.FactorizedLinear(table_width(family), VOCAB_SIZE, EMBEDDING_SIZE, bias=False)
    model.set_input_embeddings(table)
    model.set_output_embeddings(projection)
    assert model.get_input_embeddings() is table and model.get_output_embeddings() is projection
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.get_input_embeddings()(batch["input_ids"]), table(batch["input_ids"]))


def test_an_unfactorized_model_takes_dense_modules():
    model, batch = make_model("llama", embedding_size=None, tie_word_embeddings=False), make_batch()
    model.set_output_embeddings(nn.Linear(HIDDEN_SIZE, VOCAB_SIZE))
    expected = model(**batch)
    output = model(**batch, sparse_prediction=True)
    assert output.logits is None
    torch.testing.assert_close(output.loss, expected.loss)


# ---------------------------------------------------------------------------------------------------------- construction


@pytest.mark.parametrize("head", ["OfaForMaskedLM", "OfaForSequenceClassification", "OfaLlamaForCausalLM"])
def test_construction_makes_no_dense_table_and_each_layer_once(head, monkeypatch):
    """Peak memory of a constructor: the parameters, and less than a dense table."""
    vocab_size, hidden_size = 300_000, 64
    family = "llama" if "Llama" in head else "xlm-roberta"
    config = make_config(family, vocab_size=vocab_size, hidden_size=hidden_size)
    layers, tables = [], []
    make_layer = modeling_xlm_roberta.XLMRobertaLayer.__init__
    monkeypatch.setattr(
        modeling_xlm_roberta.XLMRobertaLayer, "__init__", lambda *args, **kw: layers.append(make_layer(*args, **kw))
    )
    make_table = nn.Embedding.reset_parameters

    def reset(module):
        tables.append((tuple(module.weight.shape), module.weight.device.type))
        make_table(module)

    monkeypatch.setattr(nn.Embedding, "reset_parameters", reset)
    before = peak_memory()
    model = getattr(ofa, head)(config)
    grown = peak_memory() - before
    assert len(layers) == (0 if family == "llama" else config.num_hidden_layers)
    assert tables.count(((vocab_size, hidden_size), "meta")) == 1
    assert tables.count(((vocab_size, EMBEDDING_SIZE), "cpu")) == 1
    parameters = sum(p.numel() for p in model.parameters()) * 4
    assert not any(p.is_meta for p in model.parameters())
    if grown is not None:
        assert grown < parameters + 0.75 * vocab_size * hidden_size * 4, (grown, parameters)


def peak_memory() -> int:
    """Bytes that this process has held at most since the last call."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        pytest.skip("no /proc/self/clear_refs, which counts peaks anew")
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    reset.write_text("5")
    return int(peak.split()[1]) * 1024


def test_weights_that_happen_to_have_the_shape_of_the_table():
    model = make_model("xlm-roberta", intermediate_size=VOCAB_SIZE)
    weights = [layer.intermediate.dense.weight for layer in model.roberta.encoder.layer]
    assert all(weight.shape == (VOCAB_SIZE, HIDDEN_SIZE) and weight.device.type == "cpu" for weight in weights)
    assert all(0.01 < weight.std() < 0.03 for weight in weights)  # initializer_range
    assert torch.isfinite(model(**make_batch()).loss)


def test_construction_elsewhere_than_on_the_cpu():
    with torch.device("meta"):
        model = ofa.OfaForMaskedLM(make_config("xlm-roberta"))
    assert {p.device.type for p in model.parameters()} == {"meta"}
    model = AutoModelForSequenceClassification.from_config(make_config("llama"), dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert type(model.model) is ofa.OfaLlamaModel and model.get_input_embeddings().weight.device.type == "cpu"
