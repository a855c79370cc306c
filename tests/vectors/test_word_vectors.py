import json

import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import save_file

from ofa_transformers.vectors import Dictionary, WordVectors, saved_format
from ofa_transformers.vectors.card import word_vectors_card
from ofa_transformers.vectors.evaluation import lexicon_induction, segment_retrieval
from ofa_transformers.vectors.words import Utf8Words


@pytest.fixture
def vectors() -> WordVectors:
    return WordVectors(
        words=["the", "$haus$", "nyumba", "line\u2028separator", "the"],
        languages=["eng", "deu", "swh", "deu", "eng"],
        vectors=np.arange(10).reshape(5, 2) / 3,
        frequencies=[5, 4, 3, 2, 1],
        metadata={"origin": "a test", "licence": "CC0"},
    )


def assert_equal(one: WordVectors, other: WordVectors):
    assert list(one.words) == list(other.words)
    np.testing.assert_array_equal(one.languages, other.languages)
    np.testing.assert_array_equal(one.vectors, other.vectors)
    assert (one.frequencies is None) == (other.frequencies is None)
    if one.frequencies is not None:
        np.testing.assert_array_equal(one.frequencies, other.frequencies)
    assert dict(one.metadata) == dict(other.metadata)


def test_save_and_load(vectors, tmp_path):
    target = tmp_path / "new" / "vectors"
    assert vectors.save(target) == target
    assert_equal(WordVectors.load(target), vectors)
    files = ["README.md", "metadata.json", "vectors.safetensors", "words.txt"]
    assert sorted(path.name for path in target.iterdir()) == files
    assert [path.name for path in target.parent.iterdir()] == ["vectors"]


def test_frequencies_are_optional(vectors, tmp_path):
    without = WordVectors(vectors.words, vectors.languages, vectors.vectors)
    without.save(tmp_path / "vectors")
    assert_equal(WordVectors.load(tmp_path / "vectors"), without)


def test_nothing_is_overwritten_unless_told(vectors, tmp_path):
    target = tmp_path / "vectors"
    vectors.save(target)
    smaller = vectors.subset(np.array([1, 2]))
    with pytest.raises(FileExistsError, match="overwrite=True"):
        smaller.save(target)
    assert_equal(WordVectors.load(target), vectors)
    smaller.save(target, overwrite=True)
    assert_equal(WordVectors.load(target), smaller)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors"]


def test_a_save_that_fails_leaves_the_old_folder(vectors, tmp_path, monkeypatch):
    target = tmp_path / "vectors"
    vectors.save(target)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved_format, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        vectors.subset(np.array([0])).save(target, overwrite=True)
    assert_equal(WordVectors.load(target), vectors)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors"]


def test_a_word_with_a_line_break_is_not_saved(tmp_path):
    broken = WordVectors(["a\nb"], ["eng"], np.ones((1, 2)))
    with pytest.raises(ValueError, match="line break"):
        broken.save(tmp_path / "vectors")
    assert not any(tmp_path.iterdir())


def test_damaged_folders(vectors, tmp_path):
    target = vectors.save(tmp_path / "vectors")
    (target / "words.txt").write_text("one\n", encoding="utf-8")
    with pytest.raises(ValueError, match="don't belong together"):
        WordVectors.load(target)
    data = (target / "vectors.safetensors").read_bytes()
    (target / "vectors.safetensors").write_bytes(data[:-8])
    with pytest.raises(ValueError, match="damaged"):
        WordVectors.load(target)
    (target / "vectors.safetensors").unlink()
    with pytest.raises(ValueError, match=r"vectors\.safetensors missing"):
        WordVectors.load(target)


def test_a_folder_of_a_newer_version(vectors, tmp_path):
    target = vectors.save(tmp_path / "vectors")
    metadata = json.loads((target / "metadata.json").read_text())
    (target / "metadata.json").write_text(json.dumps({**metadata, "format_version": 99}))
    with pytest.raises(ValueError, match=r"99.*Upgrade"):
        WordVectors.load(target)


def test_a_folder_is_mapped_and_its_file_is_safe(vectors, tmp_path):
    target = vectors.save(tmp_path / "vectors")
    before = (target / "vectors.safetensors").read_bytes()
    loaded = WordVectors.load(target)
    assert isinstance(loaded.words, Utf8Words) and "languages" not in vars(loaded)  # made when they are asked for
    loaded.vectors[0] = 7
    loaded.save(target, overwrite=True)  # onto what is mapped
    assert loaded.vectors[0].tolist() == [7, 7] and loaded.words == vectors.words
    assert (WordVectors.load(target).vectors[0] == 7).all()
    assert before == (vectors.save(tmp_path / "again") / "vectors.safetensors").read_bytes()


