"""Vocabulary size by measurement, and whether a source's tokenizer serves languages."""

import itertools

import pytest
from conftest import TEXT, build_byte_bpe, build_unigram
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ofa_transformers.tokenization import train_tokenizer
from ofa_transformers.tokenization.sizing import LEAST_GAIN, choose_size, judge_service


LINES = {"eng": [f"{TEXT[i % 3]} {i}" for i in range(60)], "swh": [f"{TEXT[6 + i % 2]} {i}" for i in range(60)]}

WRITTEN = {"eng": TEXT[:3] * 10, "swh": TEXT[6:8] * 15}


def test_the_size_is_the_last_doubling_that_is_worth_it():
    made = []

    def make(texts, size):
        made.append(size)
        assert all(line not in texts[language] for language in LINES for line in LINES[language][::10])
        return train_tokenizer(texts, size, algorithm="bpe")

    choice = choose_size(make, LINES, start=300, most=4800)
    sizes = list(choice.tokens)
    assert choice.size in sizes and made[: len(sizes)] == sizes
    kept = [choice.tokens[size] for size in sizes if size <= choice.size]
    assert all(after <= (1 - LEAST_GAIN) * before for before, after in itertools.pairwise(kept))
    beyond = [choice.tokens[size] for size in sizes if size > choice.size]
    assert all(count > (1 - LEAST_GAIN) * kept[-1] for count in beyond)
    assert f"{choice.size:,} tokens" in str(choice)


def test_too_small_sizes_are_passed_over_and_too_few_lines_said():
    def make(texts, size):
        if size < 600:
            raise ValueError("smaller than the alphabet")
        return train_tokenizer(texts, size, algorithm="bpe")

    assert min(choose_size(make, LINES, start=300, most=1200).tokens) == 600
    with pytest.raises(ValueError, match="holds the characters of the text"):
        choose_size(make, LINES, start=300, most=500)
    with pytest.raises(ValueError, match="swh has 5 lines"):
        choose_size(make, {**LINES, "swh": LINES["swh"][:5]}, start=300, most=1200)


def test_a_tokenizer_that_writes_all_is_extended():
    service = judge_service(build_unigram(), WRITTEN, "eng", parallel=True)
    assert service.extend and set(service.ratios) == {"swh"} and str(service).startswith("extend: ")


def test_one_that_does_not_gives_way_with_the_reason():
    unknown = judge_service(build_unigram(), {**WRITTEN, "hye": ["տուն ջուր"] * 60}, "eng", parallel=True)
    assert not unknown.extend and "of its tokens are unknown" in unknown.reasons["hye"]
    long = judge_service(
        build_byte_bpe(), {**WRITTEN, "hye": ["տունը փոքր է և հին գետը մեծ է ու խորը"] * 60}, "eng", parallel=True
    )
    assert "tokens for one of the pivot's" in long.reasons["hye"] and str(long).startswith("train: ")


def test_one_that_makes_words_equal_gives_way():
    words = ["[UNK]", "mi", "ga", "wo", "house"]
    backend = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    service = judge_service(tokenizer, {"eng": ["house"] * 30, "ewe": ["mí mi gã ga"] * 30}, "eng", parallel=False)
    assert "become equal to others (ga = gã, mi = mí)" in service.reasons["ewe"]
