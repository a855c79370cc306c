import numpy as np
import pytest

from ofa_transformers.utils.search import csls_neighbors
from ofa_transformers.vectors import Dictionary, WordVectors
from ofa_transformers.vectors.evaluation import lexicon_induction, segment_retrieval


def two_languages(noise: float = 0.0, count: int = 40, seed: int = 0) -> WordVectors:
    """English and German words eI and dI that mean the same, with vectors that differ by noise."""
    rng = np.random.default_rng(seed)
    meanings = rng.standard_normal((count, 16))
    vectors = np.concatenate([meanings, meanings + noise * rng.standard_normal(meanings.shape)])
    return WordVectors(
        [f"e{i}" for i in range(count)] + [f"D{i}" for i in range(count)], ["eng"] * count + ["deu"] * count, vectors
    )


def translations(count: int = 40) -> Dictionary:
    return Dictionary.from_entries(("deu", f"d{i}", "eng", f"e{i}") for i in range(count))


def test_csls_neighbors_are_those_of_its_definition():
    rng = np.random.default_rng(0)
    queries, candidates, population = (rng.standard_normal((n, 8)) + 0.3 for n in (30, 50, 60))
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, candidates, population)]
    density = np.sort(units[1] @ units[2].T, axis=1)[:, -7:].mean(axis=1)
    expected = np.argsort(-(2 * units[0] @ units[1].T - density), axis=1)[:, :4]
    found = csls_neighbors(queries, candidates, 4, population, neighborhood=7)
    np.testing.assert_array_equal(found, expected)
    by_cosine = np.argsort(-(units[0] @ units[1].T), axis=1)[:, :4]
    assert (found != by_cosine).any()  # the correction changes something here


def test_lexicon_induction():
    perfect = lexicon_induction(two_languages(), translations())
    (row,) = perfect.rows
    assert (row.source, row.target, row.entries, row.judged, row.candidates) == ("deu", "eng", 40, 40, 40)
    assert (row.cosine_top1, row.cosine_top5, row.csls_top1, row.csls_top5) == (1, 1, 1, 1)

    noisy = two_languages(noise=1.5)
    (row,) = lexicon_induction(noisy, translations(), pairs=[("eng", "deu")]).rows
    units = noisy.vectors / np.linalg.norm(noisy.vectors, axis=1, keepdims=True)
    ranks = np.argsort(-(units[:40] @ units[40:].T), axis=1)
    assert row.source == "eng"
    assert row.cosine_top1 == pytest.approx((ranks[:, 0] == np.arange(40)).mean())
    assert row.cosine_top5 == pytest.approx((ranks[:, :5] == np.arange(40)[:, None]).any(axis=1).mean())
    assert 0 < row.cosine_top1 < row.cosine_top5 < 1


def test_any_of_several_translations_counts_and_words_without_vectors_do_not():
    dictionary = Dictionary.from_entries(
        [
            ("deu", "d0", "eng", "e7"),
            ("deu", "d0", "eng", "e0"),
            ("deu", "d1", "eng", "e8"),
            ("deu", "d2", "eng", "nothing"),
            ("deu", "nichts", "eng", "e3"),
            ("fra", "f", "eng", "e4"),
        ]
    )
    (row,) = lexicon_induction(two_languages(), dictionary).rows  # French has no vectors
    assert (row.entries, row.judged, row.cosine_top1) == (4, 2, 0.5)


def test_max_words_bounds_who_competes_and_is_judged():
    (row,) = lexicon_induction(two_languages(), translations(), max_words=10).rows
    assert (row.judged, row.candidates) == (10, 10)


def test_segment_retrieval():
    vectors = two_languages()
    rng = np.random.default_rng(1)
    segments = {f"s{i}": rng.choice(40, size=4, replace=False) for i in range(30)}
    texts = {
        "eng": [(name, " ".join(f"e{i}" for i in words)) for name, words in segments.items()],
        "deu": [(name, " ".join(f"D{i}" for i in words[::-1]) + " xyz") for name, words in segments.items()],
    }
    for weighting in ("idf", "mean"):
        (row,) = segment_retrieval(vectors, texts, weighting=weighting).rows
        assert (row.language, row.segments, row.known_words) == ("deu", 30, pytest.approx(0.8))
        assert (row.to_top1, row.to_top5, row.from_top1, row.from_top5) == (1, 1, 1, 1)
    (row,) = segment_retrieval(vectors, texts, segments=[f"s{i}" for i in range(20)]).rows
    assert row.segments == 20

    shifted = {"eng": texts["eng"], "deu": [(f"s{(int(name[1:]) + 1) % 30}", text) for name, text in texts["deu"]]}
    (row,) = segment_retrieval(vectors, shifted).rows
    assert row.to_top1 == 0


def test_frequent_words_count_less_by_idf():
    vectors = two_languages()
    # d0 stands in every German segment often, and is no translation of anything there.
    texts = {
        "eng": [(str(i), f"e{i + 1}") for i in range(20)],
        "deu": [(str(i), f"d{i + 1}" + " d0" * 9) for i in range(20)],
    }
    (idf,) = segment_retrieval(vectors, texts).rows
    (mean,) = segment_retrieval(vectors, texts, weighting="mean").rows
    assert idf.from_top1 == 1 > mean.from_top1


def test_results_as_dict_and_table():
    result = lexicon_induction(two_languages(1.5), translations(), pairs=[("deu", "eng"), ("eng", "deu")])
    data = result.to_dict()
    assert [row["source"] for row in data["rows"]] == ["deu", "eng"]
    assert data["mean"]["csls_top1"] == pytest.approx(np.mean([row["csls_top1"] for row in data["rows"]]))
    lines = str(result).splitlines()
    assert len(lines) == 4 and lines[0].split()[:2] == ["source", "target"] and lines[3].split()[0] == "mean"
    assert f"{100 * data['mean']['cosine_top1']:.1f}" in lines[3]


def test_bad_input():
    vectors, dictionary = two_languages(), translations()
    french = Dictionary.from_entries([("fra", "f", "ita", "i")])
    with pytest.raises(ValueError, match=r"know both words of no entry of the dictionary \(fra, ita\)"):
        lexicon_induction(vectors, french)
    with pytest.raises(ValueError, match="No word vector has the language 'fra'"):
        lexicon_induction(vectors, dictionary, pairs=[("fra", "deu")])
    unknown = Dictionary.from_entries([("deu", "x", "eng", "y")])
    with pytest.raises(ValueError, match="No entry of deu and eng has both words among the vectors"):
        lexicon_induction(vectors, unknown, pairs=[("deu", "eng")])
    text = [(str(i), "e1") for i in range(9)]
    with pytest.raises(ValueError, match="'fra', the pivot"):
        segment_retrieval(vectors, {"eng": text, "deu": text}, pivot="fra")
    with pytest.raises(ValueError, match="weighting is 'tf'"):
        segment_retrieval(vectors, {"eng": text, "deu": text}, weighting="tf")
    with pytest.raises(ValueError, match="deu shares 3 segments with eng"):
        segment_retrieval(vectors, {"eng": text, "deu": text[:3]})
