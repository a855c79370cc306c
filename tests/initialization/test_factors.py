"""Factors of the source's embeddings: the paper's, or those made for the target's rows."""

import dataclasses

import numpy as np
import pytest
import torch
from adapted_models import adapt, dense_rows, make_source
from conftest import TEXT

import ofa_transformers as ofa
from ofa_transformers.initialization import factors
from ofa_transformers.initialization.factors import token_weights
from ofa_transformers.initialization.head_bias import read_target_text
from ofa_transformers.mapping import TokenKind


SIZE = 12


@pytest.fixture
def make(tiny_tokenizers, word_vectors):
    """Adapts a source with its tokenizer to another; gives the source, too."""

    def run(architecture: str = "roberta", vectors: ofa.WordVectors = word_vectors, **options):
        tokenizer, goal = tiny_tokenizers["byte_bpe"], tiny_tokenizers["unigram"]
        source = make_source(architecture, tokenizer)
        return source, adapt(source, tokenizer, goal, vectors, **{"embedding_size": SIZE, **options})

    return run


@pytest.fixture
def counted(word_vectors):
    return ofa.WordVectors(
        word_vectors.words, word_vectors.languages, word_vectors.vectors, np.arange(len(word_vectors), 0, -1)
    )


def best_projection(rows: np.ndarray, weights: np.ndarray, size: int = SIZE) -> np.ndarray:
    """The projection of rank `size` that keeps most of the weighted rows, from an SVD of all of them."""
    right = np.linalg.svd(rows * np.sqrt(weights)[:, None], full_matrices=False)[2][:size]
    return right.T @ right


@pytest.mark.parametrize("with_text", [False, True])
@pytest.mark.parametrize("architecture", ["roberta", "roberta-untied", "gpt2"])
def test_primitives_are_the_best_for_the_targets_rows_weighted_by_use(
    make, counted, architecture, with_text, monkeypatch
):
    # Output rows that text moves are composed first.
    monkeypatch.setattr("ofa_transformers.initialization.initializer.rows_of_states", lambda *_: False)
    text = {"target_text": TEXT} if with_text else {}
    source, adapted = make(architecture, counted, **text)
    mapping = adapted.mapping
    if with_text:
        use = np.exp(read_target_text(adapted.tokenizer, TEXT).log_probabilities.double().numpy())
    else:
        tokens_of_words = mapping.incidence.toarray() != 0
        use = tokens_of_words @ np.asarray(counted.frequencies, dtype=np.float64)
        assert (use == 0).any()
        use[use == 0] = use[use > 0].mean()
    known = mapping.kinds != TokenKind.FALLBACK
    for part in ("get_input_embeddings", "get_output_embeddings"):
        rows = mapping.weights.astype(np.float64) @ getattr(source, part)().weight.detach().double().numpy()
        expected = rows @ best_projection(rows, np.sqrt(use))
        module = getattr(adapted.model, part)()
        np.testing.assert_allclose(dense_rows(module).numpy()[known], expected[known], rtol=1e-3, atol=1e-5)
        primitives = module.primitives.weight.detach()
        torch.testing.assert_close(primitives.T @ primitives, torch.eye(SIZE), rtol=1e-4, atol=1e-5)
    lost = np.sqrt(
        (np.sqrt(use) * np.square(rows - expected).sum(axis=1)).sum() / (np.sqrt(use) @ np.square(rows).sum(1))
    )
    part = "output" if architecture == "roberta-untied" else "input"
    assert adapted.report.reconstruction_error[part] == pytest.approx(lost, rel=1e-3)
    assert adapted.report.settings["primitives"] == "target"


def test_they_lose_less_of_the_rows_than_the_papers(make):
    errors = {}
    for primitives in ("source", "target"):
        source, adapted = make(primitives=primitives)
        assert adapted.report.settings["primitives"] == primitives
        known = adapted.mapping.kinds != TokenKind.FALLBACK
        rows = adapted.mapping.weights @ source.get_input_embeddings().weight.detach().numpy()
        made = dense_rows(adapted.model.get_input_embeddings()).numpy()
        errors[primitives] = np.linalg.norm((made - rows)[known]) / np.linalg.norm(rows[known])
    assert errors["target"] < 0.9 * errors["source"]
    _, full = make(embedding_size=None, primitives="target")
    assert full.report.settings["primitives"] is None


