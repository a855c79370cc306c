"""What names tell, and which files of a folder are meant."""

from pathlib import Path

import pytest

from ofa_transformers.text.file_names import (
    SEGMENT_KINDS,
    files_by_language,
    find_language,
    kind_of,
    language_and_split,
    language_of,
    named,
    named_dataset,
    one_of_each,
    pair_of,
    published_language,
    unpacked_name,
)


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("deu.txt", "deu"),
        ("de", "de"),
        ("deu_Latn.tsv.gz", "deu_Latn"),
        ("eng_Latn-KJV.tsv", "eng_Latn"),
        ("eng-x-bible.txt", "eng"),
        ("eng_KJV.txt", "eng"),
        ("deu_300.vec", "deu"),
        ("my_text.txt", None),
        ("the_bible.txt", None),
        ("deuX.txt", None),
        ("split_test.tsv", None),
        ("README.md", None),
    ],
)
def test_the_language_that_a_name_begins_with(name, language):
    assert find_language(Path("folder") / name) == language
    if language is None:
        with pytest.raises(ValueError, match=f"'{name}' does not begin with a language code"):
            language_of(name)
    else:
        assert language_of(name) == language


def test_names_without_packing():
    assert unpacked_name("a/deu.vec.gz") == "deu.vec" and unpacked_name("deu.txt.ZST") == "deu.txt"
    assert kind_of("deu.TSV.gz") == ".tsv" and kind_of("deu") == ""


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("deu-eng.tsv.gz", ("deu", "eng", None, "deu-eng", True)),
        ("deu_Latn.eng_Latn.txt", ("deu_Latn", "eng_Latn", None, "deu_Latn.eng_Latn", True)),
        ("en-fr.0-5000.txt", ("en", "fr", None, "en-fr", False)),
        ("tatoeba.deu-eng.deu", ("deu", "eng", "deu", "tatoeba.deu-eng", False)),
        ("OPUS.v1.de-en.en.gz", ("de", "en", "en", "OPUS.v1.de-en", False)),
        ("deu.tsv", None),
        ("deu-eng.vec", None),
        ("de-en.cache.txt", ("de", "en", None, "de-en", False)),
    ],
)
def test_pairs(name, pair):
    assert pair_of(name) == pair


def test_languages_with_splits():
    assert language_and_split("swa.train") == ("swa", "train")
    assert language_and_split("en_ewt-ud-dev") == ("en_ewt", "dev")
    assert language_and_split("validation-deu_Latn") == ("deu_Latn", "dev")
    assert language_and_split("test") == (None, "test")
    assert language_and_split("notes") is None


def test_names_that_publishers_use():
    names = ["wiki.multi.de.vec", "wiki.simple.vec", "wiki.als.vec", "cc.sw.300.bin", "numberbatch-en.txt", "deu.vec"]
    assert list(map(published_language, names)) == ["deu", "eng", "gsw", "swa", "eng", None]
    assert published_language("facebook/fasttext-de-vectors/model.bin") == "deu"


def test_what_is_named_in_so_many_words(tmp_path, monkeypatch):
    assert named("deu=x.tsv") == ("deu", Path("x.tsv")) and named("x.tsv") == (None, Path("x.tsv"))
    monkeypatch.chdir(tmp_path)
    Path("a=b.tsv").touch()
    assert named("a=b.tsv") == (None, Path("a=b.tsv"))
    assert named_dataset("swh=w/wiki:20231101.sw") == ("swh", "w/wiki", "20231101.sw")
    assert named_dataset("swh=w/wiki") == ("swh", "w/wiki", None)
    with pytest.raises(ValueError, match="'w/wiki' has no language; write LANGUAGE=ID"):
        named_dataset("w/wiki")


@pytest.fixture
def folder(tmp_path):
    for name in ("eng_Latn-KJV.tsv", "eng_Latn.tsv", "deu.tsv.gz", "split_test.tsv", "notes.txt", ".eng.tsv"):
        (tmp_path / name).touch()
    return tmp_path


def names(found):
    return {language: [path.name for path in files] for language, files in found.items()}


def test_files_by_language(folder):
    expected = {"deu": ["deu.tsv.gz"], "eng_Latn": ["eng_Latn-KJV.tsv", "eng_Latn.tsv"]}
    assert names(files_by_language(folder, kinds=SEGMENT_KINDS, strict=False)) == expected
    assert names(files_by_language([f"xyz={folder / 'notes.txt'}", folder / "deu.tsv.gz"])) == {
        "xyz": ["notes.txt"],
        "deu": ["deu.tsv.gz"],
    }
    with pytest.raises(ValueError, match=r"'notes\.txt' does not begin with a language"):
        files_by_language(folder)
    with pytest.raises(FileNotFoundError, match=r"fra\.txt is not a file"):
        files_by_language([folder / "fra.txt"])


def test_of_several_files_the_shortest_name_and_those_that_are_named(folder):
    files = files_by_language(folder, kinds=SEGMENT_KINDS, strict=False)
    assert {key: path.name for key, path in one_of_each(files).items()} == {
        "deu": "deu.tsv.gz",
        "eng_Latn": "eng_Latn.tsv",
    }
    assert one_of_each(files, ["eng_Latn-KJV"])["eng_Latn-KJV"].name == "eng_Latn-KJV.tsv"
    (folder / "deu.tsv").touch()
    with pytest.raises(ValueError, match=r"deu\.tsv and .*deu\.tsv\.gz are both of 'deu'; keep one"):
        one_of_each(files_by_language(folder, kinds=SEGMENT_KINDS, strict=False))
