"""Words weighted by frequency, and the filter of false friends."""

import numpy as np
import pytest
import torch
from conftest import TEXT, word_tokenizer

import ofa_transformers as ofa
from ofa_transformers.mapping import TokenKind, build_mapping


@pytest.fixture
def vectors() -> ofa.WordVectors:
    """English "die" is rare, German "die" common and means "the"; "radio" is the same in both."""
    words = ["$the$", "$die$", "$radio$", "$die$", "$radio$", "$sterben$"]
    languages = np.array(["eng", "eng", "eng", "deu", "deu", "deu"])
    matrix = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0.1], [0, 0, 1], [0, 1, 0.1]], dtype=np.float32)
    return ofa.WordVectors(words, languages, matrix, frequencies=np.array([900, 9, 100, 1000, 80, 20]))


def test_false_friends_are_composed_and_say_so(vectors):
    source, target = word_tokenizer("the", "die", "radio"), word_tokenizer("die", "radio", "sterben")
    options = {"source_languages": ["eng"], "target_languages": ["deu"], "num_neighbors": 1}
    plain = build_mapping(source, target, vectors, overlap="all", **options)
    assert plain.explain("▁die").match == "▁die"
    mapping = build_mapping(source, target, vectors, overlap="used_by_source", **options)
    die = mapping.explain("▁die")
    assert die.kind == TokenKind.COMPOSED and die.match is None and die.match_kind == "rejected"
    assert die.neighbors[0][0] == "▁the" and die.language == "deu"
    # 9 English words in 1,000 German ones.
    assert die.reason == (
        "The source has '▁die', but its languages use it 0.009 times as much as deu does, which makes it a false friend."
    )
    radio, sterben = mapping.explain("▁radio"), mapping.explain("▁sterben")
    assert radio.kind == TokenKind.COPIED and radio.reason == "The source has the same token."
    assert sterben.reason == "The source has no such token; it is part of 1 words."
    assert mapping.explain("<unk>").kind == TokenKind.SPECIAL  # special tokens are never rejected
    rows = np.eye(4, dtype=np.float32)
    np.testing.assert_array_equal(mapping.apply(rows)[mapping.target.ids["▁die"]], rows[source.get_vocab()["▁the"]])
    assert mapping.settings["overlap"] == "used_by_source"


def test_frequent_words_weigh_more(vectors):
    target = word_tokenizer("die", "radio")
    source = word_tokenizer("the", "sterben")
    # Of all languages together "die" is the mean of the English and the German word.
    uniform = build_mapping(source, target, vectors, num_neighbors=2, word_weighting="uniform")
    weighted = build_mapping(source, target, vectors, num_neighbors=2, word_weighting="sqrt_frequency")
    mean = (vectors.vectors[1] + vectors.vectors[3]) / 2
    root = np.sqrt([9, 1000])
    expected = (root[0] * vectors.vectors[1] + root[1] * vectors.vectors[3]) / root.sum()
    for mapping, vector in ((uniform, mean), (weighted, expected)):
        cosines = {token: cosine for token, _, _, cosine in mapping.explain("▁die").neighbors}
        the = vectors.vectors[0]
        assert abs(cosines["▁the"] - the @ vector / np.linalg.norm(the) / np.linalg.norm(vector)) < 1e-6


def test_what_weighting_and_filter_need(vectors):
    source, target = word_tokenizer("the"), word_tokenizer("die")
    bare = ofa.WordVectors(vectors.words, vectors.languages, vectors.vectors)
    for options in ({"word_weighting": "sqrt_frequency"}, {"overlap": "used_by_source", "source_languages": ["eng"]}):
        with pytest.raises(ValueError, match="needs word frequencies, but these word vectors have none"):
            build_mapping(source, target, bare, **options)
    with pytest.raises(ValueError, match=r"overlap='used_by_source' needs source_languages"):
        build_mapping(source, target, vectors, overlap="used_by_source")
    with pytest.raises(ValueError, match=r"word_weighting is 'log', but must be one of 'uniform', 'sqrt_frequency'"):
        build_mapping(source, target, vectors, word_weighting="log")
    with pytest.raises(ValueError, match="overlap is 'none', but must be one of 'all', 'used_by_source'"):
        build_mapping(source, target, vectors, overlap="none")


def test_the_initializer_takes_both(tiny_tokenizers):
    from adapted_models import make_source

    texts = {
        "eng": [(str(i), line) for i, line in enumerate(TEXT[:3])],
        "deu": [(str(i), line) for i, line in enumerate(TEXT[3:6])],
    }
    vectors = ofa.WordVectors.from_parallel(texts, dim=2, min_count=1)
    source = make_source("roberta", tiny_tokenizers["byte_bpe"])
    result = ofa.OfaInitializer.from_pretrained(
        source,
        source_tokenizer=tiny_tokenizers["byte_bpe"],
        target_tokenizer=tiny_tokenizers["unigram"],
        word_vectors=vectors,
        source_languages=["eng"],
        word_weighting="sqrt_frequency",
        overlap="used_by_source",
        embedding_size=8,
    )
    assert result.report.settings["word_weighting"] == "sqrt_frequency"
    assert (result.mapping.match_kinds == 5).sum() > 0
    assert torch.isfinite(result.model(torch.tensor([[0, 7, 8, 2]])).logits).all()
