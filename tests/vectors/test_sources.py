"""Several files, folders and repositories."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from ofa_transformers.vectors import WordVectors


GERMAN, FRENCH = "2 2\nhaus 1 2\nmaus 3 4\n", "3 2\nmaison 5 6\nmaus 7 8\nde:x 9 10\n"


@pytest.fixture
def folder(tmp_path):
    """A folder as people keep MUSE's files."""
    made = tmp_path / "muse"
    made.mkdir()
    (made / "wiki.multi.fr.vec").write_text(FRENCH)
    (made / "wiki.multi.de.vec").write_text(GERMAN)
    (made / "README.md").write_text("Where they are from")
    (made / "requirements.txt").write_text("numpy\n")
    return made


def check(vectors: WordVectors):
    found = {(language, word): row.tolist() for language, word, row in zip(*columns(vectors))}
    assert found == {
        ("deu", "haus"): [1, 2],
        ("deu", "maus"): [3, 4],
        ("fra", "maison"): [5, 6],
        ("fra", "maus"): [7, 8],
        ("fra", "de:x"): [9, 10],
    }
    for language in ("deu", "fra"):
        assert vectors.frequencies[vectors.select(language)].sum() == pytest.approx(1e6)
    assert vectors.metadata["format"] == "word2vec"
    assert sorted(vectors.metadata["origin"]) == ["wiki.multi.de.vec", "wiki.multi.fr.vec"]


def columns(vectors):
    return vectors.languages.tolist(), vectors.words, vectors.vectors


def test_a_folder_of_one_file_a_language(folder):
    check(WordVectors.load(folder))


def test_a_dictionary_of_files(folder):
    check(WordVectors.load({"fr": folder / "wiki.multi.fr.vec", "deu": str(folder / "wiki.multi.de.vec")}))


def test_what_is_put_together_can_be_saved(folder, tmp_path):
    vectors = WordVectors.load(folder)
    vectors.save(tmp_path / "saved")
    check(WordVectors.load(tmp_path / "saved"))


def test_one_file_of_a_folder(folder):
    assert WordVectors.load(folder, filename="wiki.multi.de.vec").words == ["haus", "maus"]
    (folder / "wiki.multi.fr.vec").unlink()
    assert WordVectors.load(folder).languages.tolist() == ["deu", "deu"]
    assert WordVectors.load(folder, language="nds").languages.tolist() == ["nds", "nds"]


def test_names_that_begin_with_a_language(folder):
    (folder / "wiki.multi.de.vec").rename(folder / "deu_Latn.vec")
    (folder / "wiki.multi.fr.vec").rename(folder / "fr.txt")
    assert WordVectors.load(folder).language_counts() == {"fra": 3, "deu": 2}


def test_mixed_dimensions_are_seen_before_anything_is_read(folder, monkeypatch):
    (folder / "wiki.multi.it.vec").write_text("1 3\ncasa 1 2 3\n")
    monkeypatch.setattr("ofa_transformers.vectors.sources.read_vectors", None)
    with pytest.raises(ValueError, match=r"it\.vec has vectors of 3 dimensions, but .*de\.vec of 2"):
        WordVectors.load(folder)


def test_folders_that_say_too_little(folder, tmp_path):
    with pytest.raises(ValueError, match=r"language is 'deu', but .* has 2 files"):
        WordVectors.load(folder, language="deu")
    with pytest.raises(FileNotFoundError, match=r"no file 'x\.vec' in the folder"):
        WordVectors.load(folder, filename="x.vec")
    shutil.copy(folder / "wiki.multi.de.vec", folder / "wiki.de.vec")
    with pytest.raises(ValueError, match=r"wiki\.de\.vec and .*wiki\.multi\.de\.vec are both .* 'deu'"):
        WordVectors.load(folder)
    (folder / "wiki.de.vec").rename(folder / "german.vec")
    with pytest.raises(ValueError, match=r"german\.vec: its name doesn't say its language"):
        WordVectors.load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"not a folder written by WordVectors\.save.*no file in it ends like"):
        WordVectors.load(tmp_path / "empty")


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        ({}, {}, "empty"),
        ({"de": "wiki.multi.de.vec", "deu": "wiki.multi.fr.vec"}, {}, "Two files are given for the language 'deu'"),
        ({"de": "wiki.multi.de.vec"}, {"language": "deu"}, "leave language and filename out"),
        ({"german": "wiki.multi.de.vec"}, {}, r"'german', which is not an ISO 639 code.*nearest: 'deu' \(German\)"),
        ({"de": "."}, {}, "has 2 files"),
        ({"de": "wiki.multi.de.vec"}, {"extra_words": {"fr": ["x"]}}, "'fra', but no file was given"),
    ],
)
def test_dictionaries_that_say_too_little(files, arguments, message, folder):
    with pytest.raises(ValueError, match=message):
        WordVectors.load({language: folder / name for language, name in files.items()}, **arguments)


