"""Measures of tokenizers, against counts made by hand."""

import json
import sys

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ofa_transformers.tokenization import Fertility, FertilityReport, measure_fertility


def test_counts_of_wordpiece():
    vocabulary = {"[UNK]": 0, "ab": 1, "##c": 2, ",": 3}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    result = measure_fertility({"t": tokenizer}, {"xyz": ["ab, abc", "abc zz"]}).results["t"]["xyz"]
    assert result == Fertility(words=4, characters=13, tokens=7, unk_tokens=1, byte_tokens=0)
    assert result.tokens_per_word == 7 / 4
    assert result.characters_per_token == 13 / 7
    assert result.unk_share == 1 / 7
    assert result.byte_share == 0


def test_byte_level_counts_pieces_of_characters():
    alphabet = {token: i for i, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merged = {"Ã¤": 256}  # the two bytes of ä
    backend = Tokenizer(models.BPE(alphabet | merged, [("Ã", "¤")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    result = measure_fertility({"t": tokenizer}, {"deu": ["aäö"]}).results["t"]["deu"]
    assert (result.tokens, result.byte_tokens, result.unk_tokens) == (4, 2, 0)


def test_byte_fallback_is_counted(tiny_tokenizers):
    result = measure_fertility({"t": tiny_tokenizers["sentencepiece_bpe"]}, {"amh": ["ሰላም"]}).results["t"]["amh"]
    assert result.byte_tokens == 9 and result.tokens == 10 and result.words == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("the house, isn't it? 12,000", 5),
        ("नमस्ते दुनिया", 2),
        ("小房子 在", 4),
        ("สวัสดี", 4),
        ("ka‌k e\u0301te\u0301", 2),
        ("ひらがなAB", 5),
    ],
)
def test_words(line, words, tiny_tokenizers):
    result = measure_fertility({"t": tiny_tokenizers["byte_bpe"]}, {"xyz": [line]}).results["t"]["xyz"]
    assert result.words == words


def test_special_tokens_truncation_and_padding_do_not_count(tiny_tokenizers):
    tokenizer = tiny_tokenizers["unigram"]
    expected = len(tokenizer("das kleine Haus", add_special_tokens=False)["input_ids"])
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()))
    other.backend_tokenizer.enable_truncation(2)
    other.backend_tokenizer.enable_padding(length=40)
    report = measure_fertility({"a": tokenizer, "b": other}, {"deu": (line for line in ["das kleine Haus"])})
    assert [report.results[name]["deu"].tokens for name in "ab"] == [expected, expected]


@pytest.fixture
def report():
    return FertilityReport(
        {
            "old|er": {"deu": Fertility(10, 50, 20, 2, 0), "zul": Fertility(10, 60, 40, 0, 4)},
            "new": {"deu": Fertility(10, 50, 20, 2, 0), "zul": Fertility(10, 60, 20, 0, 1)},
        }
    )


def test_tables(report):
    assert report.mean("old|er", "tokens_per_word") == 3.0
    lines = report.to_markdown().splitlines()
    assert len(lines) == 2 + 6
    assert lines[2] == "| deu | 10 | old\\|er | 2.00 | 2.50 | 10.00% | 0.00% |"
    assert lines[-1] == "| mean |  | new | 2.00 | 2.75 | 5.00% | 2.50% |"
    assert len(report.cells()[1]) == 6
    data = json.loads(report.to_json())
    assert data["new"]["zul"]["byte_share"] == 0.05
    assert data["new"]["zul"]["tokens"] == 20


def test_picture(report, tmp_path):
    pytest.importorskip("matplotlib", reason="the picture is an extra")
    report.plot(tmp_path / "fertility.png")
    assert (tmp_path / "fertility.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"fertility\.xyz: no ending of a picture"):
        report.plot(tmp_path / "fertility.xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["fertility.png"]


def test_picture_without_matplotlib_names_the_extra(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"ofa-transformers\[plot\]"):
        report.plot(tmp_path / "fertility.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tokenizers", "texts", "message"),
    [
        ({}, {"deu": ["a"]}, "tokenizers is empty"),
        ({"t": object()}, {"deu": ["a"]}, "object, which is slow"),
        (None, {"deu": ["...", ""]}, "'deu' has no words"),
        (None, {}, "at least one language"),
    ],
)
def test_bad_input_is_refused(tokenizers, texts, message, tiny_tokenizers):
    with pytest.raises(ValueError, match=message):
        measure_fertility({"t": tiny_tokenizers["unigram"]} if tokenizers is None else tokenizers, texts)
