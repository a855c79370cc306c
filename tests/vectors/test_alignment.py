import json

import numpy as np
import pytest

from ofa_transformers.vectors import Dictionary, WordVectors
from ofa_transformers.vectors.alignment import procrustes


COUNT, DIM = 400, 12


def rotation(rows: int, columns: int, seed: int = 5) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((columns, columns)))[0][:rows]


@pytest.fixture
def space() -> WordVectors:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((COUNT, DIM)) @ np.diag(np.linspace(0.3, 1.5, DIM)) + 0.5
    return WordVectors([f"e{i}" for i in range(COUNT)], ["eng"] * COUNT, 2 * vectors)


def rotated(space: WordVectors, noise: float = 0.0, extra: int = 0) -> WordVectors:
    """German words dI: the English vectors turned away, with `extra` dimensions fewer."""
    rng = np.random.default_rng(1)
    vectors = space.vectors @ rotation(DIM, DIM).T
    vectors = vectors + noise * rng.standard_normal(vectors.shape)
    return WordVectors([f"d{i}" for i in range(COUNT)], ["deu"] * COUNT, vectors, frequencies=np.arange(COUNT)[::-1])


def dictionary(count: int) -> Dictionary:
    return Dictionary.from_entries(("deu", f"d{i}", "eng", f"e{i}") for i in range(count))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("columns", [DIM, DIM + 3])
def test_procrustes_finds_a_rotation_also_into_more_dimensions(columns):
    sources = np.random.default_rng(0).standard_normal((50, DIM))
    true = rotation(DIM, columns)
    found = procrustes(sources, sources @ true)
    np.testing.assert_allclose(found, true, atol=1e-10)
    np.testing.assert_allclose(found @ found.T, np.eye(DIM), atol=1e-10)


@pytest.mark.parametrize("center", [False, True])
def test_a_rotated_language_comes_back(space, center):
    source = rotated(space)
    aligned = source.aligned_to(space, dictionary(60), center=center)
    assert cosines(aligned.vectors, space.vectors).min() > 0.98
    assert np.linalg.norm(aligned.vectors, axis=1).mean() == pytest.approx(
        np.linalg.norm(space.vectors, axis=1).mean(), rel=1e-3
    )
    assert aligned.words == source.words
    np.testing.assert_array_equal(aligned.frequencies, source.frequencies)

    report = aligned.metadata["alignment"]
    assert (report["target"], report["anchors"]) == ("eng", 60)
    assert report["held_out"] == 0  # a tenth of 60 words are too few to judge by
    json.dumps(dict(aligned.metadata))


def test_quality_is_that_of_held_out_words(space):
    report = rotated(space, noise=0.5).aligned_to(space, dictionary(300), held_out=0.2, seed=1).metadata["alignment"]
    before, after = report["scores"]
    assert (report["anchors"], report["held_out"], report["candidates"]) == (300, 60, COUNT)
    assert (before["step"], after["step"], after["pairs"]) == ("before", "dictionary", 240)
    assert before["csls_top1"] < 0.1 < 0.5 < after["csls_top1"] <= after["csls_top5"]

    # Entries that say nothing teach nothing: the score does not come from the entries that it judges by.
    shuffled = np.random.default_rng(0).permutation(300)
    nonsense = Dictionary.from_entries(("deu", f"d{i}", "eng", f"e{j}") for i, j in enumerate(shuffled.tolist()))
    scores = rotated(space).aligned_to(space, nonsense, held_out=0.2).metadata["alignment"]["scores"]
    assert scores[-1]["csls_top1"] < 0.1


def test_refinement_finds_pairs_beyond_a_small_dictionary(space):
    source = rotated(space, noise=0.3)
    once = source.aligned_to(space, dictionary(14))
    refined = source.aligned_to(space, dictionary(14), refinements=3)
    assert cosines(refined.vectors, space.vectors).mean() > cosines(once.vectors, space.vectors).mean() + 0.01
    steps = [
        score["step"]
        for score in refined.aligned_to(space, dictionary(300), refinements=2).metadata["alignment"]["scores"]
    ]
    assert steps == ["before", "dictionary", "refinement 1", "refinement 2"]


def test_fewer_dimensions_are_padded_and_more_are_refused(space):
    flat = space.vectors.copy()
    flat[:, -2:] = 0
    flat_space = WordVectors(space.words, space.languages, flat)
    small = WordVectors([f"d{i}" for i in range(COUNT)], ["deu"] * COUNT, flat[:, :-2] @ rotation(DIM - 2, DIM - 2))
    aligned = small.aligned_to(flat_space, dictionary(100))
    assert aligned.dimension == DIM
    assert cosines(aligned.vectors, flat).min() > 0.999
    assert [score["step"] for score in aligned.metadata["alignment"]["scores"]] == ["dictionary"]
    with pytest.raises(ValueError, match="The vectors have 12 dimensions, the space 10"):
        WordVectors(space.words, space.languages, flat).aligned_to(small, dictionary(100))


def test_bad_input(space):
    source = rotated(space)
    with pytest.raises(ValueError, match=r"No entry of the dictionary .*fra.* vectors \(deu\) .* space \(eng\)"):
        source.aligned_to(space, Dictionary.from_entries([("fra", "chat", "eng", "e1")]))
    with pytest.raises(ValueError, match="held_out is 1"):
        source.aligned_to(space, dictionary(100), held_out=1)
