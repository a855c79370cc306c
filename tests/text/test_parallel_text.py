"""Readers of translations and of held-out text."""

import gzip

import pytest

from ofa_transformers.evaluation import (
    ParallelText,
    read_held_out,
    read_pair_datasets,
    read_pairs,
    read_segments_by_id,
)


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        content = text.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


def test_pairs_in_one_file_whichever_side_comes_first(write, tmp_path):
    write("deu-eng.tsv.gz", "Haus\thouse\nBaum\ttree\tmore\n")
    write("eng-swh.tsv", "house\tnyumba\n")
    write("fra-spa.tsv", "maison\tcasa\n")
    write("notes.txt", "nothing\n")
    deu, swh = read_pairs(tmp_path)
    assert (deu.language, deu.texts, deu.translations) == ("deu", ["Haus", "Baum"], ["house", "tree"])
    assert (swh.language, swh.texts, swh.translations) == ("swh", ["nyumba"], ["house"])
    assert deu.data.startswith("deu-eng.tsv.gz (sha256 ")
    assert [text.language for text in read_pairs(tmp_path, languages=["swh"])] == ["swh"]
    assert read_pairs(tmp_path / "fra-spa.tsv", pivot="spa")[0].texts == ["maison"]


def test_pairs_in_two_files(write, tmp_path):
    write("tatoeba.deu-eng.deu", "Haus\nBaum\n")
    other = write("tatoeba.deu-eng.eng", "house\ntree\n")
    (text,) = read_pairs(tmp_path)
    assert text.texts == ["Haus", "Baum"] and text.translations == ["house", "tree"]
    write("tatoeba.deu-eng.eng", "house\ntree\nsea\n")
    with pytest.raises(
        ValueError,
        match=r"tatoeba\.deu-eng\.eng has 3 lines, .*deu-eng\.deu 2: line 3 of .*, 'sea', has no translation",
    ):
        read_pairs(tmp_path)
    write("tatoeba.deu-eng.eng", "house\n\nsea\n")
    with pytest.raises(ValueError, match=r"deu-eng\.eng, line 2 is blank"):
        read_pairs(tmp_path)
    other.unlink()
    with pytest.raises(FileNotFoundError, match=r"no counterpart tatoeba\.deu-eng\.eng"):
        read_pairs(tmp_path)


def test_pairs_that_cannot_be_read(write, tmp_path):
    with pytest.raises(ValueError, match=r"no sentence pairs with eng, named like deu-eng\.tsv in"):
        read_pairs(tmp_path)
    with pytest.raises(FileNotFoundError, match="neither a file nor a folder"):
        read_pairs(tmp_path / "missing")
    write("deu-eng.tsv", "Haus\thouse\nBaum\n")
    with pytest.raises(
        ValueError, match=r"deu-eng\.tsv, line 2: expected `sentence<TAB>translation`, but found 'Baum'"
    ):
        read_pairs(tmp_path)
    write("deu-eng.tsv", "Haus\thouse\n")
    write("eng-deu.tsv", "house\tHaus\n")
    with pytest.raises(ValueError, match="are both of deu"):
        read_pairs(tmp_path)
    with pytest.raises(ValueError, match=r"no sentence pairs .* of swh in"):
        read_pairs(tmp_path / "deu-eng.tsv", languages=["swh"])


def test_segments_are_matched_by_id(write, tmp_path):
    write("eng_Latn.tsv", "1\tone\n2\ttwo\n3\tthree\n4\tfour\n")
    write("eng_Latn-OLD.tsv", "1\tane\n")
    write("deu_Latn.tsv.gz", "4\tvier\n2\tzwei\n9\tneun\n1\teins\n")
    write("split_test.tsv", "id\tn\n2\t5\n4\t5\n")
    (text,) = read_segments_by_id(tmp_path)
    assert text.language == "deu_Latn" and text.texts == ["eins", "zwei", "vier"]
    assert text.translations == ["one", "two", "four"]
    (text,) = read_segments_by_id(tmp_path, ids=tmp_path / "split_test.tsv")
    assert text.texts == ["zwei", "vier"] and "ids of split_test.tsv (sha256" in text.data
    assert read_segments_by_id(tmp_path, ids=["2", "4"], max_sentences=1)[0].texts == ["zwei"]
    with pytest.raises(ValueError, match="no text of spa, the pivot"):
        read_segments_by_id(tmp_path, pivot="spa")
    with pytest.raises(ValueError, match="shares no id with"):
        read_segments_by_id(tmp_path, ids=["3"])


def test_data_sets(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"sentence1": ["Haus", "Baum"], "sentence2": ["house", "tree"]})
    folder = tmp_path / "pairs"
    folder.mkdir()
    rows.to_parquet(folder / "test.parquet")
    (text,) = read_pair_datasets({"deu": str(folder)})
    assert text.texts == ["Haus", "Baum"] and text.translations == ["house", "tree"]
    with pytest.raises(ValueError, match="no column 'de', but sentence1, sentence2"):
        read_pair_datasets({"deu": str(folder)}, columns=("de", "en"))


def test_no_sentences():
    with pytest.raises(ValueError, match="x has no sentence of deu"):
        ParallelText("deu", [], [], "x")


def test_held_out_text(write, tmp_path):
    pytest.importorskip("datasets")
    folder = tmp_path / "text"
    folder.mkdir()
    write("text/deu_Latn.txt", "eins\n\nzwei\ndrei\n")
    texts, data = read_held_out([folder], max_texts=2)
    assert texts == {"deu_Latn": ["eins", "zwei"]} and data["deu_Latn"].startswith("deu_Latn.txt (sha256 ")
    write("swh_Latn.tsv", "1\tmoja\n2\tmbili\n")
    write("ids.txt", "2\n")
    texts, data = read_held_out([tmp_path], ids=tmp_path / "ids.txt")
    assert texts == {"swh_Latn": ["mbili"]} and "ids of ids.txt" in data["swh_Latn"]
    with pytest.raises(ValueError, match=r"swh_Latn\.tsv has no text with one of the ids"):
        read_held_out([tmp_path / "swh_Latn.tsv"], ids=["7"])
    with pytest.raises(ValueError, match="leave them out with data sets"):
        read_held_out([tmp_path], ["deu=x"], ids=["2"])
    with pytest.raises(ValueError, match="No file of"):
        read_held_out([tmp_path / "ids.txt"], ids=tmp_path / "ids.txt")


def test_parts_of_pairs_and_evenly_spaced_ones():
    text = ParallelText("deu", list("abcdef"), list("ABCDEF"), "six")
    assert text[1::2].texts == ["b", "d", "f"] and text[1::2].translations == ["B", "D", "F"]
    assert text.spread(3).texts == ["a", "c", "e"] and text.spread(3).translations == ["A", "C", "E"]
    assert text.spread(None) is text and text.spread(9).texts == text.texts
