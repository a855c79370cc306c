"""The map: what lies on it, and who translates whom."""

import numpy as np
import pytest
import scipy.sparse
from report_inputs import adapt_hostile

from ofa_transformers.report.map import NOTHING, _neighbourhoods, _translations


class Mapping:
    """Four tokens, each one word: Haus and nyumba mean `house`, Baum means something else."""

    languages = np.array(["eng", "deu", "swh", "deu", ""])
    incidence = scipy.sparse.csr_array(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0] * 4]))

    class word_vectors:
        vectors = np.array([[1, 0], [0.9, 0.1], [1, 0.1], [0, 1]], dtype=np.float32)

        def __len__(self):
            return 4

    word_vectors = word_vectors()


def test_translations_are_the_nearest_of_each_other_language():
    found = _translations(Mapping(), np.arange(5), offset=2)
    assert found.shape == (7, 8)
    house = [place for place in found[2].tolist() if place != NOTHING]
    assert sorted(house) == [3, 4]  # Haus, not Baum, and nyumba
    assert set(found[5].tolist()) == set(found[6].tolist()) == set(found[0].tolist()) == {NOTHING}


def test_rows_lie_around_the_mean_of_their_language(monkeypatch):
    monkeypatch.setattr("ofa_transformers.report.map._neighbourhoods", lambda *_: None)
    adapted = adapt_hostile(embedding_size=None)
    found = adapted.report.map
    assert found.method == "principal components" and np.abs(found.points).max() == pytest.approx(1)
    languages = adapted.mapping.languages[found.ids[found.num_source :]]
    for language in np.unique(languages):
        points = found.points[found.num_source :][languages == language]
        np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-5)
    assert (found.translations[: found.num_source] == NOTHING).all()


def test_neighbourhoods_with_opentsne():
    pytest.importorskip("openTSNE", reason="openTSNE is not installed (extra map)")
    generator = np.random.default_rng(0)
    centres = np.repeat(np.eye(4, 16, dtype=np.float32) * 5, 40, axis=0)
    rows = centres + generator.normal(size=(160, 16)).astype(np.float32)
    points = _neighbourhoods(rows, rows[:, :2], 0)
    np.testing.assert_array_equal(points, _neighbourhoods(rows, rows[:, :2], 0))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(axis=1) // 40 == np.arange(160) // 40).mean() > 0.95
