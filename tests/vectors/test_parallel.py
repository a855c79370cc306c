import gzip

import numpy as np
import pytest

from ofa_transformers.vectors import WordVectors, parallel
from ofa_transformers.vectors.parallel import split_words


# A made-up language of numbered concepts, each language with its own words for them.
CONCEPTS = 40
LANGUAGES = ("eng", "deu", "swh")


def texts(segments: int = 200, seed: int = 0) -> dict[str, list[tuple[str, str]]]:
    rng = np.random.default_rng(seed)
    result = {language: [] for language in LANGUAGES}
    for number in range(segments):
        concepts = rng.choice(CONCEPTS, size=6, replace=False)
        for language in LANGUAGES:
            if rng.random() < 0.9:  # segments may be missing
                words = [f"{language}w{concept}" for concept in rng.permutation(concepts)]
                result[language].append((f"s{number}", " ".join(words) + "."))
    return result


def test_translations_are_nearest():
    vectors = WordVectors.from_parallel(texts(), dim=30, min_count=2)
    index = {(language, word): i for i, (language, word) in enumerate(zip(vectors.languages, vectors.words))}
    deu = [index["deu", f"deuw{i}"] for i in range(CONCEPTS)]
    swh = [index["swh", f"swhw{i}"] for i in range(CONCEPTS)]
    best = (vectors.vectors[deu] @ vectors.vectors[swh].T).argmax(axis=1)
    assert (best == np.arange(CONCEPTS)).mean() > 0.9
    np.testing.assert_allclose(np.linalg.norm(vectors.vectors, axis=1), 1, rtol=1e-5)


def test_counts_are_the_frequencies_in_order():
    vectors = WordVectors.from_parallel(
        {"eng": [("1", "red green red"), ("2", "green blue"), ("3", "Red")], "deu": [("1", "rot"), ("2", "blau rot")]},
        dim=2,
        min_count=2,
    )
    assert list(zip(vectors.languages, vectors.words, vectors.frequencies)) == [
        ("eng", "red", 3),
        ("deu", "rot", 2),
        ("eng", "green", 2),
    ]


@pytest.mark.parametrize("dense_side", [0, 10_000])
def test_the_same_seed_gives_the_same_vectors(dense_side, monkeypatch):
    monkeypatch.setattr(parallel, "_DENSE_SIDE", dense_side)
    first, second = (WordVectors.from_parallel(texts(), dim=20, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_sparse_and_dense_decompositions_agree(monkeypatch):
    dense = WordVectors.from_parallel(texts(), dim=10)
    monkeypatch.setattr(parallel, "_DENSE_SIDE", 0)
    sparse = WordVectors.from_parallel(texts(), dim=10)
    np.testing.assert_allclose(dense.vectors @ dense.vectors.T, sparse.vectors @ sparse.vectors.T, atol=1e-4)


def test_files_are_read_by_name_and_as_a_dict(tmp_path):
    data, paths = texts(), {}
    for language, segments in data.items():
        content = "\n".join(f"{identifier}\t{text}" for identifier, text in segments).encode()
        packed = language == "swh"
        paths[language] = tmp_path / (f"{language}_Latn.tsv" + (".gz" if packed else ""))
        paths[language].write_bytes(gzip.compress(content) if packed else content)
    expected = WordVectors.from_parallel(data, dim=10)
    for source in (paths, list(paths.values())):
        np.testing.assert_array_equal(WordVectors.from_parallel(source, dim=10).vectors, expected.vectors)


def test_own_tokenizer():
    vectors = WordVectors.from_parallel(
        {"eng": [("1", "a-b c"), ("2", "c d")], "deu": [("1", "e"), ("2", "f")]},
        dim=2,
        min_count=1,
        tokenize=str.split,
    )
    assert "a-b" in vectors.words


def test_words():
    assert split_words("Don't stop, l'été: 12 naïve_words!") == [
        "Don",
        "t",
        "stop",
        "l",
        "été",
        "12",
        "naïve",
        "words",
    ]
    assert split_words("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert split_words("e\u0301te\u0301") == ["e\u0301te\u0301"]
    assert split_words("水和面包 ok") == ["水", "和", "面", "包", "水和", "和面", "面包", "ok"]
    assert split_words("ひらカナ") == ["ひ", "ら", "カ", "ナ", "ひら", "らカ", "カナ"]
    assert split_words("สวัสดี")[:4] == ["ส", "วั", "ส", "ดี"]
    assert split_words("。、 ...") == []


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ({}, {}, "empty"),
        ({"eng": []}, {}, "'eng' has no words"),
        ({"eng": [("1", "a b")], "deu": [("2", "c d")]}, {"min_count": 1, "dim": 1}, "share no segment id"),
        ({"eng": [("1", "a b")], "deu": [("1", "c d")]}, {"min_count": 5, "dim": 1}, "min_count"),
        (texts(20), {"dim": 500}, "dim is 500"),
        (texts(20), {"dim": 0}, "dim is 0"),
        (texts(20), {"min_count": 0}, "min_count is 0"),
        (["german.txt"], {}, "ISO 639-3"),
    ],
)
def test_bad_input(data, options, message):
    with pytest.raises(ValueError, match=message):
        WordVectors.from_parallel(data, **options)


def test_bad_lines_are_named(tmp_path):
    path = tmp_path / "deu.tsv"
    path.write_bytes(b"1\tdas Haus\n2 das Haus\n")
    with pytest.raises(ValueError, match=r"deu\.tsv, line 2: .*'2 das Haus'"):
        WordVectors.from_parallel([path])
    path.write_bytes(b"1\tdas Haus\n2\td\xe9j\xe0\n")
    with pytest.raises(ValueError, match=r"deu\.tsv, line 2: not valid UTF-8"):
        WordVectors.from_parallel([path])
    with pytest.raises(FileNotFoundError, match="'swh'"):
        WordVectors.from_parallel({"swh": tmp_path / "none.tsv", "deu": path})
