"""A checkpoint without a language-modelling head gets one that is fitted before anything else moves."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, DebertaV2Config, DebertaV2ForMaskedLM


pytest.importorskip("datasets")

from ofa_transformers.training import DataArguments, ModelArguments, PretrainingArguments, prepare, pretrain
from ofa_transformers.training.head import fit_head

from .workspace import make_workspace


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    make_workspace(folder, ("plain",))
    body = AutoModel.from_pretrained(folder / "plain")
    body.save_pretrained(folder / "body")
    AutoTokenizer.from_pretrained(folder / "plain").save_pretrained(folder / "body")
    return folder


def setup_of(folder, model):
    data = DataArguments(train=[str(folder / "train")], max_seq_length=32, data_cache_dir=str(folder / "cache"))
    return prepare(ModelArguments(str(folder / model)), data, causal=False, seed=1)


def test_only_the_head_moves_and_its_loss_falls(folder, caplog):
    assert setup_of(folder, "plain").new_weights == []
    setup = setup_of(folder, "body")
    assert any("lm_head" in name for name in setup.new_weights)
    before = {name: parameter.detach().clone() for name, parameter in setup.model.named_parameters()}
    steps = fit_head(setup, seed=3)
    moved = {name for name, parameter in setup.model.named_parameters() if not torch.equal(parameter, before[name])}
    assert steps >= 40 and moved and moved <= {*setup.new_weights, "lm_head.bias", "lm_head.decoder.bias"}
    assert all(parameter.requires_grad for parameter in setup.model.parameters())
    again = setup_of(folder, "body")
    with torch.no_grad():
        for name, parameter in again.model.named_parameters():
            parameter.copy_(before[name])
    assert fit_head(again, seed=3) == steps
    for name, parameter in again.model.named_parameters():
        assert torch.equal(parameter, setup.model.get_parameter(name)), name


def test_a_bias_beside_the_projection(folder, monkeypatch):
    """DeBERTa-v3's head multiplies with the table; Transformers calls another layer its output embeddings."""
    monkeypatch.setattr("ofa_transformers.training.head._MOST_STEPS", 2)
    setup = setup_of(folder, "plain")
    config = DebertaV2Config(
        vocab_size=len(setup.tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    config.legacy = False
    model = DebertaV2ForMaskedLM(config)
    assert fit_head(replace(setup, model=model, new_weights=["lm_predictions.lm_head.bias"]), seed=3) == 0
    new = [name for name, _ in model.named_parameters() if name.startswith("lm_predictions")]
    assert fit_head(replace(setup, model=model, new_weights=new), seed=3) == 2
    assert model.lm_predictions.lm_head.bias.std() > 0.2  # set to frequencies


def test_pretraining_fits_it_first_and_says_so(folder, tmp_path, monkeypatch):
    messages = []
    monkeypatch.setattr("ofa_transformers.training.head.logger.warning", messages.append)
    args = PretrainingArguments(
        output_dir=str(tmp_path / "out"), max_steps=1, use_cpu=True, report_to="none", disable_tqdm=True
    )
    data = DataArguments(train=[str(folder / "train")], max_seq_length=32, data_cache_dir=str(folder / "cache"))
    pretrain(ModelArguments(str(folder / "body")), data, args)
    assert len(messages) == 1 and "no language-modelling head. A new one was fitted in" in messages[0]


def test_a_body_with_holes_is_refused(folder, tmp_path):
    torn = tmp_path / "torn"
    model = AutoModel.from_pretrained(folder / "plain")
    model.save_pretrained(torn)
    AutoTokenizer.from_pretrained(folder / "plain").save_pretrained(torn)
    weights = load_file(torn / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "layer.1." not in k}, torn / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="the checkpoint is incomplete"):
        prepare(
            ModelArguments(str(torn)),
            DataArguments(train=[str(folder / "train")], max_seq_length=32, data_cache_dir=str(folder / "cache")),
            causal=False,
            seed=1,
        )
