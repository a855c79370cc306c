"""Damaged configurations, tokenizers and weights are one kind of error that names them; code of a checkpoint isn't run."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_models import LM_HEADS, make_config

from ofa_transformers.models.checkpoints import (
    has_tokenizer,
    load_config,
    load_tokenizer,
    model_class,
    reading_weights,
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tiny_tokenizers) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = tiny_tokenizers["unigram"]
    torch.manual_seed(0)
    LM_HEADS["xlm-roberta"](make_config("xlm-roberta", vocab_size=len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(checkpoint, tmp_path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def change(file: Path, **values) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    "values",
    [
        {"model_type": 3},
        {"model_type": "no-such-model"},
        {"architectures": "XLMRobertaModel"},
        {"architectures": [1]},
        {"hidden_size": "wide"},
        {"vocab_size": None},
        {"dtype": "float23"},
        {"num_attention_heads": 0},
        {"pad_token_id": "one"},
        {"layer_norm_eps": [1]},
    ],
)
def test_wrong_values_in_the_configuration(values, copy):
    change(copy / "config.json", **values)
    with pytest.raises(ValueError, match=f"source: the (configuration|weights) of '{copy}'"):
        config = load_config(copy, {})
        with reading_weights("source", copy):
            model_class(copy, config).from_pretrained(copy)


@pytest.mark.parametrize("content", ["", "[]", "{", '"x"', "null", "[" * 100_000, '{"model": {"type": "x"}}', "\xff"])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_files_of_other_content(name, content, copy):
    (copy / name).write_text(content, encoding="latin-1")
    with pytest.raises((ValueError, OSError), match=str(copy)):
        if name == "config.json":
            load_config(copy, {})
        else:
            load_tokenizer(copy, "tokenizer")
    assert has_tokenizer(copy)


def test_nobody_is_asked_to_run_code(copy, monkeypatch):
    def asked(*_):
        raise AssertionError("asked")

    monkeypatch.setattr("builtins.input", asked)
    (copy / "code.py").write_text("raise AssertionError('run')")
    change(copy / "config.json", model_type="mine", auto_map={"AutoConfig": "code.Config"})
    with pytest.raises(ValueError, match="run only where that is asked for"):
        load_config(copy, {})
    change(copy / "tokenizer_config.json", tokenizer_class="Mine", auto_map={"AutoTokenizer": ["code.T", "code.T"]})
    with pytest.raises(ValueError, match="run only where that is asked for"):
        load_tokenizer(copy, "tokenizer")


def test_no_tokenizer(copy):
    for file in copy.glob("*token*"):
        file.unlink()
    assert not has_tokenizer(copy)
    with pytest.raises(ValueError, match="tokenizer"):
        load_tokenizer(copy, "tokenizer")
