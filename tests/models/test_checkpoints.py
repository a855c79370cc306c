"""Which class reads a checkpoint, what code is run for it, and what is refused."""

import json

import pytest
import torch
from adapted_models import adapt, make_source
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM
from transformers.utils import logging

import ofa_transformers as ofa
from ofa_transformers.initialization.planning import plan_adaptation
from ofa_transformers.models.checkpoints import check_saved, language_model_loader


OWN_CODE = """
from transformers import BertForMaskedLM as Stock

class {name}(Stock):
    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 2
        return output
"""


@pytest.fixture
def own_code(tiny_tokenizers, tmp_path):
    """A function that makes a checkpoint of a class of its own, with a name."""

    def make(name: str):
        folder = tmp_path / name
        make_source("bert", tiny_tokenizers["wordpiece"]).save_pretrained(folder)
        tiny_tokenizers["wordpiece"].save_pretrained(folder)
        (folder / "modeling_own.py").write_text(OWN_CODE.format(name=name))
        config = json.loads((folder / "config.json").read_text())
        config |= {"architectures": [name], "auto_map": {"AutoModelForMaskedLM": f"modeling_own.{name}"}}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


@pytest.mark.parametrize("name", ["OwnForMaskedLM", "BertForMaskedLM"])
def test_own_code_is_run_when_asked_for_and_goes_along(name, own_code, tiny_tokenizers, word_vectors, tmp_path):
    folder = own_code(name)
    options = {"target_tokenizer": tiny_tokenizers["unigram"], "word_vectors": word_vectors}
    assert plan_adaptation(folder, hub_kwargs={"trust_remote_code": True}, **options).source_class == name
    result = ofa.OfaInitializer.from_pretrained(folder, trust_remote_code=True, **options)
    assert type(result.model).__module__.startswith("transformers_modules.") and "difference" in result.report.proof
    result.save_pretrained(tmp_path / "out")
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path / "out", trust_remote_code=True)
    assert type(loaded).__name__ == name and type(loaded).__module__.startswith("transformers_modules.")
    ids = torch.arange(8).reshape(1, 8)
    torch.testing.assert_close(loaded.eval()(ids).logits, result.model.eval()(ids).logits, rtol=0, atol=0)


def test_own_code_is_not_run_unasked(own_code, tiny_tokenizers, word_vectors, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    options = {"target_tokenizer": tiny_tokenizers["unigram"], "word_vectors": word_vectors}
    with pytest.raises(ValueError, match=r"OwnForMaskedLM is code that lies with .*trust_remote_code=True"):
        ofa.OfaInitializer.from_pretrained(own_code("OwnForMaskedLM"), **options)
    # Transformers has a class of this name, and so reads it as this.
    assert type(ofa.OfaInitializer.from_pretrained(own_code("BertForMaskedLM"), **options).model) is BertForMaskedLM


def test_a_tokenizer_of_own_code_does_not_ask(tiny_tokenizers, word_vectors, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    tiny_tokenizers["unigram"].save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    own = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "tokenization_own.OwnTokenizer"]}}
    file.write_text(json.dumps(json.loads(file.read_text()) | own))
    tokenizer = tiny_tokenizers["wordpiece"]
    with pytest.raises(ValueError, match=r"target_tokenizer: no tokenizer could be loaded .* Pass a loaded tokenizer"):
        adapt(make_source("bert", tokenizer), tokenizer, tmp_path, word_vectors)


@pytest.mark.parametrize(
    "architectures, message",
    [
        (["NewForMaskedLM"], "was saved from NewForMaskedLM, which Transformers .* doesn't have"),
        (None, r"doesn't say of which class it is, and BertModel leaves out cls\.predictions"),
    ],
)
def test_a_head_is_not_lost(architectures, message, tiny_tokenizers, word_vectors, tmp_path):
    make_source("bert", tiny_tokenizers["wordpiece"]).save_pretrained(tmp_path)
    tiny_tokenizers["wordpiece"].save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"architectures": architectures}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        ofa.OfaInitializer.from_pretrained(
            tmp_path, target_tokenizer=tiny_tokenizers["unigram"], word_vectors=word_vectors
        )


def test_a_body_is_not_made_anew(tiny_tokenizers, word_vectors, tmp_path):
    make_source("bert", tiny_tokenizers["wordpiece"]).save_pretrained(tmp_path)
    tiny_tokenizers["wordpiece"].save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    kept = {name: tensor for name, tensor in state.items() if ".layer." not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=rf"has no bert\.encoder\..* and {len(state) - len(kept) - 3} more: .*incomplete"
    ):
        ofa.OfaInitializer.from_pretrained(
            tmp_path, target_tokenizer=tiny_tokenizers["unigram"], word_vectors=word_vectors
        )


def test_a_pooler_may_be_missing(tiny_tokenizers, word_vectors, tmp_path):
    """As in the checkpoint of a masked LM that is loaded as the base model."""
    make_source("bert", tiny_tokenizers["wordpiece"]).bert.save_pretrained(tmp_path)
    tiny_tokenizers["wordpiece"].save_pretrained(tmp_path)
    result = ofa.OfaInitializer.from_pretrained(
        tmp_path, target_tokenizer=tiny_tokenizers["unigram"], word_vectors=word_vectors
    )
    assert "difference" in result.report.proof


def test_what_does_not_load_as_it_was_saved_is_no_result(tiny_tokenizers, word_vectors, tmp_path, monkeypatch):
    tokenizer = tiny_tokenizers["wordpiece"]
    result = adapt(make_source("bert", tokenizer), tokenizer, tiny_tokenizers["unigram"], word_vectors)
    save = BertForMaskedLM.save_pretrained

    def without_a_key(self, folder, **options):
        save(self, folder, **options)
        state = load_file(folder / "model.safetensors")
        del state["cls.predictions.transform.dense.weight"]
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(BertForMaskedLM, "save_pretrained", without_a_key)
    with pytest.raises(RuntimeError, match=r"missing keys: cls\.predictions\.transform\.dense\.weight"):
        result.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    shown = logging.is_progress_bar_enabled()
    result.save_pretrained(tmp_path / "out")
    check_saved(result.model, tmp_path / "out")
    assert logging.is_progress_bar_enabled() == shown
    assert len(AutoTokenizer.from_pretrained(tmp_path / "out")) == len(result.tokenizer)


def test_pretraining_that_predicts_no_tokens_is_no_language_model():
    assert language_model_loader("BertForPreTraining") is AutoModelForMaskedLM
    assert language_model_loader("ElectraForMaskedLM") is AutoModelForMaskedLM
    assert language_model_loader("ElectraForPreTraining") is None