def test_extra_words_by_language(folder):
    fasttext = pytest.importorskip("gensim.models.fasttext")
    trained = fasttext.FastText([["haus", "maus"]] * 3, vector_size=2, min_count=1, bucket=20, workers=1, epochs=1)
    fasttext.save_facebook_model(trained, str(folder / "de.bin"))
    files = {"deu": folder / "de.bin", "fra": folder / "wiki.multi.fr.vec"}
    vectors = WordVectors.load(files, extra_words={"de": ["mausehaus"]})
    assert vectors.language_counts() == {"deu": 3, "fra": 3}
    assert "mausehaus" in [vectors.words[i] for i in vectors.select("deu")]
    assert vectors.metadata["frequencies"] == ["counts", "estimated from rank"]
    with pytest.raises(ValueError, match="dictionary"):
        WordVectors.load(files, extra_words=["mausehaus"])


@pytest.fixture
def repository(tmp_path):
    """Makes a repository as huggingface_hub caches it."""

    def make(files):
        commit = "0123456789012345678901234567890123456789"
        root = tmp_path / "cache" / "models--user--vectors"
        (root / "refs").mkdir(parents=True)
        (root / "refs" / "main").write_text(commit)
        for name, content in files.items():
            path = root / "snapshots" / commit / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return {"cache_dir": tmp_path / "cache"}

    return make


def test_a_repository_with_one_file(repository):
    cache = repository({"README.md": b"", "config.json": b"{}", "vocab.txt": b"a\n", "data/de.vec": GERMAN.encode()})
    vectors = WordVectors.load("user/vectors", language="de", **cache)
    assert vectors.words == ["haus", "maus"] and vectors.languages.tolist() == ["deu", "deu"]
    assert vectors.metadata["origin"] == "user/vectors/data/de.vec"


def test_a_repository_with_several_files(repository):
    cache = repository({"de.vec": GERMAN.encode(), "fr.vec.gz": b"", "pytorch_model.bin": b""})
    with pytest.raises(ValueError, match=r"user/vectors has 2 files .* pass filename, one of de\.vec, fr\.vec\.gz"):
        WordVectors.load("user/vectors", **cache)
    assert WordVectors.load("user/vectors", filename="de.vec", **cache).words == ["haus", "maus"]
    with pytest.raises(FileNotFoundError, match=r"no file 'es\.vec' in the repository user/vectors"):
        WordVectors.load("user/vectors", filename="es.vec", **cache)


def test_a_repository_without_word_vectors(repository):
    cache = repository({"model.safetensors": b"", "README.md": b""})
    with pytest.raises(ValueError, match=r"no word vectors.*it has README\.md, model\.safetensors"):
        WordVectors.load("user/vectors", **cache)


def test_a_repository_of_gensim(repository, tmp_path):
    models = pytest.importorskip("gensim.models")
    saved = models.KeyedVectors(2)
    saved.add_vectors(["deu:haus", "fra:maison"], np.ones((2, 2), dtype=np.float32))
    (tmp_path / "gensim").mkdir()
    saved.save(str(tmp_path / "gensim" / "colex.wv"), sep_limit=1)
    cache = repository({path.name: path.read_bytes() for path in (tmp_path / "gensim").iterdir()})
    with pytest.raises(ValueError, match="allow_pickle=True"):
        WordVectors.load("user/vectors", **cache)
    assert WordVectors.load("user/vectors", allow_pickle=True, **cache).words == ["haus", "maison"]


def test_push_to_hub_and_from_pretrained(folder, repository, monkeypatch):
    asked, files = {}, {}

    class Hub:
        def __init__(self, token):
            asked["token"] = token

        def create_repo(self, repo_id, private, exist_ok):
            asked.update(private=private)
            return SimpleNamespace(repo_id=f"user/{repo_id}")

        def create_branch(self, repo_id, branch, exist_ok):
            asked.update(branch=(repo_id, branch))

        def create_commit(self, repo_id, operations, commit_message, revision):
            asked["message"] = commit_message
            for operation in operations:
                with operation.as_file() as file:
                    files[operation.path_in_repo] = file.read()
            return SimpleNamespace(commit_url=f"https://hub/{repo_id}/{revision}")

    monkeypatch.setattr("ofa_transformers.utils.hub.HfApi", Hub)
    vectors = WordVectors.load(folder)
    assert vectors.push_to_hub("vectors", private=True, token="t", revision="v2") == "https://hub/user/vectors/v2"
    assert asked == {
        "token": "t", "private": True, "branch": ("user/vectors", "v2"), "message": "Word vectors"
    }  # fmt: skip
    assert 'from_pretrained("user/vectors")' in files["README.md"].decode()
    check(WordVectors.from_pretrained("user/vectors", **repository(files)))
