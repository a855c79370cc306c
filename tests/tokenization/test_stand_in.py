"""Large vocabularies are proven by a stand-in: small ones here, once they count as large."""

import json
from types import SimpleNamespace

import conftest
import pytest
import tokenizer_classes
from transformers import AutoTokenizer

from ofa_transformers.tokenization import save_tokenizer, saving, stand_in


@pytest.fixture
def read(monkeypatch):
    """The folders that were read back."""
    folders = []

    def from_pretrained(folder, **options):
        folders.append(folder)
        return AutoTokenizer.from_pretrained(folder, **options)

    monkeypatch.setattr(saving, "AutoTokenizer", SimpleNamespace(from_pretrained=from_pretrained))
    monkeypatch.setattr(saving, "_proven", set())
    monkeypatch.setattr(stand_in, "SMALLEST", 100)
    monkeypatch.setattr(stand_in, "_ENDS", 4)
    return folders


def beside(folder, model_type):
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["XLMRobertaTokenizer", "AlbertTokenizer", "T5Tokenizer", None])
def test_what_the_stand_in_shows_holds_of_the_folder(name, read, tmp_path):
    """Of classes that build their tokenizer anew, and of the one that takes it as it is."""
    passed = conftest.build_unigram() if name is None else tokenizer_classes.build(tokenizer_classes.fast_class(name))
    model_type = "xlm-roberta" if name is None else tokenizer_classes.MODEL_TYPES[name][0]
    save_tokenizer(passed, beside(tmp_path, model_type), text=["das Haus"])
    assert len(read) == 1 and read[0] != tmp_path and not read[0].exists()
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.backend_tokenizer.model.__getstate__() == passed.backend_tokenizer.model.__getstate__()
    assert loaded.special_tokens_map == passed.special_tokens_map


def test_the_stand_in_differs_in_spellings_alone(read, tmp_path):
    passed = conftest.build_unigram()
    passed.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "other").mkdir()
    ids = passed("das Haus", add_special_tokens=False)["input_ids"]
    state = stand_in.write_stand_in(passed, tmp_path, ids, tmp_path / "other")
    old, new = (json.loads((folder / "tokenizer.json").read_text()) for folder in (tmp_path, tmp_path / "other"))
    pieces, short = (found["model"].pop("vocab") for found in (old, new))
    assert old == new and [score for _, score in pieces] == [score for _, score in short]
    same = {i for i, (one, other) in enumerate(zip(pieces, short)) if one == other}
    assert same >= {*ids, 0, 1, 2, 3, len(pieces) - 1} and len(same) < len(pieces) / 4
    assert len({piece for piece, _ in short}) == len(pieces)
    assert json.loads(state)["vocab"] == short
    assert (tmp_path / "other" / "model.safetensors").read_bytes() == b"weights"


def test_what_differs_is_refused_as_ever(read, tmp_path):
    passed = conftest.build_unigram()
    with pytest.raises(ValueError, match="it makes a Qwen2Tokenizer"):
        save_tokenizer(passed, beside(tmp_path, "qwen2"))
    assert len(read) == 2 and read[1] == tmp_path  # the error is of the folder itself


@pytest.mark.parametrize("change", ["piece", "score", "template"])
def test_a_file_that_says_something_else(change, read, tmp_path):
    passed, folder = conftest.build_unigram(), tmp_path / "stand-in"
    folder.mkdir()
    passed.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    if change == "template":
        content["post_processor"] = None
    else:
        content["model"]["vocab"][50][change == "score"] = "zzz" if change == "piece" else -99.5
    (tmp_path / "tokenizer.json").write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    state = stand_in.write_stand_in(passed, tmp_path, [], folder)
    if change == "template":
        assert "which cuts 'das Haus'" in saving._difference(passed, folder, ["das Haus"], state=state)
    else:
        assert state is None and not list(folder.iterdir())


def test_other_models_and_small_ones_are_read_as_they_are(read, tmp_path, monkeypatch):
    for build in (conftest.build_byte_bpe, conftest.build_wordpiece):
        save_tokenizer(build(), tmp_path)
        assert read.pop() == tmp_path and not read
    monkeypatch.setattr(stand_in, "SMALLEST", 100_000)
    save_tokenizer(conftest.build_unigram(), tmp_path)
    assert read == [tmp_path]
