"""What commands say of bad input, and that they write nothing."""

import os

import pytest

from ofa_transformers.demo.data import DATA


GERMAN = str(DATA / "deu_Latn.tsv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tokenizer", "train", "-n", 600, "-o", "out"], "No text: name files"),
        (["tokenizer", "train", "missing.txt", "-n", 600, "-o", "out"], "missing.txt is not a file"),
        (["tokenizer", "train", "latin1.txt", "-n", 600, "-o", "out"], "write the language before it: deu=latin1.txt"),
        (["tokenizer", "train", "deu=latin1.txt", "-n", 600, "-o", "out"], "latin1.txt, line 2: not valid UTF-8"),
        (["tokenizer", "train", "empty=empty.txt", "-n", 600, "-o", "out"], "empty.txt is empty"),
        (["tokenizer", "train", GERMAN, "-n", 20, "-o", "out"], "smaller than the alphabet"),
        (["tokenizer", "train", GERMAN, "-n", 20, "-o", "full"], "full exists and is not empty"),
        (["tokenizer", "train", "--dataset", "deu", "-n", 20, "-o", "out"], "write LANGUAGE=ID"),
        (["tokenizer", "train", GERMAN, "-n", 600, "--like", "full", "-o", "out"], "full has no tokenizer.json"),
        (["tokenizer", "extend", "full", GERMAN, "-n", 20, "-o", "out"], "full has no tokenizer.json"),
        (["tokenizer", "fertility", GERMAN, "-t", "full"], "full has no tokenizer.json"),
        (["tokenizer", "fertility", GERMAN, "-t", "full", "-t", "x=full", "-t", "x=other"], "same name"),
        (["tokenizer", "fertility", GERMAN, "-t", "full", "--json", "nowhere/f.json"], "create it first"),
        (["vectors", "build", "none_*.tsv", "-o", "out"], "No file matches none_*.tsv"),
        (["vectors", "build", "deu.tsv", "-o", "out"], "deu.tsv is not a file"),
        (
            ["vectors", "build", "broken.tsv", "-o", "out"],
            "'broken.tsv' does not begin with a language code of ISO 639-3",
        ),
        (["vectors", "build", "xqx=broken.tsv", "eng.tsv", "-o", "out"], "'xqx', which is not an ISO 639 code"),
        (["vectors", "build", "deu=broken.tsv", "eng.tsv", "-o", "out"], "broken.tsv, line 2: expected `id<TAB>text`"),
        (["vectors", "build", "deu=eng.tsv", "eng.tsv", "-o", "full"], "full exists and is not empty"),
        (
            ["vectors", "build", "deu=eng.tsv", "eng.tsv", "--exclude", "none.txt", "-o", "out"],
            "none.txt, is not there",
        ),
        (["vectors", "build", "deu=eng.tsv", "eng.tsv", "--dim", 50, "-o", "out"], "dim is 50"),
        (["vectors", "dictionary", "none.txt", "-o", "out"], "none.txt is not a file"),
        (["vectors", "dictionary", "eng.tsv", "--pair", "deu", "-o", "out"], "write two languages like deu-eng"),
        (["vectors", "dictionary", "eng.tsv", "--pair", "deu-eng", "--rename", "deu", "-o", "out"], "write OLD=NEW"),
        (["vectors", "convert", "broken.tsv", "-o", "out"], "broken.tsv, line 1"),
        (["vectors", "convert", "broken.tsv", "--extra-words", "none.txt", "-o", "out"], "none.txt, is not there"),
        (["vectors", "info", "none"], "no file or folder 'none'"),
        (["vectors", "evaluate", "full"], "nothing to judge by"),
        (["vectors", "evaluate", "full", "eng.tsv", "--json", "nowhere/e.json"], "create it first"),
        (["vectors", "push", "none", "me/mine"], "no file or folder 'none'"),
    ],
)
def test_one_line_and_nothing_written(arguments, message, tmp_path, monkeypatch, error_of):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin1.txt").write_bytes(b"ein\nf\xfcnf\n")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "broken.tsv").write_text("1\tein Haus\n2 ein Haus\n")
    (tmp_path / "eng.tsv").write_text("1\ta house\n2\ta big house\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept.txt").write_text("mine")
    before = sorted(os.listdir(tmp_path))
    assert message in error_of(*arguments)
    assert sorted(os.listdir(tmp_path)) == before
    assert os.listdir(tmp_path / "full") == ["kept.txt"]
