import json

import numpy as np
import pytest

from ofa_transformers.vectors import Dictionary, WordVectors
from ofa_transformers.vectors.concepts import estimate_frequencies, propagate, word_graph


@pytest.fixture
def base() -> WordVectors:
    """Four English words along axes, a German one; the most frequent first."""
    return WordVectors(
        ["water", "house", "cable", "Haus", "car"],
        ["eng", "eng", "eng", "deu", "eng"],
        3 * np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0.8, 0, 0.6], [0, 0, 0, 1]]),
        frequencies=[60, 40, 30, 20, 10],
        metadata={"origin": "a test"},
    )


def row(vectors: WordVectors, language: str, word: str) -> int:
    (found,) = [i for i, w in enumerate(vectors.words) if w == word and vectors.languages[i] == language]
    return found


def unit(*values: float) -> np.ndarray:
    return np.array(values) / np.linalg.norm(values)


def test_a_new_language_gets_the_means_of_translations(base):
    entries = [
        ("swh", "maji", "eng", "water"),
        ("swh", "nyumba", "eng", "House"),
        ("swh", "nyumba", "deu", "haus"),
        ("swh", "Zote", "eng", "water", 3),
        ("swh", "zote", "eng", "car", 1),
    ]
    vectors = WordVectors.from_dictionaries(entries, base)
    assert len(vectors) == len(base) + 3
    expected = {"maji": unit(1, 0, 0, 0), "nyumba": unit(0, 1.8, 0, 0.6), "zote": unit(3, 0, 0, 1)}
    for word, vector in expected.items():
        np.testing.assert_allclose(vectors.vectors[row(vectors, "swh", word)], 3 * vector, atol=1e-5)
    for i, (language, word) in enumerate(zip(base.languages, base.words)):
        found = row(vectors, language, word)
        np.testing.assert_array_equal(vectors.vectors[found], base.vectors[i])
        assert vectors.frequencies[found] == base.frequencies[i]
    assert (np.diff(vectors.frequencies) <= 0).all()
    # water's 60 are halved between maji and zote; nyumba has 40 by English and 20 by German; zote all 10 of car.
    assert vectors.frequencies[[row(vectors, "swh", w) for w in expected]].tolist() == [30, 30, 40]
    metadata = json.loads(json.dumps(dict(vectors.metadata)))
    assert "estimated" in metadata["frequencies"]
    assert (metadata["new_words"], metadata["known_words"], metadata["base"]) == (3, 4, {"origin": "a test"})


def test_words_of_several_parts_share_an_entry(base):
    entries = [("fra", "téléphérique", "eng", "cable car"), ("ces", "vodní dům", "eng", "water")]
    vectors = WordVectors.from_dictionaries(entries, base)
    np.testing.assert_allclose(vectors.vectors[row(vectors, "fra", "téléphérique")], 3 * unit(0, 0, 1, 1), atol=1e-5)
    assert {"vodní", "dům"} < set(vectors.words)
    whole = WordVectors.from_dictionaries(entries, base, tokenize=lambda text: [text])
    assert "vodní dům" in whole.words and "téléphérique" not in whole.words  # nobody knows "cable car"


def test_entries_are_cut_as_the_given_vectors_were(base):
    metadata = {"segmentation": {"method": "characters", "languages": ["cmn"]}}
    of_text = WordVectors(base.words, base.languages, base.vectors, metadata=metadata)
    vectors = WordVectors.from_dictionaries([("cmn", "水车", "eng", "water")], of_text)
    assert set(vectors.words) - set(base.words) == {"水", "车", "水车"}
    assert vectors.metadata["segmentation"] == {"method": "characters"}


