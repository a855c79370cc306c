import gzip
import logging

import numpy as np
import pytest

from ofa_transformers.vectors import Dictionary


WIKTIONARY = "language\tiso639_3\tsource_word\tenglish_word\n"


def entries_of(dictionary: Dictionary) -> list[tuple]:
    key = [f"{language}:{word}" for language, word in zip(dictionary.languages, dictionary.words)]
    return [(key[a], key[b], weight) for (a, b), weight in zip(dictionary.entries.tolist(), dictionary.weights)]


def test_wiktionary_table(tmp_path, caplog):
    path = tmp_path / "all.tsv.gz"
    content = (
        WIKTIONARY + "german\tdeu\tHaus\thouse\nligurian\t\tçenee\tashes\nczech\tces\tklávesová  zkratka\tshortcut\n"
    )
    path.write_bytes(gzip.compress(content.encode()))
    logger = logging.getLogger("ofa_transformers")
    logger.addHandler(caplog.handler)
    try:
        dictionary = Dictionary.load(path)
    finally:
        logger.removeHandler(caplog.handler)
    assert entries_of(dictionary) == [
        ("deu:Haus", "eng:house", 1),
        ("ces:klávesová zkratka", "eng:shortcut", 1),
    ]
    assert "1 entries of 1 languages without a code (ligurian)" in caplog.text


@pytest.mark.parametrize("line", ["cat {}\n", "cat\t{}\n"])
def test_muse_pairs_with_the_languages_of_the_name(tmp_path, line):
    path = tmp_path / "en-fr.0-5000.txt"
    path.write_text(line.format("chat") + "\n" + line.format("minou"), encoding="utf-8")
    assert entries_of(Dictionary.load(path)) == [("eng:cat", "fra:chat", 1), ("eng:cat", "fra:minou", 1)]


def test_weights_and_languages_of_the_caller(tmp_path):
    path = tmp_path / "alignments.tsv"
    path.write_text("\ufeffcat\tchat\t3\ncat\tchat\t1.5\n", encoding="utf-8")
    assert entries_of(Dictionary.load([path], languages=("en", "fre"))) == [("eng:cat", "fra:chat", 4.5)]


def test_four_columns_and_several_files(tmp_path):
    (tmp_path / "a.tsv").write_text("deu\tHaus\tswh\tnyumba\n", encoding="utf-8")
    (tmp_path / "b.tsv").write_text("swh\tnyumba\tdeu\tHaus\neng\thouse\tswh\tnyumba\n", encoding="utf-8")
    assert entries_of(Dictionary.load([tmp_path / "a.tsv", tmp_path / "b.tsv"])) == [
        ("deu:Haus", "swh:nyumba", 2),  # the same pair the other way round
        ("eng:house", "swh:nyumba", 1),
    ]


def test_entries_fall_together_in_one_unicode_form():
    dictionary = Dictionary.from_entries(
        [("fr", "e\u0301te\u0301", "en", "summer"), ("fra", "été", "eng", "summer", 2)]
    )
    assert entries_of(dictionary) == [("fra:été", "eng:summer", 3)]


def test_parts_of_a_dictionary():
    dictionary = Dictionary.from_entries(
        [("deu", "Haus", "eng", "house"), ("eng", "cat", "deu", "Katze"), ("fra", "chat", "eng", "cat")]
    )
    assert dictionary.language_counts() == {"eng": 3, "deu": 2, "fra": 1}
    assert entries_of(dictionary.select(["eng", "fra"])) == [("fra:chat", "eng:cat", 1)]
    pairs = dictionary.between("deu", "eng")
    assert [[dictionary.words[i] for i in pair] for pair in pairs] == [["Haus", "house"], ["Katze", "cat"]]
    with pytest.raises(ValueError, match="no entries between deu and fra; it has eng, deu, fra"):
        dictionary.between("deu", "fra")
    with pytest.raises(ValueError, match="no entries between deu"):
        dictionary.select("deu")


def test_renamed_languages_fall_together():
    dictionary = Dictionary.from_entries(
        [("swa", "nyumba", "eng", "house"), ("swh", "nyumba", "eng", "house"), ("swh", "maji", "eng", "water")]
    )
    assert entries_of(dictionary.renamed({"swa": "swh"})) == [
        ("swh:nyumba", "eng:house", 2),
        ("swh:maji", "eng:water", 1),
    ]
    assert dictionary.renamed({"eng": "en"}).language_counts() == dictionary.language_counts()
    with pytest.raises(ValueError, match="no words of deu"):
        dictionary.renamed({"deu": "nds"})


def test_split_keeps_the_entries_of_a_word_together():
    dictionary = Dictionary.from_entries(
        [("deu", f"w{i}", "eng", f"{letter}{i}") for i in range(50) for letter in "abc"]
    )
    used, held_out = dictionary.split(0.2, seed=1)
    assert (len(used), len(held_out)) == (120, 30)
    assert not set(used.words) & set(held_out.words)
    again = dictionary.split(0.2, seed=1)[1]
    assert again.words == held_out.words and np.array_equal(again.entries, held_out.entries)
    assert dictionary.split(0.2, seed=2)[1].words != held_out.words
    with pytest.raises(ValueError, match=r"share is 1\.0"):
        dictionary.split(1.0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("en-fr.txt", "", "en-fr.txt is empty"),
        ("words.txt", "cat chat\n", "pass languages="),
        ("en-fr.txt", "cat chat\ndog\n", "line 2: expected 2 columns .*'dog'"),
        ("en-fr.txt", "cat\tchat\ndog\t\n", "line 2, .*: a word is empty"),
        ("en-fr.txt", "cat\tchat\tmany\n", "line 1, .*the weight 'many' is not a positive number"),
        ("a.tsv", "a\tb\tc\td\te\tf\n", "line 1: expected two columns"),
        ("a.tsv", "germ\tHaus\teng\thouse\n", "line 1, .*'germ'"),
        ("a.tsv", WIKTIONARY + "german\tdeu\tHaus\n", "line 2: expected the 4 columns"),
        ("a.tsv", WIKTIONARY, "at least one entry"),
        ("en-fr.txt", b"cat chat\nd\xe9 x\n", "line 2: not valid UTF-8"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        Dictionary.load(path)


def test_languages_where_the_file_has_them(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text(WIKTIONARY + "german\tdeu\tHaus\thouse\n")
    with pytest.raises(ValueError, match="names the languages of its words itself"):
        Dictionary.load(path, languages=("deu", "eng"))
    with pytest.raises(FileNotFoundError, match=r"none\.tsv is not a file"):
        Dictionary.load([path, tmp_path / "none.tsv"])
    with pytest.raises(ValueError, match="paths is empty"):
        Dictionary.load([])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (("deu", "Haus"), "entry 1: expected"),
        (("deu", " ", "eng", "house"), "entry 1, .*a word is empty"),
        (("deu", "Haus", "eng", "house", -1), "weight -1"),
        (("deu", "Haus", "english", "house"), "'english'"),
    ],
)
def test_bad_entries(entry, message):
    with pytest.raises(ValueError, match=message):
        Dictionary.from_entries([entry])
    with pytest.raises(ValueError, match="at least one entry"):
        Dictionary.from_entries([])
