import re
from itertools import product

import numpy as np
import pytest
import scipy.sparse
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from ofa_transformers.initialization.mapping import build as build_module
from ofa_transformers.initialization.mapping import fallback as fallback_module
from ofa_transformers.initialization.mapping import subword_vectors as subword_module
from ofa_transformers.initialization.mapping import token_mapping as module
from ofa_transformers.initialization.mapping.subword_vectors import subword_vectors
from ofa_transformers.mapping import TokenKind, TokenMapping, Vocabulary, build_mapping
from ofa_transformers.utils import search as neighbors_module
from ofa_transformers.vectors import WordVectors


KINDS = ("unigram", "byte_bpe", "wordpiece", "sentencepiece_bpe")
TEXT = {
    "eng": "the small house stands by the old river and runs to sea mother town bread water walk talk",
    "deu": "das kleine haus steht am alten fluss und läuft zum meer mutter stadt brot wasser gehen sprechen",
    "swh": "nyumba ndogo karibu mto wa zamani bahari mama mji mkate maji kutembea kuongea",
    "rus": "маленький дом стоит у старой реки море мать город хлеб вода идём говорим",
}


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
    words = [(language, word) for language, text in TEXT.items() for word in text.split()]
    values = np.random.default_rng(0).standard_normal((len(words), 12))
    frequencies = np.arange(len(words), 0, -1)
    return WordVectors([word for _, word in words], [language for language, _ in words], values, frequencies)