def test_steps_reach_words_without_a_known_translation(base):
    entries = [
        ("swh", "maji", "eng", "aqua"),
        ("fra", "eau", "eng", "aqua"),
        ("fra", "eau", "eng", "water"),
        ("ces", "x", "ita", "y"),
    ]
    near = WordVectors.from_dictionaries(entries, base, steps=1)
    assert set(near.words) - set(base.words) == {"eau"}
    far = WordVectors.from_dictionaries(entries, base, steps=3)
    assert set(far.words) - set(base.words) == {"eau", "aqua", "maji"}
    np.testing.assert_allclose(far.vectors[row(far, "swh", "maji")], [3, 0, 0, 0], atol=1e-5)
    only = WordVectors.from_dictionaries(entries, base, steps=3, languages=["swh"])
    assert set(only.words) - set(base.words) == {"maji"}


def test_vectors_without_frequencies_keep_their_order(base):
    plain = WordVectors(base.words, base.languages, base.vectors)
    vectors = WordVectors.from_dictionaries([("swh", "maji", "eng", "water")], plain)
    assert vectors.frequencies is None
    assert list(vectors.words) == [*base.words, "maji"]


def concepts(count: int = 300) -> list[tuple]:
    """English words and their translations; words of one field, ten each, are mixed up by some translations."""
    rng = np.random.default_rng(0)
    entries = [(code, f"{code}{i}", "eng", f"eng{i}") for i in range(count) for code in ("deu", "fra", "swh")]
    for i in range(count):
        field = i // 10 * 10
        entries.append(("ita", f"ita{i}", "eng", f"eng{i}"))
        entries.append(("ita", f"ita{i}", "eng", f"eng{field + (i + 1) % 10}"))
        code = rng.choice(["deu", "fra", "swh"])
        entries.append((code, f"{code}{i}", "eng", f"eng{field + rng.integers(10)}"))
    return [*entries, *(("ita", "ita0", "eng", f"eng{i}") for i in range(0, count, 10))]


def test_a_graph_places_translations_together():
    entries = [*concepts(), ("swh", "alone", "fra", "seul")]
    vectors = WordVectors.from_dictionaries(entries, dim=64)
    assert "alone" not in vectors.words and vectors.metadata["words_apart"] == 2
    np.testing.assert_allclose(np.linalg.norm(vectors.vectors, axis=1), 1, rtol=1e-5)
    deu, fra = (vectors.vectors[[row(vectors, c, f"{c}{i}") for i in range(1, 300)]] for c in ("deu", "fra"))
    cosines = deu @ fra.T  # they share no entry: English connects them
    assert (cosines.argmax(axis=1) == np.arange(299)).mean() > 0.5
    field = np.arange(1, 300) // 10
    same_field = (field[:, None] == field) & ~np.eye(299, dtype=bool)
    assert cosines[same_field].mean() > cosines[field[:, None] != field].mean() + 0.1
    assert vectors.frequencies[row(vectors, "eng", "eng5")] == 4  # the languages that translate it
    assert (np.diff(vectors.frequencies) <= 0).all()

    again = WordVectors.from_dictionaries(entries, dim=64)
    np.testing.assert_array_equal(again.vectors, vectors.vectors)
    other = WordVectors.from_dictionaries(entries, dim=64, seed=1)
    assert not np.array_equal(other.vectors, vectors.vectors)


def test_words_of_one_translation_lie_at_it():
    entries = [*concepts(), ("ces", "voda", "eng", "eng7")]
    vectors = WordVectors.from_dictionaries(entries, dim=32, languages=["eng", "ces"])
    assert set(vectors.languages) == {"eng", "ces"}
    np.testing.assert_allclose(
        vectors.vectors[row(vectors, "ces", "voda")], vectors.vectors[row(vectors, "eng", "eng7")], atol=1e-6
    )


def test_a_word_and_its_translations_alone():
    vectors = WordVectors.from_dictionaries([("deu", "wasser", "eng", "water"), ("fra", "eau", "eng", "water")], dim=8)
    assert set(vectors.words) == {"wasser", "eau", "water"}
    np.testing.assert_allclose(np.linalg.norm(vectors.vectors, axis=1), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="No entry of the dictionary has a word"):
        WordVectors.from_dictionaries([("deu", "?", "eng", "!")])


