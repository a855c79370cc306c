"""What is saved is what was passed: read back by AutoTokenizer beside the model's configuration, or refused."""

import json
import re
from pathlib import Path

import conftest
import pytest
import tokenizer_classes
import torch
from adapted_models import make_source
from tokenizers import pre_tokenizers
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
    XLMRobertaTokenizer,
)
from typer.testing import CliRunner

import ofa_transformers as ofa
from ofa_transformers.cli import app
from ofa_transformers.demo.data import load_parallel_text
from ofa_transformers.tokenization import extend_tokenizer, save_tokenizer, saving, train_tokenizer
from ofa_transformers.tokenization.sample_text import sample_text
from ofa_transformers.tokenization.saving import check_saved_tokenizer
from ofa_transformers.training import DataArguments, ModelArguments, prepare
from ofa_transformers.utils.files import new_folder


_PARALLEL = load_parallel_text(["deu_Latn", "zul_Latn"]).train
TEXTS = {language: list(segments.values())[:80] for language, segments in _PARALLEL.items()}
# One of each way to be made, and those that give another tokenizer than was passed; the whole table is made by
# `make tokenizer-classes`.
CLASSES = (
    "BertTokenizer",
    "XLMRobertaTokenizer",
    "LlamaTokenizer",
    "Qwen2Tokenizer",
    "CLIPTokenizer",
    "RemBertTokenizer",
)
# Transformers takes the class that it has for these types, whatever the folder says.
FORCED = ("qwen2", "qwen3_5", "siglip2")
FREE = ("xlm-roberta", "bert", "llama", "qwen3", "gpt2", "t5", "mistral", "modernbert")


def beside(folder, model_type, **fields):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, **fields}), encoding="utf-8")
    return folder


def settings(folder):
    return json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))


def assert_same(tokenizer, folder):
    loaded = AutoTokenizer.from_pretrained(folder)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.special_tokens_map == tokenizer.special_tokens_map
    for line in [*conftest.TEXT[:11], "e\u0301 é  two spaces\ttab", *tokenizer.all_special_tokens]:
        ids = tokenizer.backend_tokenizer.encode(line).ids
        assert loaded.backend_tokenizer.encode(line).ids == ids
        assert loaded.decode(ids) == tokenizer.decode(ids)


@pytest.mark.parametrize("name", CLASSES)
def test_every_way_of_making_one(name, tmp_path):
    passed = tokenizer_classes.build(tokenizer_classes.fast_class(name))
    made = {
        "passed": passed,
        "extended": extend_tokenizer(passed, TEXTS, 80),
        "like": train_tokenizer(TEXTS, len(passed) + 100, like=passed, same_normalizer=True),
    }
    model_type = tokenizer_classes.MODEL_TYPES[name][0]
    for way, tokenizer in made.items():
        folder = beside(tmp_path / way, model_type)
        save_tokenizer(tokenizer, folder)
        assert_same(tokenizer, folder)
        check_saved_tokenizer(folder)


@pytest.mark.parametrize("kind", conftest.TOKENIZER_BUILDERS)
def test_new_tokenizers_beside_other_types(kind, tiny_tokenizers, tmp_path):
    tokenizer = tiny_tokenizers[kind]
    for model_type in FREE:
        folder = beside(tmp_path / model_type, model_type)
        save_tokenizer(tokenizer, folder)
        assert_same(tokenizer, folder)
    for model_type in FORCED:
        with pytest.raises(ValueError, match=rf"not read back .* of type '{model_type}'.*Nothing was written"):
            save_tokenizer(tokenizer, beside(tmp_path / model_type, model_type))


def test_what_a_class_makes_otherwise_is_written_as_it_is(tmp_path):
    """XLM-R's class has a pre-tokenizer of its own, in place of the one in the file."""
    built = tokenizer_classes.build(XLMRobertaTokenizer)
    built.backend_tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    save_tokenizer(built, beside(tmp_path / "model", "xlm-roberta"))
    assert_same(built, tmp_path / "model")
    assert settings(tmp_path / "model")["tokenizer_class"] == "PreTrainedTokenizerFast"
    loaded = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert loaded.model_input_names == built.model_input_names == ["input_ids", "attention_mask"]