@pytest.fixture(scope="module")
def mapping(tiny_tokenizers, vectors) -> TokenMapping:
    return build_mapping(tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"], vectors, num_neighbors=4)


def same(one: TokenMapping, other: TokenMapping) -> bool:
    return (
        (one.weights != other.weights).nnz == 0
        and np.array_equal(one.kinds, other.kinds)
        and np.array_equal(one.cosines, other.cosines, equal_nan=True)
        and np.array_equal(one.match_kinds, other.match_kinds)
    )


def test_rows_sum_to_one_in_every_pair_of_kinds(tiny_tokenizers, vectors):
    for source, target in product(KINDS, KINDS):
        mapping = build_mapping(tiny_tokenizers[source], tiny_tokenizers[target], vectors, num_neighbors=3)
        assert mapping.shape == (len(tiny_tokenizers[target]), len(tiny_tokenizers[source]))
        assert mapping.weights.dtype == np.float32 and mapping.weights.has_canonical_format
        sums, sizes = mapping.weights.sum(axis=1), np.diff(mapping.weights.indptr)
        made = mapping.kinds != TokenKind.FALLBACK
        np.testing.assert_allclose(sums[made], 1, atol=1e-6)
        assert (sizes[~made] == 0).all() and (sizes[mapping.kinds == TokenKind.COMPOSED] == 3).all()
        assert (sizes[np.isin(mapping.kinds, (TokenKind.COPIED, TokenKind.SPECIAL))] == 1).all()
        assert sum(mapping.counts().values()) == len(tiny_tokenizers[target])
        if source == target:
            assert (mapping.weights != scipy.sparse.csr_array(np.eye(len(sums)))).nnz == 0
        else:
            assert mapping.counts()[TokenKind.COMPOSED] > 0


def test_composed_rows_against_the_definition(tiny_tokenizers, vectors, mapping):
    source, target = (Vocabulary.from_tokenizer(tiny_tokenizers[name]) for name in ("unigram", "byte_bpe"))
    words = np.arange(len(vectors))
    weights = np.sqrt(vectors.frequencies)
    of_source, of_target = (
        subword_vectors(v, vectors, words, word_weights=weights).vectors.astype(np.float64) for v in (source, target)
    )
    covered = np.flatnonzero(of_source.any(axis=1))
    assert set(np.flatnonzero(mapping.kinds == TokenKind.COMPOSED)) <= set(np.flatnonzero(of_target.any(axis=1)))
    for row in np.flatnonzero(mapping.kinds == TokenKind.COMPOSED):
        lengths = np.linalg.norm(of_source[covered], axis=1) * np.linalg.norm(of_target[row])
        cosines = of_source[covered] @ of_target[row] / lengths
        nearest = np.argsort(-cosines.round(12), kind="stable")[:4]
        weights = np.exp(cosines[nearest] / 0.1) / np.exp(cosines[nearest] / 0.1).sum()
        expected = np.zeros(len(source))
        expected[covered[nearest]] = weights
        np.testing.assert_allclose(mapping.weights[[row]].toarray()[0], expected, atol=1e-6)


@pytest.mark.parametrize("temperature", [1e-6, 0.1, 1e6])
def test_softmax(temperature):
    cosines = np.array([[0.9, 0.8, -1.0], [1.0, 1.0, 1.0]])
    weights = build_module.softmax_weights(cosines, temperature)
    assert np.isfinite(weights).all() and (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights[1], 1 / 3)
    if temperature == 0.1:
        np.testing.assert_allclose(weights[0], np.exp([9, 8, -10]) / np.exp([9, 8, -10]).sum())


def test_blocks_and_threads_do_not_change_the_mapping(tiny_tokenizers, vectors, mapping, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(neighbors_module, "_BLOCK_SIMILARITIES", 1000)
    monkeypatch.setattr(neighbors_module, "_BLOCK_ROWS", 7)
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            again = build_mapping(tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"], vectors, num_neighbors=4)
            assert same(again, mapping)
    finally:
        torch.set_num_threads(before)
    monkeypatch.setattr(subword_module, "_BLOCK_WORDS", 5)  # sums in another order
    again = build_mapping(tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"], vectors, num_neighbors=4)
    np.testing.assert_allclose(again.weights.toarray(), mapping.weights.toarray(), atol=1e-5)


# ---------------------------------------------------------------------------------------------------------------- apply


def rows(mapping: TokenMapping, columns: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((mapping.shape[1], columns)).astype(np.float32) * 2 + 3


@pytest.mark.parametrize("block_rows", [1, 50, 100_000])
def test_apply_is_the_product(mapping, block_rows, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_ROWS", block_rows)
    source = rows(mapping)
    found = mapping.apply(source)
    made = mapping.kinds != TokenKind.FALLBACK
    np.testing.assert_allclose(found[made], (mapping.weights.toarray() @ source)[made], atol=1e-5)
    copied = np.flatnonzero(mapping.kinds == TokenKind.COPIED)
    np.testing.assert_array_equal(found[copied], source[mapping.weights.indices[mapping.weights.indptr[copied]]])


def test_apply_returns_what_it_was_given(mapping):
    source = rows(mapping)
    expected = mapping.apply(source)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        found = mapping.apply(torch.from_numpy(source).to(dtype).requires_grad_())
        assert found.dtype == dtype and not found.requires_grad
        np.testing.assert_allclose(found.float().numpy(), expected, rtol=0.02, atol=0.05)
    assert mapping.apply(source.astype(np.float64)).dtype == np.float64
    bias = mapping.apply(torch.from_numpy(source[:, 0]))
    assert bias.shape == (mapping.shape[0],)
    np.testing.assert_array_equal(mapping.apply(source[:, :1])[:, 0], bias.numpy())


def test_apply_does_not_change_its_input(mapping):
    source = torch.from_numpy(rows(mapping))
    kept = source.clone()
    mapping.apply(source)
    torch.testing.assert_close(source, kept, atol=0, rtol=0)


def test_normal_fallback_has_the_moments_of_the_source(mapping):
    source = rows(mapping, 400) * np.linspace(0.5, 2, 400, dtype=np.float32)
    missing = mapping.kinds == TokenKind.FALLBACK
    drawn = mapping.apply(source)[missing]
    assert missing.sum() > 50
    standard = (drawn - source.mean(axis=0)) / source.std(axis=0)
    assert abs(standard.mean()) < 0.02 and abs(standard.std() - 1) < 0.02
    assert abs(np.corrcoef(standard[:-1].ravel(), standard[1:].ravel())[0, 1]) < 0.02


def test_fallback_draws_depend_on_the_seed_and_the_token_alone(mapping, monkeypatch):
    source = rows(mapping)
    missing = mapping.kinds == TokenKind.FALLBACK
    first = mapping.apply(source, seed=1)
    np.testing.assert_array_equal(first, mapping.apply(source, seed=1))
    assert (first[missing] != mapping.apply(source, seed=2)[missing]).all()
    # Fewer missing rows: the others keep their draws.
    fewer = np.flatnonzero(missing)[::3]
    result = np.zeros_like(first)
    fallback_module.fallback_rows(result, fewer, source, mapping.source_rows, "normal", 1)
    np.testing.assert_array_equal(result[fewer], first[fewer])


def test_draws_reach_over_several_blocks(monkeypatch):
    monkeypatch.setattr(fallback_module, "_DRAW_ROWS", 16)
    source = np.random.default_rng(0).standard_normal((50, 300)).astype(np.float32)
    result, missing = np.zeros((70, 300), np.float32), np.array([0, 15, 16, 40, 69])
    fallback_module.fallback_rows(result, missing, source, np.ones(50, bool), "normal", 3)
    assert (result[missing] != 0).all() and not result[np.setdiff1d(np.arange(70), missing)].any()
    correlations = np.corrcoef(result[missing])
    assert (np.abs(correlations - np.eye(5)) < 0.25).all()


@pytest.mark.parametrize("fallback", ["mean", "zeros"])
def test_other_fallbacks(mapping, fallback):
    source = rows(mapping)
    found = mapping.apply(source, fallback=fallback)[mapping.kinds == TokenKind.FALLBACK]
    expected = source.mean(axis=0) if fallback == "mean" else np.zeros(5)
    np.testing.assert_allclose(found, np.tile(expected, (len(found), 1)), rtol=1e-5)


def test_padding_rows_are_neither_copied_nor_in_the_statistics(tiny_tokenizers, vectors, mapping):
    padded = build_mapping(
        tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"], vectors, num_neighbors=4,
        num_source_rows=mapping.shape[1] + 40,
    )  # fmt: skip
    assert padded.shape[1] == mapping.shape[1] + 40 and padded.source_rows.sum() == mapping.shape[1]
    source = rows(mapping)
    filled = np.concatenate([source, np.full((40, 5), 1e6, np.float32)])
    np.testing.assert_array_equal(padded.apply(filled), mapping.apply(source))


def test_fewer_rows_than_tokens(tiny_tokenizers, vectors, caplog):
    mapping = build_mapping(tiny_tokenizers["unigram"], tiny_tokenizers["wordpiece"], vectors, num_source_rows=100)
    assert mapping.shape[1] == 100 and mapping.weights.indices.max() < 100
    assert np.isfinite(mapping.apply(np.ones((100, 2), np.float32), fallback="zeros")).all()


def test_wrong_arguments_of_apply(mapping):
    with pytest.raises(ValueError, match=f"{mapping.shape[1]} source rows"):
        mapping.apply(np.zeros((mapping.shape[1] + 1, 3), np.float32))
    with pytest.raises(ValueError, match="'normal', 'multivariate_normal', 'mean', 'zeros'"):
        mapping.apply(rows(mapping), fallback="random")


# ------------------------------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_neighbors": 0}, "num_neighbors is 0"),
        ({"temperature": 0}, "temperature is 0"),
        ({"temperature": -1.5}, "temperature is -1.5"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"max_words": 0}, "max_words is 0"),
        ({"num_source_rows": 0}, "num_source_rows is 0"),
        ({"source_languages": ["en"]}, "source_languages: .*'en'.*eng"),
        ({"target_languages": ["deu", "xyz"]}, "target_languages: .*'xyz'.*deu, eng, rus, swh"),
        ({"target_languages": []}, "target_languages: .*empty"),
    ],
)
@pytest.mark.parametrize("authors_compatible", [False, True])
def test_bad_arguments(tiny_tokenizers, vectors, options, message, authors_compatible, monkeypatch):
    monkeypatch.setattr(build_module, "subword_vectors", None)  # nothing long has begun
    with pytest.raises(ValueError, match=message):
        build_mapping(
            tiny_tokenizers["unigram"], tiny_tokenizers["wordpiece"], vectors, authors_compatible=authors_compatible,
            **options,
        )  # fmt: skip


def test_tokenizers_that_are_not_fast(tiny_tokenizers, vectors):
    with pytest.raises(ValueError, match="target_tokenizer must be a fast tokenizer"):
        build_mapping(tiny_tokenizers["unigram"], "a path", vectors)


def test_more_neighbors_than_source_tokens_with_a_vector(tiny_tokenizers, vectors, monkeypatch):
    messages = []
    monkeypatch.setattr(build_module.logger, "warning", lambda message, *values: messages.append(message % values))
    mapping = build_mapping(
        tiny_tokenizers["unigram"], tiny_tokenizers["wordpiece"], vectors, num_neighbors=10_000, max_words=3
    )
    composed = mapping.kinds == TokenKind.COMPOSED
    sizes = set(np.diff(mapping.weights.indptr)[composed])
    assert composed.any() and len(sizes) == 1 and max(sizes) < 100
    assert re.search(rf"10000, but only {max(sizes)} ", messages[0])


def test_no_source_token_with_a_vector(tiny_tokenizers):
    vectors = WordVectors(["水"], ["zho"], np.ones((1, 2)))
    mapping = build_mapping(tiny_tokenizers["sentencepiece_bpe"], tiny_tokenizers["unigram"], vectors)
    assert mapping.counts()[TokenKind.COPIED] > 10
    vectors = WordVectors(["$"], ["eng"], np.ones((1, 2)))
    mapping = build_mapping(tiny_tokenizers["unigram"], tiny_tokenizers["wordpiece"], vectors)
    assert mapping.counts()[TokenKind.COMPOSED] == 0 and mapping.counts()[TokenKind.COPIED] > 10


def test_languages_restrict_each_side(tiny_tokenizers, vectors):
    arguments = (tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"], vectors)
    mapping = build_mapping(*arguments, source_languages="eng", target_languages=iter(["swh", "rus"]))
    assert mapping.settings["source_languages"] == ["eng"] and mapping.settings["target_languages"] == ["rus", "swh"]
    composed = np.flatnonzero(mapping.kinds == TokenKind.COMPOSED)
    assert {language for i in composed for language, _ in mapping.explain(int(i)).words} == {"rus", "swh"}
    neighbors = np.unique(mapping.weights[composed].indices)
    text = " " + TEXT["eng"] + " " + TEXT["eng"].title()
    pieces = {i for form in text.split() for i in arguments[0].encode(form, add_special_tokens=False)}
    assert set(neighbors) <= pieces


def test_max_words_comes_after_the_languages_except_in_the_published_rule(tiny_tokenizers, vectors):
    arguments = (tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"], vectors)
    options = {"target_languages": ["swh"], "max_words": 5}
    used = build_mapping(*arguments, **options).incidence
    first = np.flatnonzero(vectors.languages == "swh")[:5]
    assert np.unique(used.indices).tolist() == first.tolist()
    assert build_mapping(*arguments, **options, authors_compatible=True).incidence.nnz == 0


def test_the_fuzzy_match_can_be_turned_off(tiny_tokenizers, vectors, mapping):
    strict = build_mapping(tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"], vectors, fuzzy_match=False)
    assert strict.counts()[TokenKind.COPIED] < mapping.counts()[TokenKind.COPIED]


def test_ids_without_a_token_fall_back(tiny_tokenizers, vectors):
    backend = Tokenizer.from_str(tiny_tokenizers["byte_bpe"].backend_tokenizer.to_str())
    content = backend.to_str().replace('"Ġthe":', '"Ġthe":100')  # an id far beyond the others
    target = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(content))
    mapping = build_mapping(tiny_tokenizers["unigram"], target, vectors)
    assert mapping.shape[0] > 10_000 and mapping.kinds[5000] == TokenKind.FALLBACK
    assert mapping.kinds[-1] == TokenKind.COMPOSED and mapping.apply(rows(mapping)).shape[0] == mapping.shape[0]


# -------------------------------------------------------------------------------------------------------------- explain


def test_explain(mapping, tiny_tokenizers):
    copied = mapping.explain("Ġhouse")
    assert (copied.kind, copied.match, copied.match_kind) == (TokenKind.COPIED, "▁house", "exact")
    assert ("eng", "house") in copied.words and copied.neighbors == []
    special = mapping.explain("<mask>")
    assert (special.kind, special.match, special.match_kind) == (TokenKind.SPECIAL, "<mask>", "role")

    row = int(np.flatnonzero(mapping.kinds == TokenKind.COMPOSED)[0])
    composed = mapping.explain(row)
    assert composed.id == row and composed.match is None and len(composed.neighbors) == 4
    assert composed == mapping.explain(composed.token)
    cosines = [cosine for *_, cosine in composed.neighbors]
    weights = [weight for _, _, weight, _ in composed.neighbors]
    assert cosines == sorted(cosines, reverse=True) and weights == sorted(weights, reverse=True)
    assert composed.num_words >= len(composed.words) > 0
    fallback = mapping.explain(int(np.flatnonzero(mapping.kinds == TokenKind.FALLBACK)[0]))
    assert fallback.neighbors == [] and fallback.to_dict()["kind"] == "fallback"


def test_explain_names_the_most_frequent_words_first(mapping, vectors):
    frequency = {
        (str(language), word): f for language, word, f in zip(vectors.languages, vectors.words, vectors.frequencies)
    }
    most = max(range(mapping.shape[0]), key=lambda i: mapping.explain(i).num_words)
    explained = mapping.explain(most, max_words=5)
    found = [frequency[word] for word in explained.words]
    assert len(found) == 5 < explained.num_words and found == sorted(found, reverse=True)


def test_explain_an_unknown_token(mapping):
    for token in ("no such token", 10**9, -1):
        with pytest.raises(KeyError, match="no token"):
            mapping.explain(token)


# ------------------------------------------------------------------------------------------------------- save and load


def test_save_and_load(mapping, tmp_path):
    path = mapping.save(tmp_path / "new" / "mapping.safetensors")
    loaded = TokenMapping.load(path)
    assert same(loaded, mapping) and loaded.settings == mapping.settings
    assert [p.name for p in path.parent.iterdir()] == ["mapping.safetensors"]
    np.testing.assert_array_equal(loaded.apply(rows(mapping)), mapping.apply(rows(mapping)))
    with pytest.raises(ValueError, match="loaded from a file"):
        loaded.explain("Ġhouse")


def test_a_save_that_fails_leaves_the_old_file(mapping, tmp_path, monkeypatch):
    path = mapping.save(tmp_path / "mapping.safetensors")
    content = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        mapping.save(path)
    assert path.read_bytes() == content and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_files_that_are_no_mapping(mapping, tmp_path):
    path = mapping.save(tmp_path / "mapping.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="damaged"):
        TokenMapping.load(path)
    from safetensors.numpy import save_file

    save_file({"a": np.ones(2)}, path)
    with pytest.raises(ValueError, match="not a token mapping"):
        TokenMapping.load(path)
