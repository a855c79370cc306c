"""Words that a normaliser makes equal, and normalisers that keep accents and case."""

import json

import pytest
import tokenizer_classes
from adapted_models import make_source
from tokenizers import normalizers
from transformers import AutoTokenizer, BertTokenizer

import ofa_transformers as ofa
from ofa_transformers.tokenization import (
    extend_tokenizer,
    measure_fertility,
    measure_merged_words,
    save_tokenizer,
    train_tokenizer,
)
from ofa_transformers.tokenization.normalization import keeping_accents_and_case


EWE = ["Mí yi aƒe gã la me, mi va ga la ta.", "wò ga gã wo mí kple mi", "Mí MÍ mí amewo", "wòa va aƒe"] * 3


@pytest.fixture(scope="module")
def uncased():
    return tokenizer_classes.build(BertTokenizer)


@pytest.fixture(scope="module")
def texts():
    return {"ewe_Latn": EWE, "eng_Latn": ["The house of my mother is small"] * 4}


def test_merged_words_are_counted_by_type_and_in_running_text(uncased):
    found = measure_merged_words(uncased, {"ewe": ["mí mi mí yi", "Yi ga"]})["ewe"]
    assert (found.types, found.merged_types, found.words, found.merged_words) == (4, 2, 6, 3)
    assert found.share == 0.5
    assert found.examples == (("mí", "mi"),)


def test_case_and_compatible_forms_are_no_words_of_their_own(uncased):
    found = measure_merged_words(uncased, {"deu": ["Weg weg WEG ﬁx fix"]})["deu"]
    assert (found.types, found.merged_types) == (2, 0)


def test_a_tokenizer_that_keeps_accents_merges_nothing(tiny_tokenizers, texts):
    for kind in ("unigram", "byte_bpe", "wordpiece"):
        assert measure_merged_words(tiny_tokenizers[kind], texts)["ewe_Latn"].merged_types == 0


def test_training_like_an_uncased_one_keeps_accents_and_case(uncased, texts, tmp_path):
    tokenizer = train_tokenizer(texts, 300, like=uncased)
    assert isinstance(tokenizer, BertTokenizer)
    assert tokenizer.tokenize("mí") != tokenizer.tokenize("mi") != tokenizer.tokenize("Mi")
    save_tokenizer(tokenizer, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(loaded, BertTokenizer) and loaded.do_lower_case is False
    assert loaded.tokenize("Mí gã") == tokenizer.tokenize("Mí gã")
    assert uncased.do_lower_case is True


def test_the_same_normalizer_where_it_is_asked_for(uncased, texts):
    tokenizer = train_tokenizer(texts, 300, like=uncased, same_normalizer=True)
    assert tokenizer.tokenize("mí") == tokenizer.tokenize("mi") == tokenizer.tokenize("Mi")
    assert tokenizer.backend_tokenizer.normalizer.__getstate__() == uncased.backend_tokenizer.normalizer.__getstate__()


@pytest.mark.parametrize("make", ["train", "extend", "adapt"])
def test_the_user_is_told(make, uncased, texts, word_vectors, monkeypatch):
    said = []
    for module in ("ofa_transformers.tokenization.checks", "ofa_transformers.initialization.inputs"):
        monkeypatch.setattr(f"{module}.logger.warning", said.append)
    if make == "train":
        train_tokenizer(texts, 300, like=uncased, same_normalizer=True)
    elif make == "extend":
        extend_tokenizer(uncased, texts, 20)
    else:
        adapted = ofa.OfaInitializer.from_pretrained(
            make_source("bert", uncased), source_tokenizer=uncased, target_tokenizer=uncased,
            word_vectors=word_vectors, target_text=EWE, embedding_size=8,
        )  # fmt: skip
        assert any("mí = mi" in warning for warning in adapted.report.warnings)
    told = [line for line in said if "words of" in line]
    assert len(told) == 1 and "mí = mi" in told[0] and ("ewe_Latn" in told[0] or "target_text" in told[0])


def test_fertility_says_it_too(uncased, tiny_tokenizers, texts):
    report = measure_fertility({"uncased": uncased, "cased": tiny_tokenizers["wordpiece"]}, texts)
    assert [note.split(":")[0] for note in report.notes()] == ["uncased"]
    assert json.loads(report.to_json())["uncased"]["ewe_Latn"]["merged_share"] > 0.2


@pytest.mark.parametrize(
    ("normalizer", "expected"),
    [
        (normalizers.BertNormalizer(), "Mí É"),
        (normalizers.BertNormalizer(lowercase=False, strip_accents=True), "Mí É"),
        (normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]), "Mí É"),
        (normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()]), "Mi\u0301 E\u0301"),
    ],
)
def test_normalizers_without_what_strips_and_folds(normalizer, expected):
    assert normalizer.normalize_str("Mí É") != expected
    assert keeping_accents_and_case(normalizer).normalize_str("Mí É") == expected


@pytest.mark.parametrize("normalizer", [None, normalizers.NFC(), normalizers.BertNormalizer(lowercase=False)])
def test_normalizers_that_do_neither_stay(normalizer):
    assert keeping_accents_and_case(normalizer) is normalizer