def test_no_class_is_named_that_transformers_4_lacks(tiny_tokenizers, tmp_path):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizers["unigram"].backend_tokenizer, bos_token="<s>", extra_special_tokens=["<x>"]
    )
    save_tokenizer(tokenizer, tmp_path)
    found = settings(tmp_path)
    assert found["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert found["additional_special_tokens"] == ["<x>"] and "extra_special_tokens" not in found
    assert found["added_tokens_decoder"][str(tokenizer.convert_tokens_to_ids("<mask>"))]["lstrip"] is True
    assert AutoTokenizer.from_pretrained(tmp_path).extra_special_tokens == ["<x>"]


def test_the_largest_id_has_a_row(tiny_tokenizers, tmp_path):
    tokenizer = tiny_tokenizers["unigram"]
    last = len(tokenizer) - 1
    with pytest.raises(ValueError, match=f"'<mask>' has the id {last}, but the model's embeddings have {last} rows"):
        save_tokenizer(tokenizer, beside(tmp_path, "xlm-roberta", vocab_size=last))
    save_tokenizer(tokenizer, beside(tmp_path, "xlm-roberta", vocab_size=last + 1))


def test_what_was_passed_is_left_alone(tmp_path):
    tokenizer = conftest.build_byte_bpe()
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=8)
    state = tokenizer.backend_tokenizer.to_str()
    save_tokenizer(tokenizer, tmp_path)
    assert tokenizer.backend_tokenizer.to_str() == state


def test_the_same_files_are_proven_once(tiny_tokenizers, tmp_path, monkeypatch):
    monkeypatch.setattr("ofa_transformers.tokenization.saving._proven", set())
    tokenizer = tiny_tokenizers["unigram"]
    save_tokenizer(tokenizer, beside(tmp_path / "first", "xlm-roberta", vocab_size=500))
    monkeypatch.setattr("ofa_transformers.tokenization.saving.AutoTokenizer", None)
    save_tokenizer(tokenizer, beside(tmp_path / "second", "xlm-roberta", vocab_size=400))
    for name in ("qwen2", "bert"):  # another type may choose another class
        with pytest.raises(ValueError, match="would not read back"):
            save_tokenizer(tokenizer, beside(tmp_path / name, name))
    with pytest.raises(ValueError, match="have 9 rows"):
        save_tokenizer(tokenizer, beside(tmp_path / "third", "xlm-roberta", vocab_size=9))


def test_a_refused_folder_does_not_appear(tiny_tokenizers, tmp_path):
    with pytest.raises(ValueError, match="not read back"), new_folder(tmp_path / "out") as folder:
        save_tokenizer(tiny_tokenizers["wordpiece"], beside(folder, "qwen2"))
    assert not list(tmp_path.iterdir())


# The commands


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory):
    """A tiny Qwen2 and its tokenizer, in a folder."""
    folder = tmp_path_factory.mktemp("source") / "qwen2"
    tokenizer = tokenizer_classes.build(Qwen2Tokenizer)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=len(tokenizer), intermediate_size=16, eos_token_id=tokenizer.eos_token_id, **sizes)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


def test_adapt_refuses_before_the_work(qwen2, tiny_tokenizers, word_vectors, tmp_path):
    with pytest.raises(ValueError, match=r"target_tokenizer: AutoTokenizer would not read back.*Qwen2Tokenizer"):
        ofa.OfaInitializer.from_pretrained(
            qwen2, target_tokenizer=tiny_tokenizers["unigram"], word_vectors=tmp_path / "never read"
        )