def test_graph_of_words():
    dictionary = Dictionary.from_entries(
        [("deu", "A b", "eng", "x", 3), ("deu", "b", "eng", "x"), ("deu", "b", "deu", "B")]
    )
    graph = word_graph(dictionary, lowercase=True, tokenize=str.split)
    key = {f"{language}:{word}": i for i, (language, word) in enumerate(zip(graph.languages, graph.words))}
    assert set(key) == {"deu:a", "deu:b", "eng:x"}
    dense = graph.adjacency.toarray()
    np.testing.assert_array_equal(dense, dense.T)
    assert dense[key["deu:a"], key["eng:x"]] == 1.5
    assert dense[key["deu:b"], key["eng:x"]] == 2.5
    assert np.diag(dense).sum() == 0  # b and B are one node


def test_propagation_in_blocks_of_columns_is_the_same():
    dictionary = Dictionary.from_entries(concepts(60))
    graph = word_graph(dictionary, lowercase=True, tokenize=str.split)
    rng = np.random.default_rng(0)
    rows = np.where(graph.languages == "eng", np.cumsum(graph.languages == "eng") - 1, -1)
    known = rng.standard_normal((rows.max() + 1, 70)).astype(np.float32)
    nodes, vectors = propagate(graph.adjacency, known, rows, np.ones(len(rows), dtype=bool), steps=1)
    dense = graph.adjacency.toarray()[nodes][:, rows >= 0]
    expected = dense @ known
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
    assert set(graph.languages[nodes]) == {"deu", "swh", "fra", "ita"}


def test_frequencies_pass_on_over_two_steps():
    dictionary = Dictionary.from_entries(
        [("swh", "a", "eng", "x"), ("swh", "b", "eng", "x"), ("fra", "f", "swh", "a"), ("ita", "far", "fra", "f")]
    )
    graph = word_graph(dictionary, lowercase=True, tokenize=str.split)
    known = np.where(np.array(graph.words) == "x", 8.0, np.nan)
    found = dict(zip(graph.words, estimate_frequencies(graph, known, steps=2)))
    assert (found["x"], found["a"], found["b"], found["f"]) == (8, 4, 4, 4)
    assert np.isnan(found["far"])


@pytest.mark.parametrize(
    ("entries", "options", "message"),
    [
        ([("swh", "maji", "eng", "water")], {"dim": 7}, "dim is 7, but the vectors given have 4"),
        ([("swh", "maji", "eng", "water")], {"steps": 0}, "steps is 0"),
        ([("swh", "maji", "eng", "water")], {"languages": ["deu"]}, "The dictionary has no words of deu"),
        ([("swh", "maji", "fra", "eau")], {}, r"The vectors \(eng, deu\) have no word of the dictionary \(fra, swh"),
        ([("deu", "haus", "eng", "house")], {}, "translates no new word"),
        ([], {}, "at least one entry"),
    ],
)
def test_bad_input(base, entries, options, message):
    with pytest.raises(ValueError, match=message):
        WordVectors.from_dictionaries(entries, base, **options)


def test_dictionaries_from_files(base, tmp_path):
    path = tmp_path / "sw-en.txt"
    path.write_text("maji water\n")
    entries = [("swa", "maji", "eng", "water")]
    expected = WordVectors.from_dictionaries(entries, base)
    for source in (path, [path], str(path), Dictionary.load(path)):
        assert list(WordVectors.from_dictionaries(source, base).words) == list(expected.words)


def test_macrolanguages_and_their_languages_meet():
    """Vectors say zho, the dictionary cmn: one word for water, found by either name."""
    base = WordVectors(["水", "water"], ["zho", "eng"], np.eye(2, dtype=np.float32))
    entries = Dictionary.from_entries([("cmn", "水", "eng", "water"), ("cmn", "川", "eng", "water")])
    made = WordVectors.from_dictionaries(entries, base, tokenize=str.split)
    assert sorted(zip(made.languages.tolist(), made.words)) == [("eng", "water"), ("zho", "川"), ("zho", "水")]
    assert [made.words[i] for i in made.select("cmn_Hans")] == [made.words[i] for i in made.select("zho")]
    with pytest.raises(ValueError, match="No word vector has the language 'swh'"):
        made.select("swh")