def test_the_papers_are_the_svd_of_the_source(make):
    source, adapted = make(primitives="source")
    coordinates, primitives = ofa.factorize(source.get_input_embeddings().weight.detach(), SIZE)
    known = torch.from_numpy(adapted.mapping.kinds != TokenKind.FALLBACK)
    expected = torch.from_numpy(adapted.mapping.weights @ coordinates.numpy())
    made = adapted.model.get_input_embeddings()
    torch.testing.assert_close(made.weight.detach()[known], expected[known], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(made.primitives.weight.detach().T, primitives)


def test_at_the_hidden_size_nothing_is_lost(make):
    source, adapted = make(embedding_size=32)
    known = adapted.mapping.kinds != TokenKind.FALLBACK
    rows = adapted.mapping.weights @ source.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_allclose(
        dense_rows(adapted.model.get_input_embeddings()).numpy()[known], rows[known], rtol=1e-4, atol=1e-6
    )
    assert adapted.report.reconstruction_error["input"] < 1e-3


def test_blocks_threads_and_the_device_do_not_change_them(make, monkeypatch):
    _, whole = make()
    monkeypatch.setattr(factors, "_BLOCK_ROWS", 17)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        _, cut = make(device="cpu")
    finally:
        torch.set_num_threads(before)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(cut.model.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_words_count_alike_without_frequencies_or_weighting(make, counted):
    _, plain = make()
    assert plain.mapping.usage.tolist() == (plain.mapping.incidence.toarray() != 0).sum(axis=1).tolist()
    _, uniform = make(vectors=counted, word_weighting="uniform", overlap="all")
    assert uniform.mapping.usage.tolist() == plain.mapping.usage.tolist()
    weights = token_weights(plain.mapping, None)
    assert weights.mean() == pytest.approx(1) and (weights > 0).all()


def test_tokens_of_no_word_and_no_words_at_all(make, word_vectors):
    _, adapted = make()
    weights, usage = token_weights(adapted.mapping, None), adapted.mapping.usage
    assert np.ptp(weights[usage == 0]) == 0 and weights[usage == 0][0] ** 2 == pytest.approx(
        usage[usage > 0].mean() * (weights**2 / np.where(usage > 0, usage, np.nan))[usage > 0][0]
    )
    foreign = ofa.WordVectors(["ⴰⵣⵓⵍ"], ["zgh"], word_vectors.vectors[:1])
    _, alone = make(vectors=foreign)
    assert np.ptp(token_weights(alone.mapping, None)) == 0
    assert torch.isfinite(alone.model.get_input_embeddings().weight).all()


def test_numbers_that_are_none_are_named_by_the_sources_row(tiny_tokenizers, word_vectors):
    tokenizer = tiny_tokenizers["byte_bpe"]
    source = make_source("roberta", tokenizer)
    source.get_input_embeddings().weight.data[7, 3] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite entries, first in row 7"):
        adapt(source, tokenizer, tiny_tokenizers["unigram"], word_vectors, embedding_size=SIZE)


def test_a_mapping_from_a_file_has_no_use(make, tmp_path):
    _, adapted = make()
    adapted.mapping.save(tmp_path / "mapping")
    with pytest.raises(ValueError, match="was loaded from a file and has no words"):
        _ = ofa.TokenMapping.load(tmp_path / "mapping").usage


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"primitives": "both"}, "primitives is 'both', but must be one of 'source', 'target'"),
        ({"primitives": "target", "authors_compatible": True}, "has no primitives='target'"),
    ],
)
def test_what_cannot_be_is_said_at_once(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize("primitives", ["source", "target"])
def test_a_device_without_float64_leaves_the_work_to_the_cpu(primitives, make):
    source, adapted = make()
    matrix = source.get_input_embeddings().weight.detach()
    there, here = (
        factors.Factorizer(adapted.mapping, primitives, device=device)("input", matrix, 4) for device in ("mps", "cpu")
    )
    for ours, theirs in zip(there, here):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_where_no_row_is_made_the_factors_are_the_sources(make):
    """Nothing was made for the target, so that nothing says how much of it is lost."""
    source, adapted = make(overlap="all")
    mapping = adapted.mapping
    empty = dataclasses.replace(
        mapping, weights=mapping.weights * 0, kinds=np.full_like(mapping.kinds, TokenKind.FALLBACK)
    )
    matrix = source.get_input_embeddings().weight.detach()
    found = factors.Factorizer(empty, "target", device="cpu")("input", matrix, 4)
    expected = factors.Factorizer(empty, "source", device="cpu")("input", matrix, 4)
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert found[2][4] > 0