def test_a_folder_of_version_1(vectors, tmp_path):
    """As the first version of this library wrote it."""
    names, ids = np.unique(vectors.languages, return_inverse=True)
    tensors = {"vectors": vectors.vectors, "language_ids": ids.astype(np.int32), "frequencies": vectors.frequencies}
    save_file(tensors, tmp_path / "vectors.safetensors")
    (tmp_path / "words.txt").write_bytes("".join(f"{word}\n" for word in vectors.words).encode())
    metadata = {"format": saved_format.FORMAT, "format_version": 1, "num_words": 5, "dimension": 2}
    metadata |= {"languages": names.tolist(), "metadata": vectors.metadata}
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    assert_equal(WordVectors.load(tmp_path), vectors)
    with pytest.raises(ValueError, match="older version, without checksums"):
        WordVectors.load(tmp_path, verify=True)


@pytest.mark.parametrize("name", ["vectors.safetensors", "words.txt"])
def test_checksums(name, vectors, tmp_path):
    target = vectors.save(tmp_path / "vectors")
    assert_equal(WordVectors.load(target, verify=True), vectors)
    data = bytearray((target / name).read_bytes())
    data[data.index(b"haus" if name == "words.txt" else np.float32(1 / 3).tobytes())] ^= 1
    (target / name).write_bytes(data)
    WordVectors.load(target)
    with pytest.raises(ValueError, match=f"{name} is not what was saved: its SHA-256 is"):
        WordVectors.load(target, verify=True)


def test_vectors_that_went_bad_are_not_saved(vectors, tmp_path):
    vectors.vectors[3, 1] = np.nan
    with pytest.raises(ValueError, match="word 3"):
        vectors.save(tmp_path / "vectors")
    vectors.vectors[3, 1] = 0
    vectors.metadata["made"] = object()
    with pytest.raises(ValueError, match="metadata is saved as JSON"):
        vectors.save(tmp_path / "vectors")
    assert not any(tmp_path.iterdir())


def test_the_card(vectors, tmp_path):
    card = (vectors.save(tmp_path / "vectors") / "README.md").read_text(encoding="utf-8")
    data = ModelCard(card).data
    assert data.language == ["de", "en", "swh"] and data.license == "cc0"
    assert data.tags == ["ofa", "word-vectors"] and data.library_name == "ofa-transformers"
    for part in ["5 words in 3 languages, 2 dimensions", "| origin | a test |", "| deu | 2 |", "WordVectors.from_pre"]:
        assert part in card
    unknown = WordVectors(["a"], ["x-other"], np.ones((1, 1)), metadata={"by": ["a|b", 1]})
    card = (unknown.save(tmp_path / "unknown") / "README.md").read_text(encoding="utf-8")
    assert ModelCard(card).data.language is None and '| by | ["a\\|b", 1] |' in card


@pytest.mark.parametrize("arguments", [{"language": "deu"}, {"format": "glove"}, {"extra_words": ["x"]}])
def test_arguments_for_other_formats(arguments, vectors, tmp_path):
    target = vectors.save(tmp_path / "vectors")
    with pytest.raises(ValueError, match="leave language, format and extra_words out"):
        WordVectors.load(target, **arguments)


def test_select(vectors):
    assert vectors.select().tolist() == [0, 1, 2, 3, 4]
    assert vectors.select(["deu", "eng"]).tolist() == [0, 1, 3, 4]
    assert vectors.select("deu").tolist() == [1, 3]
    assert vectors.select({"eng", "deu"}, max_words=3).tolist() == [0, 1, 3]
    assert vectors.language_counts() == {"deu": 2, "eng": 2, "swh": 1}
    assert vectors.select("swa").tolist() == vectors.select("swh_Latn").tolist() == vectors.select("swh").tolist()


@pytest.mark.parametrize(("asked", "near"), [("de", "deu"), ("ger", None), ("swc", "swh"), ("ENG", "eng")])
def test_languages_that_no_word_has(vectors, asked, near):
    with pytest.raises(ValueError, match=f"{asked}.*available: deu, eng, swh") as error:
        vectors.select(["eng", asked])
    assert near is None or f"nearest: {near}" in str(error.value)


