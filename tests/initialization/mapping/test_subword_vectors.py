import numpy as np
import pytest

from ofa_transformers.initialization.mapping import subword_vectors as module
from ofa_transformers.initialization.mapping.subword_vectors import subword_vectors
from ofa_transformers.mapping import Vocabulary
from ofa_transformers.vectors import WordVectors


WORDS = ["house", "$Haus$", "haus$", "$mto", "ü", "river", "Rivers", "水", "ß", "$", "", "the", "the"]


@pytest.fixture
def vectors() -> WordVectors:
    values = np.random.default_rng(0).standard_normal((len(WORDS), 6))
    return WordVectors(WORDS, ["eng"] * len(WORDS), values)


def by_hand(vocabulary: Vocabulary, vectors: WordVectors, words, weights=None, per_form=False) -> np.ndarray:
    """The definition, one word and form at a time."""
    sums, totals = np.zeros((len(vocabulary), vectors.dimension)), np.zeros(len(vocabulary))
    for i in words:
        word = vectors.words[i]
        text = word.replace("$", " ")
        if not text.strip():
            continue
        capitalised = text[1].upper() + text[2:] if word[0] == "$" else " " + text[0].upper() + text[1:]
        found = [
            set(vocabulary.tokenizer.backend_tokenizer.encode(form, add_special_tokens=False).ids)
            for form in (text, " " + text, capitalised)
        ]
        for subword in set.union(*found):
            if not per_form and vocabulary.wordless[subword]:
                continue
            count = sum(subword in ids for ids in found) if per_form else 1
            count = count * (1 if weights is None else weights[i])
            sums[subword] += count * vectors.vectors[i].astype(np.float64)
            totals[subword] += count
    return sums / np.where(totals, totals, 1)[:, None]


@pytest.mark.parametrize("block_words", [1, 4, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_definition(tiny_tokenizer, vectors, block_words, weighted, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_WORDS", block_words)
    vocabulary = Vocabulary.from_tokenizer(tiny_tokenizer)
    words = np.array([0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11])
    weights = np.arange(1.0, 1 + len(WORDS)) if weighted else None
    found = subword_vectors(vocabulary, vectors, words, word_weights=weights)
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(found.vectors, by_hand(vocabulary, vectors, words, weights), atol=1e-6)
    assert not found.vectors[vocabulary.wordless].any()

    incidence = found.incidence.toarray()
    assert incidence.shape == (len(vocabulary), len(WORDS)) and not incidence[:, [5, 9, 10, 12]].any()
    means = incidence @ vectors.vectors / np.maximum(incidence.sum(axis=1, keepdims=True), 1e-9)
    np.testing.assert_allclose(found.vectors, means, atol=1e-5)
    np.testing.assert_array_equal(found.covered, incidence.any(axis=1))


def test_each_form_counts_in_the_published_rule(tiny_tokenizer, vectors):
    vocabulary = Vocabulary.from_tokenizer(tiny_tokenizer)
    words = np.arange(9)
    found = subword_vectors(vocabulary, vectors, words, authors_compatible=True)
    assert found.vectors.dtype == np.float64
    np.testing.assert_allclose(found.vectors, by_hand(vocabulary, vectors, words, per_form=True), atol=1e-12)
    assert found.incidence.data.max() == 3


def test_unk_has_no_vector(tiny_tokenizers, vectors):
    vocabulary = Vocabulary.from_tokenizer(tiny_tokenizers["unigram"])
    unknown = WordVectors(["ʘʘʘ", "house"], ["eng", "eng"], np.ones((2, 3)))
    for published in (False, True):
        found = subword_vectors(vocabulary, unknown, np.arange(2), authors_compatible=published)
        assert found.covered[vocabulary.roles["unk"]] == published


def test_no_words_that_say_anything(tiny_tokenizer, vectors):
    vocabulary = Vocabulary.from_tokenizer(tiny_tokenizer)
    found = subword_vectors(vocabulary, vectors, np.array([9, 10]))
    assert not found.vectors.any() and found.incidence.nnz == 0


def test_a_special_token_among_the_words(tiny_tokenizers):
    vocabulary = Vocabulary.from_tokenizer(tiny_tokenizers["byte_bpe"])
    found = subword_vectors(vocabulary, WordVectors(["<mask>", "a"], ["eng"] * 2, np.ones((2, 2))), np.arange(2))
    assert not found.covered[vocabulary.roles["mask"]] and found.covered[vocabulary.ids["a"]]
