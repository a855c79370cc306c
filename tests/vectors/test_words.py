import numpy as np
import pytest

from ofa_transformers.vectors import words as module
from ofa_transformers.vectors.words import CodedLanguages, Utf8Words, first_not_finite, take_words


WORDS = ["haus", "", "straße", "水", "a b", "line\u2028separator", "😀", "haus"]


@pytest.mark.parametrize("block", [1, 3, 65_536])
def test_words_as_bytes(block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    words = Utf8Words.from_strings(iter(WORDS))
    assert len(words) == 8 and words == WORDS and list(words) == WORDS
    assert [words[i] for i in range(-8, 8)] == WORDS * 2
    assert words[2:6] == WORDS[2:6] and words[::-2] == WORDS[::-2] and words[5:2] == []
    assert "水" in words and words.index("水") == 3 and words.count("haus") == 2
    assert words != WORDS[:-1] and words != WORDS[::-1] and words != "haus"
    assert repr(words) == "Utf8Words(8 words: 'haus', '', 'straße', '水', 'a b', ...)"
    with pytest.raises(IndexError):
        words[8]


@pytest.mark.parametrize(
    "indices",
    [[3], [0, 1, 2], [5, 6, 7], [7, 0, 0, 3], [-1, -8], [], [True, False] * 4],
    ids=["one", "first", "last", "mixed", "from the end", "none", "mask"],
)
def test_take(indices):
    indices = np.array(indices, dtype=None if indices else np.int64)
    expected = np.array(WORDS, dtype=object)[indices].tolist()
    assert Utf8Words.from_strings(WORDS).take(indices) == expected
    if indices.dtype != bool:
        assert take_words(WORDS, indices) == take_words(Utf8Words.from_strings(WORDS), indices) == expected


def test_indices_out_of_range():
    words = Utf8Words.from_strings(WORDS)
    for index in (8, -9):
        with pytest.raises(IndexError):
            words.take(np.array([0, index]))


def test_words_that_are_no_lines():
    with pytest.raises(ValueError, match=r"'a\\nb' has a line break"):
        Utf8Words.from_strings(["x", "a\nb"])
    with pytest.raises(ValueError, match=r"'\\udc80b' cannot be written in UTF-8"):
        Utf8Words.from_strings(["x", "\udc80b"])
    with pytest.raises(ValueError, match=r"damaged: b'.*\\xff.*' is not valid UTF-8"):
        Utf8Words(np.frombuffer(b"a\nb\xff\n", dtype=np.uint8))[1]


def test_languages_by_number():
    languages = CodedLanguages.from_names(np.array(["swh", "deu", "swh", "eng"]))
    assert languages.names.tolist() == ["deu", "eng", "swh"] and languages.counts().tolist() == [1, 1, 2]
    assert languages.array().tolist() == ["swh", "deu", "swh", "eng"]
    taken = languages.take(np.array([2, 1]))
    assert taken.names.tolist() == ["deu", "swh"] and taken.array().tolist() == ["swh", "deu"]


def test_the_first_row_that_is_not_finite(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 2)
    values = np.zeros((5, 2))
    assert first_not_finite(values) is None
    values[3:] = np.inf
    assert first_not_finite(values) == 3
