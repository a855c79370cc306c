import pytest
import torch

from ofa_transformers.models import factorization
from ofa_transformers.models.factorization import decompose, factorize, project, singular_values


def matrix(rows: int, columns: int, decay: float = 0.9, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    spectrum = decay ** torch.arange(columns)
    return torch.randn(rows, columns, generator=generator) * spectrum + 0.1


@pytest.mark.parametrize("size", [1, 7, 24])
def test_it_is_the_best_approximation_of_its_rank(size):
    embeddings = matrix(300, 24)
    coordinates, primitives = factorize(embeddings, size)
    assert coordinates.shape == (300, size) and primitives.shape == (size, 24)
    assert coordinates.dtype == primitives.dtype == torch.float32
    left, values, right = torch.linalg.svd(embeddings.double(), full_matrices=False)
    best = left[:, :size] * values[:size] @ right[:size]
    torch.testing.assert_close((coordinates @ primitives).double(), best, atol=5e-6, rtol=0)
    torch.testing.assert_close(coordinates.T @ coordinates, torch.eye(size), atol=1e-6, rtol=0)
    torch.testing.assert_close(primitives.norm(dim=1).double(), values[:size], atol=0, rtol=1e-6)


def test_signs_are_fixed():
    embeddings = matrix(50, 8)
    _, primitives = factorize(embeddings, 5)
    assert (primitives.gather(1, primitives.abs().argmax(dim=1, keepdim=True)) > 0).all()
    _, negated = factorize(-embeddings, 5)
    torch.testing.assert_close(primitives, negated, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rank", [0, 1, 5])
def test_lower_rank_than_asked_for_keeps_orthonormal_coordinates(rank):
    embeddings = matrix(60, 12, seed=1)[:, :rank] @ matrix(12, 12, seed=2)[:rank] if rank else torch.zeros(60, 12)
    coordinates, primitives = factorize(embeddings, 9)
    torch.testing.assert_close(coordinates.T @ coordinates, torch.eye(9), atol=1e-5, rtol=0)
    torch.testing.assert_close(coordinates @ primitives, embeddings, atol=1e-5, rtol=1e-5)


def test_small_singular_values_keep_orthonormal_coordinates():
    left, _ = torch.linalg.qr(torch.randn(200, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    right, _ = torch.linalg.qr(torch.randn(10, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    embeddings = left * 10.0 ** -torch.arange(10, dtype=torch.float64) @ right
    coordinates, primitives = factorize(embeddings, 10)
    torch.testing.assert_close(coordinates.T @ coordinates, torch.eye(10), atol=1e-5, rtol=0)
    torch.testing.assert_close((coordinates @ primitives).double(), embeddings, atol=1e-7, rtol=0)


def test_blocks_do_not_change_the_result(monkeypatch):
    embeddings = matrix(101, 16)
    expected = factorize(embeddings, 6)
    monkeypatch.setattr(factorization, "_BLOCK_ROWS", 10)
    for found, wanted in zip(factorize(embeddings, 6), expected):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)


def test_threads_do_not_change_the_result():
    embeddings, before = matrix(500, 32), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(factorize(embeddings, 10))
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*results):
        torch.testing.assert_close(one, two, atol=1e-7, rtol=1e-6)


def test_half_precision_and_gradients_are_accepted():
    embeddings = matrix(40, 8).to(torch.bfloat16).requires_grad_()
    coordinates, primitives = factorize(embeddings, 8)
    assert not coordinates.requires_grad
    torch.testing.assert_close(coordinates @ primitives, embeddings.detach().float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [0, -3, 9, 1000, 2.5, True])
def test_a_size_out_of_range_is_named(size):
    with pytest.raises(ValueError, match=rf"embedding_size .*{size}"):
        factorize(matrix(40, 8), size)


def test_fewer_rows_than_the_size():
    with pytest.raises(ValueError, match=r"5 x 8 .* from 1 to 5"):
        factorize(matrix(5, 8), 6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named_by_row(value):
    embeddings = matrix(40, 8)
    embeddings[17, 3] = value
    with pytest.raises(ValueError, match="row 17"):
        factorize(embeddings, 4)


def test_not_a_matrix():
    with pytest.raises(ValueError, match=r"\(40,\)"):
        factorize(torch.zeros(40), 4)


class OnMps(torch.Tensor):
    """A matrix that says it lies on MPS, where there is no float64: all that can be done with it here is to move it."""

    device = torch.device("mps")

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name not in ("detach", "cpu", "__get__", "dim", "split", "size"):
            raise TypeError(
                f"{name}: Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it"
            )
        result = super().__torch_function__(function, types, args, kwargs or {})
        return result.as_subclass(torch.Tensor) if name == "cpu" else result


@pytest.fixture
def moved(monkeypatch):
    """Shapes of what is moved to MPS, which stays where it is."""
    shapes, to = [], torch.Tensor.to

    def moving(tensor, *args, **kwargs):
        if args and args[0] == torch.device("mps"):
            assert tensor.dtype == torch.float32
            shapes.append(tuple(tensor.shape))
            return tensor
        return to(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", moving)
    return shapes


@pytest.mark.parametrize("rank", [10, 2])  # full, or lower than the size
def test_a_matrix_on_mps_is_factorized_on_the_cpu_and_moved_back(rank, moved):
    matrix = torch.randn(50, rank) @ torch.randn(rank, 10)
    elsewhere = matrix.as_subclass(OnMps)
    with pytest.raises(TypeError, match="float64"):
        elsewhere.double()
    expected = factorize(matrix, 4, return_singular_values=True)
    assert not moved
    for one, other in zip(factorize(elsewhere, 4, return_singular_values=True), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert moved == [(50, 4), (4, 10)]
    decomposition = decompose(elsewhere)
    expected = project(matrix, 3, decompose(matrix))
    for one, other in zip(project(elsewhere, 3, decomposition), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert moved[2:] == [(50, 3), (3, 10)]
    torch.testing.assert_close(singular_values(elsewhere), singular_values(matrix), rtol=0, atol=0)
