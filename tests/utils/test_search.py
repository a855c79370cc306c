import numpy as np
import pytest
import torch

from ofa_transformers.utils import search as module
from ofa_transformers.utils.search import nearest_neighbors


def exact(queries: np.ndarray, candidates: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Everything in float64 at once; ties by lower index."""

    def unit(vectors):
        vectors = vectors.astype(np.float64)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(norms, norms, 1)

    cosines = np.einsum("nd,md->nm", unit(queries), unit(candidates)).round(13)  # so that equal vectors tie
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)


def vectors(rows: int, dimension: int = 24, seed: int = 0, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dimension)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 10, 300])
def test_against_all_at_once(k, dtype):
    queries, candidates = vectors(50, seed=1, dtype=dtype), vectors(300, dtype=dtype)
    indices, cosines = nearest_neighbors(queries, candidates, k, device="cpu")
    expected, values = exact(queries, candidates, k)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(cosines, values, atol=1e-12)


def test_ties_go_to_the_lower_index():
    """Many more equal candidates than are looked at first."""
    distinct = vectors(8)
    candidates = distinct[np.random.default_rng(2).integers(0, 8, size=400)]
    indices, _ = nearest_neighbors(vectors(30, seed=1), candidates, 10, device="cpu")
    np.testing.assert_array_equal(indices, exact(vectors(30, seed=1), candidates, 10)[0])


def test_differences_below_float32_count():
    queries, base = vectors(1, dtype=np.float64), vectors(1, seed=1, dtype=np.float64)
    candidates = base + np.arange(100)[:, None] * 1e-12 * queries  # ever nearer
    assert (candidates.astype(np.float32) == base.astype(np.float32)).all()
    indices, _ = nearest_neighbors(queries, candidates, 3, device="cpu")
    assert indices.tolist() == [[99, 98, 97]]


def test_zero_rows_have_cosine_zero():
    candidates = np.concatenate([np.zeros((40, 4), np.float32), -np.ones((3, 4), np.float32)])
    indices, cosines = nearest_neighbors(np.ones((2, 4), np.float32), candidates, 5, device="cpu")
    assert indices.tolist() == [[0, 1, 2, 3, 4]] * 2 and (cosines == 0).all()


@pytest.mark.parametrize("bfloat16", [False, True])
def test_precision_blocks_and_threads_do_not_change_the_result(bfloat16, monkeypatch):
    queries, candidates = vectors(200, 33, seed=1), vectors(500, 33)
    candidates[100:150] = candidates[:50]
    candidates[150:200] = candidates[200:250] * 1.25 + 1e-4 * candidates[:50]  # nearer than bfloat16 tells apart
    expected, before = nearest_neighbors(queries, candidates, 10, device="cpu"), torch.get_num_threads()
    monkeypatch.setattr(module, "cpu_multiplies_bfloat16", lambda: bfloat16)
    try:
        for similarities, tile, group, threads in (
            (1 << 25, 99, 1, 1),
            (1 << 25, 128, 4, 2),
            (1, 7, 8, 2),
            (7 * 500, 999, 2, 1),
        ):
            for name, value in (
                ("BLOCK_SIMILARITIES", similarities),
                ("TILE_CANDIDATES", tile),
                ("TILE_QUERIES", tile),
                ("GROUP", group),
            ):
                monkeypatch.setattr(module, f"_{name}", value)
            torch.set_num_threads(threads)
            found = nearest_neighbors(queries, candidates, 10, device="cpu")
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(expected[0], exact(queries, candidates, 10)[0])


def lower_through_function():
    torch.set_float32_matmul_precision("medium")


def lower_through_attribute():
    torch.backends.cuda.matmul.fp32_precision = "tf32"


@pytest.mark.parametrize("lower", [lower_through_function, lower_through_attribute])
def test_a_lower_matmul_precision_does_not_reach_the_result(lower):
    if lower is lower_through_attribute and not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("PyTorch before 2.9 has only the function")
    queries, candidates = vectors(64, 200, seed=1), vectors(256, 200)
    expected = nearest_neighbors(queries, candidates, 5, device="cpu")
    try:
        lower()
        before = getattr(torch.backends.cuda.matmul, "fp32_precision", None)
        found = nearest_neighbors(queries, candidates, 5, device="cpu")
        assert getattr(torch.backends.cuda.matmul, "fp32_precision", None) == before
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_gives_the_same_result():
    queries, candidates = vectors(500, 200, seed=1), vectors(3000, 200)
    candidates[1000:1400] = candidates[:400]
    found = nearest_neighbors(queries, candidates, 10, device="cuda")
    expected = nearest_neighbors(queries, candidates, 10, device="cpu")
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