def test_adapt_to_one_like_the_source(qwen2, word_vectors, tmp_path):
    like = train_tokenizer(TEXTS, 400, like=AutoTokenizer.from_pretrained(qwen2))
    adapted = ofa.OfaInitializer.from_pretrained(qwen2, target_tokenizer=like, word_vectors=word_vectors)
    adapted.save_pretrained(tmp_path / "adapted")
    assert_same(like, tmp_path / "adapted")
    check_saved_tokenizer(tmp_path / "adapted")


def test_training_refuses_a_tokenizer_that_would_not_come_back(qwen2, tiny_tokenizers, tmp_path):
    from ofa_transformers.training.arguments import ModelArguments
    from ofa_transformers.training.setup import load

    save_tokenizer(tiny_tokenizers["unigram"], tmp_path / "tokenizer")
    with pytest.raises(ValueError, match="not read back"):
        load(ModelArguments(str(qwen2), tokenizer_name=str(tmp_path / "tokenizer")), causal=True)


def test_push_refuses_what_stock_saving_wrote_wrong(qwen2, tiny_tokenizers, tmp_path):
    folder = beside(tmp_path / "model", "qwen2")
    tiny_tokenizers["unigram"].save_pretrained(folder)
    result = CliRunner().invoke(app, ["push", str(folder), "somebody/model"])
    assert result.exit_code == 1
    assert re.search("would not read what tokenizer.json holds.*Nothing was pushed", result.output)


def test_adapt_and_pretrain_compare_on_the_users_text(tiny_tokenizers, word_vectors, tmp_path, monkeypatch):
    """Lines that no sample of the vocabulary has, of the text that the work is given."""
    compared = []

    def noting(*arguments):
        compared.append(sample_text(*arguments))
        return compared[-1]

    monkeypatch.setattr(saving, "sample_text", noting)
    tokenizer = tiny_tokenizers["unigram"]
    line = "zum alten Fluss und zum Meer"
    for size in (None, 8):
        monkeypatch.setattr(saving, "_proven", set())
        compared.clear()
        adapted = ofa.OfaInitializer.from_pretrained(
            make_source("xlm-roberta", tokenizer), source_tokenizer=tokenizer, target_tokenizer=tokenizer,
            word_vectors=word_vectors, embedding_size=size, target_text=[line],
        )  # fmt: skip
        adapted.save_pretrained(tmp_path / str(size), report_page=False)
        assert compared and all(line in sample for sample in compared)
    monkeypatch.setattr(saving, "_proven", set())
    compared.clear()
    (tmp_path / "deu.txt").write_text(f"{line}\n" * 3, encoding="utf-8")
    data = {"train": [str(tmp_path / "deu.txt")], "data_cache_dir": str(tmp_path / "cache")}
    prepare(ModelArguments(str(tmp_path / "8")), DataArguments(**data), causal=False, seed=0, weights=False)
    assert compared and all(line in sample for sample in compared)


def test_export_writes_for_both_versions(tiny_tokenizers, word_vectors, tmp_path):
    tokenizer = tiny_tokenizers["unigram"]
    adapted = ofa.OfaInitializer.from_pretrained(
        make_source("xlm-roberta", tokenizer), source_tokenizer=tokenizer, target_tokenizer=tokenizer,
        word_vectors=word_vectors, embedding_size=8,
    )  # fmt: skip
    adapted.save_pretrained(tmp_path / "factorized", report_page=False)
    result = CliRunner().invoke(app, ["export", str(tmp_path / "factorized"), "-o", str(tmp_path / "dense")])
    assert result.exit_code == 0, result.output
    assert settings(tmp_path / "dense")["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert_same(tokenizer, Path(tmp_path / "dense"))


def test_tokenizers_of_slow_classes_are_compared_too(tmp_path):
    from transformers import ByT5Tokenizer

    save_tokenizer(ByT5Tokenizer(), beside(tmp_path, "byt5"))
    assert isinstance(AutoTokenizer.from_pretrained(tmp_path), ByT5Tokenizer)