def test_an_empty_selection(vectors):
    with pytest.raises(ValueError, match="empty"):
        vectors.select([])
    with pytest.raises(ValueError, match="max_words is 0"):
        vectors.select(max_words=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a"], ["eng"], [[np.nan, 1]]), "word 0, 'a'"),
        ((["a", "b"], ["eng", "eng"], [[1, 1], [np.inf, 1]]), "word 1, 'b'"),
        ((["a", "b"], ["eng"], [[1, 1]]), "2 words, 1 languages, 1 vectors"),
        ((["a"], ["eng"], [[1, 1]], [1, 2]), "2 frequencies"),
        (([], [], np.empty((0, 3))), "at least one word"),
        ((["a"], ["eng"], [1.0]), "matrix"),
        ((["a"], "eng", [[1.0]]), "a list of words and one of languages"),
    ],
)
def test_bad_vectors(arguments, message):
    with pytest.raises(ValueError, match=message):
        WordVectors(*arguments)


def test_a_repository_that_cannot_be_read():
    with pytest.raises(FileNotFoundError, match=r"no file or folder 'user/name', and no such repository"):
        WordVectors.load("user/name")


def test_metadata_has_no_markup_in_the_card():
    metadata = {"by": "x\n\n# Heading <img src=x onerror=y>", "[a](javascript:b)": "c"}
    card = word_vectors_card({"deu": 1}, 1, metadata)
    assert "\n# Heading" not in card and "<img" not in card and "](javascript" not in card


def damaged_folder(folder, name, change):
    """A saved folder with one of its arrays changed."""
    from safetensors.numpy import load_file, save_file

    arrays = load_file(folder / "vectors.safetensors")
    change(arrays[name])
    save_file(arrays, folder / "vectors.safetensors")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_saved_vectors_that_are_no_numbers_are_named_where_they_are_used(vectors, tmp_path, value):
    from conftest import build_unigram

    from ofa_transformers.initialization.mapping.subword_vectors import subword_vectors
    from ofa_transformers.tokenization.vocabulary import Vocabulary

    vectors.save(tmp_path / "saved")
    damaged_folder(tmp_path / "saved", "vectors", lambda array: array.__setitem__((3, 1), value))
    loaded = WordVectors.load(tmp_path / "saved")  # opens at once, without reading
    message = r"saved: The vector of word 3, .* \(deu\), has NaN or infinite values"
    with pytest.raises(ValueError, match=message):
        subword_vectors(Vocabulary.from_tokenizer(build_unigram()), loaded, np.arange(len(loaded)))
    other = WordVectors(["haus", "fluss", "house"], ["deu", "deu", "eng"], np.eye(3)[:, :2] + 0.1)
    words = Dictionary.from_entries([("deu", "line\u2028separator", "eng", "house"), ("deu", "fluss", "eng", "the")])
    lines = {
        code: [(str(number), text) for number in range(5)]
        for code, text in (("eng", "the"), ("deu", "line\u2028separator"))
    }
    uses = {
        "save": lambda: loaded.save(tmp_path / "again"),
        "align": lambda: loaded.aligned_to(other, words),
        "align to": lambda: other.aligned_to(loaded, words),
        "extend": lambda: WordVectors.from_dictionaries(words, loaded),
        "lexicon induction": lambda: lexicon_induction(loaded, words),
        "retrieval": lambda: segment_retrieval(loaded, lines, tokenize=lambda text: [text]),
    }
    for name, use in uses.items():
        with pytest.raises(ValueError, match=message):
            pytest.fail(f"{name} gave {use()}")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("value", [np.nan, -1, np.inf])
def test_frequencies_that_are_none_are_named(tmp_path, value):
    words = WordVectors(["a", "b"], ["eng", "eng"], np.ones((2, 3)), [1, 2])
    words.save(tmp_path / "saved")
    damaged_folder(tmp_path / "saved", "frequencies", lambda array: array.__setitem__(1, value))
    with pytest.raises(ValueError, match=r"saved is damaged.*frequency of word 1, 'eng:b', is"):
        WordVectors.load(tmp_path / "saved")
    with pytest.raises(ValueError, match="frequency of word 0, 'eng:a', is"):
        WordVectors(["a", "b"], ["eng", "eng"], np.ones((2, 3)), [value, 2])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("languages", ["<b>x</b>", "deu", "eng"], "the language '<b>x</b>' is no code"),
        ("languages", "deu", "are no sorted names"),
        ("languages", ["eng", "deu", "swh"], "are no sorted names"),
        ("metadata", [1], "its metadata are"),
        ("num_words", "five", "metadata says 'five'"),
    ],
)
def test_metadata_of_other_kinds_are_refused(vectors, tmp_path, name, value, message):
    vectors.save(tmp_path / "saved")
    path = tmp_path / "saved" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(ValueError, match=message):
        WordVectors.load(tmp_path / "saved")
    with pytest.raises(ValueError, match="the language '<b>' is no code"):
        WordVectors(["a"], ["<b>"], np.ones((1, 2))).save(tmp_path / "other")
