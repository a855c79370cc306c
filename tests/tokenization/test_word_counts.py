"""Words of a text as the tokenizer's model gets them."""

from collections import Counter

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from ofa_transformers.tokenization.word_counts import count_words, word_splitter


@pytest.fixture
def backend():
    backend = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return backend


def test_words_are_weighted_by_language(backend):
    texts = {"a": ["x y"] * 8, "b": ["z z"]}
    proportional = count_words(backend, texts, 1.0)
    assert proportional.words == ["x", "y", "z"]
    assert (proportional.weights / 16).tolist() == [8, 8, 2]
    equal = count_words(backend, texts, 0.0)
    assert (equal.weights / 16).tolist() == [4.5, 4.5, 9]


def test_the_table_of_words_is_bounded(backend):
    seen = []
    lines = (seen.append(i) or f"often w{i}" for i in range(1000))
    words = count_words(backend, {"a": lines}, 1.0, max_words=100)
    assert len(seen) == 1000
    assert len(words.words) <= 100
    weights = dict(zip(words.words, words.weights.tolist()))
    assert weights["often"] >= 16_000
    # what is left out makes the rest weigh more, so that the language keeps its share
    total = sum(len(word) * weight for word, weight in weights.items()) / 16
    assert abs(total - (5 * 1000 + sum(len(f"w{i}") for i in range(1000)))) < 100
    once = count_words(backend, {"a": (f"w{i}" for i in range(1000))}, 1.0, max_words=100)
    assert len(once.words) > 40, "words that all occur once are not all dropped"


def test_words_are_cut_at_the_mark_where_nothing_else_cuts(tiny_tokenizers):
    words = count_words(tiny_tokenizers["sentencepiece_bpe"].backend_tokenizer, {"a": ["das Haus  steht"]}, 1.0)
    assert set(words.words) == {"▁das", "▁Haus", "▁▁steht"}


@pytest.mark.parametrize("kind", ["unigram", "wordpiece", "byte_bpe", "sentencepiece_bpe"])
def test_words_are_what_whole_lines_give(kind, tiny_tokenizers):
    """Cutting each string between spaces once is a short cut, and must not show."""
    backend = tiny_tokenizers[kind].backend_tokenizer
    lines = [" das Haus,  das\tHaus.", "a\u3000b a\u00a0b \u00b4x", "(das) ﬁne", ""]
    expected = Counter(word for line in lines for word in word_splitter(backend)(line))
    words = count_words(backend, {"a": lines}, 1.0)
    found = dict(zip(words.words, (words.weights // 16).tolist()))
    if kind == "unigram":  # of one space more or less, the model sees an empty word
        expected.pop("▁", None)
        found.pop("▁", None)
    assert found == expected


def test_rare_words_keep_their_share_of_a_small_part(backend):
    """Of few characters of much text, no word is lost by rounding."""
    texts = {"a": [f"often w{i}" for i in range(1000)]}
    words = count_words(backend, texts, 1.0, max_characters=100)
    assert len(words.words) == 1001
    share = words.weights / words.weights.sum()
    assert share[words.words.index("often")] == pytest.approx(0.5, rel=1e-3)
    assert words.weights.sum() / words.unit == pytest.approx(2000 * 100 / sum(map(len, texts["a"])), rel=0.01)
