import gzip

import numpy as np
import pytest
import scipy.sparse
from conftest import word_tokenizer

from ofa_transformers.mapping import TokenKind, build_mapping
from ofa_transformers.vectors import WordVectors, parallel


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


@pytest.mark.parametrize("tall", [True, False])
def test_the_library_finds_the_singular_values_and_vectors(tall, monkeypatch):
    """A decaying spectrum of a matrix whose exact decomposition is cheap."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((size, 300)))[0] for size in (900, 500))
    values = 100 * 0.97 ** np.arange(300)
    matrix = (left * values) @ right.T
    sparse = scipy.sparse.csr_array((matrix if tall else matrix.T).astype(np.float32))
    exact = parallel._factorize(sparse, 20, seed=0)
    monkeypatch.setattr(parallel, "_DENSE_SIDE", 0)
    found = parallel._factorize(sparse, 20, seed=0)
    np.testing.assert_allclose((found**2).sum(axis=0), values[:20], rtol=1e-4)
    np.testing.assert_allclose(found[:, :10], exact[:, :10], atol=2e-3)


def test_sides_of_low_rank_and_dependent_columns_are_no_trouble(monkeypatch):
    monkeypatch.setattr(parallel, "_DENSE_SIDE", 0)
    rng = np.random.default_rng(0)
    factors = rng.random((400, 3)), rng.random((3, 300))
    found = parallel._factorize(scipy.sparse.csr_array((factors[0] @ factors[1]).astype(np.float32)), 5, seed=0)
    values = np.linalg.svd(factors[0] @ factors[1], compute_uv=False)
    np.testing.assert_allclose((found**2).sum(axis=0)[:3], values[:3], rtol=1e-4)
    assert np.isfinite(found).all() and (found[:, 3:] ** 2).sum() < 1e-2 * values[0]


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


def test_excluded_segments_leave_no_trace(tmp_path, monkeypatch):
    data = texts()
    left_out = {f"s{number}" for number in range(0, 200, 3)}
    expected = WordVectors.from_parallel(
        {language: [pair for pair in pairs if pair[0] not in left_out] for language, pairs in data.items()}, dim=10
    )
    (tmp_path / "ids.tsv").write_text("id\tremark\n" + "".join(f"{name}\tx\n" for name in sorted(left_out)))
    for exclude in (left_out, tmp_path / "ids.tsv"):
        vectors = WordVectors.from_parallel(data, dim=10, exclude=exclude)
        assert vectors.words == expected.words
        np.testing.assert_array_equal(vectors.frequencies, expected.frequencies)
        np.testing.assert_allclose(vectors.vectors, expected.vectors, atol=1e-5)
    assert vectors.metadata["segments"] == expected.metadata["segments"]
    assert vectors.metadata["excluded_segments"] == len(left_out)
    warnings = []
    monkeypatch.setattr(parallel.logger, "warning", lambda message, *args: warnings.append(message % args))
    WordVectors.from_parallel(data, dim=10, exclude=["s1"])
    assert not warnings
    WordVectors.from_parallel(data, dim=10, exclude=["t1", "t2"])
    assert warnings == ["None of the 2 ids of exclude is in the texts, so that nothing was left out."]
    with pytest.raises(FileNotFoundError, match=r"missing\.txt"):
        WordVectors.from_parallel(data, exclude=tmp_path / "missing.txt")


def test_the_metadata_say_how_text_was_cut():
    spaced = {"eng": [("1", "red green"), ("2", "blue red")], "deu": [("1", "rot grün"), ("2", "blau rot")]}
    chinese = {"cmn": [("1", "红绿"), ("2", "蓝红")]}

    def described(data, **options):
        return WordVectors.from_parallel(data, dim=1, min_count=1, **options).metadata["segmentation"]

    assert described(spaced) == {"method": "spaces"}
    assert described(spaced, tokenize=str.split) == {"method": "custom"}
    characters = described({**spaced, **chinese}, segmentation="characters")
    assert characters == {"method": "characters", "version": None, "languages": ["cmn"]}


def test_own_tokenizer():
    vectors = WordVectors.from_parallel(
        {"eng": [("1", "a-b c"), ("2", "c d")], "deu": [("1", "e"), ("2", "f")]},
        dim=2,
        min_count=1,
        tokenize=str.split,
    )
    assert "a-b" in vectors.words


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ({}, {}, "empty"),
        ({"eng": []}, {}, "'eng' has no words"),
        (
            {"eng": [("1", "a b")], "deu": [("2", "c d")]},
            {"min_count": 1, "dim": 1},
            "texts of deu, eng share no segment",
        ),
        ({**texts(20), "fra": [("x", "a a")]}, {"dim": 1}, "text of fra share no segment"),
        ({"eng": [("1", "a b"), ("2", "a b")]}, {"min_count": 1, "dim": 1}, "evenly in all segments"),
        ({"english": [("1", "a b")]}, {}, "'english', which is not an ISO 639 code.*eng"),
        ({"eng": ["a b", 3]}, {}, "pairs of a segment's id and its text, but found 'a b'"),
        ({"eng": [("1", "a a")]}, {"exclude": ["1"]}, "'eng' has no words in the segments to use"),
        (texts(20), {"segmentation": "letters"}, "segmentation is 'letters'"),
        (texts(20), {"segmentation": "words", "tokenize": str.split}, "exclude each other"),
        ({"eng": [("1", "a b")], "deu": [("1", "c d")]}, {"min_count": 5, "dim": 1}, "min_count"),
        (texts(20), {"dim": 500}, "dim is 500"),
        (texts(20), {"dim": 0}, "dim is 0"),
        (texts(20), {"min_count": 0}, "min_count is 0"),
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
    path.write_text("1\t...\n2\t!\n")
    with pytest.raises(ValueError, match=r"The text of 'deu' \(.*deu\.tsv\) has no words in the segments to use"):
        WordVectors.from_parallel([path])
    path.write_text("1\tdas Haus\n")
    with pytest.raises(ValueError, match=r"No word of 'deu' \(.*deu\.tsv\) occurs 2 times or more in its 2 words"):
        WordVectors.from_parallel([path])
    path.rename(tmp_path / "german.txt")
    with pytest.raises(ValueError, match="ISO 639-3"):
        WordVectors.from_parallel([tmp_path / "german.txt"])
    with pytest.raises(FileNotFoundError, match="'swh'"):
        WordVectors.from_parallel({"swh": tmp_path / "none.tsv", "deu": path})


def test_spellings_and_case_of_one_word_fall_together():
    data = {
        "tur": [("1", "İSTANBUL ışık"), ("2", "istanbul IŞIK"), ("3", "caf\u00e9")],
        "fra": [("1", "cafe\u0301 d'or"), ("2", "caf\u00e9"), ("3", "l'or")],
    }
    vectors = WordVectors.from_parallel(data, dim=2, min_count=1)
    counts = {(code, word): n for code, word, n in zip(vectors.languages, vectors.words, vectors.frequencies)}
    assert counts["tur", "istanbul"] == 2 and counts["tur", "ışık"] == 2
    assert counts["fra", "caf\u00e9"] == 2 and counts["fra", "or"] == 2


@pytest.mark.parametrize(("code", "word"), [("pes", "می\u200cخواهم"), ("sin", "ශ්\u200dරී")])
def test_tokens_with_joiners_are_composed(code, word):
    """From the text to the rows: the whole word has a vector, and so has the token."""
    data = {
        "eng": [(str(i), text) for i, text in enumerate(["want tree", "want sea", "sea tree", "tree"] * 5)],
        code: [(str(i), text) for i, text in enumerate([word, word, "ab", "cd"] * 5)],
    }
    vectors = WordVectors.from_parallel(data, dim=3, min_count=1)
    mapping = build_mapping(word_tokenizer("want", "tree", "sea"), word_tokenizer(word), vectors, num_neighbors=1)
    token = mapping.explain(f"▁{word}")
    assert token.kind == TokenKind.COMPOSED and token.neighbors[0][0] == "▁want"
