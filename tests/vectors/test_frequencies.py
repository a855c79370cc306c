import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ofa_transformers.vectors import WordVectors, frequencies
from ofa_transformers.vectors.frequencies import from_rank


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "vectors.txt"
    keys = ["deu:$der$", "eng:the", "deu:haus", "eng:of", "deu:Hund", "swh:na"]
    path.write_text("6 1\n" + "".join(f"{key} 1\n" for key in keys))
    return path


def test_estimates_by_rank():
    ids = np.array([0, 1, 0, 0, 1])
    found = from_rank(ids)
    shares = [1 / (rank + 2.7) for rank in (1, 2, 3)]
    np.testing.assert_allclose(found[ids == 0], [1e6 * share / sum(shares) for share in shares], rtol=1e-6)
    np.testing.assert_allclose(found[ids == 1], [1e6 * share / sum(shares[:2]) for share in shares[:2]], rtol=1e-6)


def test_rank_is_within_each_language(path):
    vectors = WordVectors.load(path)
    np.testing.assert_array_equal(vectors.frequencies, from_rank(np.array([0, 1, 0, 1, 0, 2])))
    assert vectors.metadata["frequencies"] == "estimated from rank"
    vectors = WordVectors.load(path, frequencies=None)
    assert vectors.frequencies is None and "frequencies" not in vectors.metadata


def test_words_in_alphabetical_order_have_no_rank(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(frequencies.logger, "warning", lambda text, *args: warnings.append(text % args))
    path = tmp_path / "numberbatch-en.txt"
    path.write_text("500 1\n" + "".join(f"w{i:03} 1\n" for i in range(500)))
    assert WordVectors.load(path).frequencies is None
    assert len(warnings) == 1 and "numberbatch-en.txt are in alphabetical order" in warnings[0]
    np.testing.assert_array_equal(
        WordVectors.load(path, frequencies="rank").frequencies, from_rank(np.zeros(500, int))
    )
    path.write_text("500 1\n" + "".join(f"w{i} 1\n" for i in range(500)))  # w10 after w9
    assert WordVectors.load(path).frequencies is not None and len(warnings) == 1


def test_wordfreq(path, monkeypatch):
    lists = {"de": {"der": 0.01, "haus": 1e-4, "hund": 5e-5, "rar": 1e-8}, "en": {"the": 0.05, "rare": 1e-7}}
    wordfreq = SimpleNamespace(available_languages=lambda _: lists, get_frequency_dict=lambda code, _: lists[code])
    monkeypatch.setitem(sys.modules, "wordfreq", wordfreq)
    vectors = WordVectors.load(path, frequencies="wordfreq")
    np.testing.assert_allclose(vectors.frequencies, [10_000, 50_000, 100, 0.1, 50, 1e6], rtol=1e-6)
    assert vectors.metadata["frequencies"] == "wordfreq; estimated from rank for swh"
    lists["sw"] = {"na": 0.02}  # Swahili's list has the code of the macrolanguage
    assert WordVectors.load(path, frequencies="wordfreq").frequencies[5] == 20_000
    lists.clear()
    with pytest.raises(ValueError, match=r"no list for deu, eng, swh.*frequencies='rank'"):
        WordVectors.load(path, frequencies="wordfreq")


def test_wordfreq_without_its_extra(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    with pytest.raises(ImportError, match=r"ofa-transformers\[wordfreq\]"):
        WordVectors.load(path, frequencies="wordfreq")
