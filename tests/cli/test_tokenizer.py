"""`ofa tokenizer`."""

import json
import os
import re
import sys

import pytest
from transformers import AutoTokenizer
from typer.testing import CliRunner

from ofa_transformers.cli import app, main
from ofa_transformers.demo.data import DATA


runner = CliRunner()
GERMAN, ZULU = str(DATA / "deu_Latn.tsv"), str(DATA / "zul_Latn.tsv")


def run(*arguments):
    result = runner.invoke(app, ["tokenizer", *map(str, arguments)], env={"COLUMNS": "160"})
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "german"
    run("train", GERMAN, "--vocab-size", 600, "--output", folder)
    return folder


def test_train_writes_an_auto_tokenizer_folder(trained):
    tokenizer = AutoTokenizer.from_pretrained(trained)
    assert len(tokenizer) == 600
    assert tokenizer.mask_token_id == 599


def test_train_like(trained, tmp_path):
    extended = AutoTokenizer.from_pretrained(trained)
    output = run("train", f"zul={ZULU}", "-n", 500, "--like", trained, "-o", tmp_path / "zulu")
    assert "500 tokens" in output
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "zulu")
    assert len(tokenizer) == 500
    assert tokenizer.special_tokens_map == extended.special_tokens_map


def test_extend_and_fertility(trained, tmp_path):
    output = run("extend", trained, ZULU, "-n", 200, "-o", tmp_path / "both", "--compare", GERMAN)
    assert "200 new tokens, ids 600 to 799" in output
    assert re.search(r"deu_Latn: [\d,]+ of [\d,]+ words cut otherwise \(\d\.\d\d%; 0 without a new piece\)", output)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "both")) == 800

    arguments = ["fertility", GERMAN, ZULU, "-t", trained, "-t", f"new={tmp_path / 'both'}"]
    output = run(*arguments, "--json", tmp_path / "f.json")
    assert "zul_Latn" in output and "tokens/word" in output
    results = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert results["new"]["zul_Latn"]["tokens"] < results["german"]["zul_Latn"]["tokens"]
    assert f"{results['new']['zul_Latn']['tokens_per_word']:.2f}" in output
    assert run(*arguments, "--markdown").startswith("| language | words | tokenizer |")


def error_of(arguments, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["ofa", "tokenizer", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    captured = capsys.readouterr().err
    assert captured.startswith("Error: ") and captured.count("\n") == 1
    return captured


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "-n", 600, "-o", "out"], "no text"),
        (["train", "missing.txt", "-n", 600, "-o", "out"], "missing.txt is not a file"),
        (["train", "broken.txt", "-n", 600, "-o", "out"], "write the language before it: deu=broken.txt"),
        (["train", "deu=broken.txt", "-n", 600, "-o", "out"], "broken.txt, line 2: not valid UTF-8"),
        (["train", "empty=empty.txt", "-n", 600, "-o", "out"], "empty.txt is empty"),
        (["train", GERMAN, "-n", 20, "-o", "out"], "smaller than the alphabet"),
        (["train", GERMAN, "-n", 20, "-o", "full"], "full exists and is not empty"),
        (["train", "--dataset", "deu", "-n", 20, "-o", "out"], "write LANGUAGE=ID"),
        (["train", GERMAN, "-n", 600, "--like", "full", "-o", "out"], "full has no tokenizer.json"),
        (["extend", "full", GERMAN, "-n", 20, "-o", "out"], "full has no tokenizer.json"),
        (["fertility", GERMAN, "-t", "full"], "full has no tokenizer.json"),
        (["fertility", GERMAN, "-t", "full", "-t", "x=full", "-t", "x=other"], "same name"),
        (["fertility", GERMAN, "-t", "full", "--json", "nowhere/f.json"], "create it first"),
    ],
)
def test_errors_are_one_line_and_write_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.txt").write_bytes(b"ein\nf\xfcnf\n")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept.txt").write_text("mine")
    assert message in error_of(arguments, monkeypatch, capsys)
    assert sorted(os.listdir(tmp_path)) == ["broken.txt", "empty.txt", "full"]
    assert os.listdir(tmp_path / "full") == ["kept.txt"]


def test_a_missing_extra_is_named(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = error_of(["fertility", GERMAN, "-t", trained, "--plot", tmp_path / "f.png"], monkeypatch, capsys)
    assert "ofa-transformers[plot]" in message


@pytest.mark.parametrize("command", ["train", "extend", "fertility"])
def test_the_examples_of_the_help_are_valid(command, trained, tmp_path, monkeypatch):
    """As printed, with the model of the Hub replaced by a folder."""
    help_text = " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", "", run(command, "--help")).split())
    example = re.search(r"Example: (ofa tokenizer .*?) (?:Arguments|Options|\*)", help_text)[1]
    monkeypatch.chdir(tmp_path)
    for name in ("deu_Latn", "zul_Latn", "swh_Latn"):
        (tmp_path / f"{name}.txt").write_text((DATA / f"{name}.tsv").read_text(encoding="utf-8"), encoding="utf-8")
    if command == "fertility":
        (tmp_path / "my-tokenizer").symlink_to(trained)
    arguments = [
        {"FacebookAI/xlm-roberta-base": str(trained), "30000": "900", "5000": "300"}.get(word, word)
        for word in example.split()[2:]
    ]
    if command == "fertility":
        arguments[arguments.index(str(trained))] = f"xlmr={trained}"
    run(*arguments)
