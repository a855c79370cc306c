"""`ofa tokenizer`."""

import json
import re
import sys

import pytest
from transformers import AutoTokenizer
from typer.testing import CliRunner

from ofa_transformers.cli import app
from ofa_transformers.demo.data import DATA
from ofa_transformers.tokenization import saving
from ofa_transformers.tokenization.sample_text import sample_text


runner = CliRunner()
GERMAN, ZULU = str(DATA / "deu_Latn.tsv"), str(DATA / "zul_Latn.tsv")
LINES = {line.partition("\t")[2] for line in (DATA / "zul_Latn.tsv").read_text(encoding="utf-8").splitlines()}


def run(*arguments):
    result = runner.invoke(app, ["tokenizer", *map(str, arguments)], env={"COLUMNS": "160"})
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.fixture
def compared(monkeypatch):
    """Lines that saved tokenizers were compared on."""
    found = []

    def noting(*arguments):
        found.extend(sample_text(*arguments))
        return found

    monkeypatch.setattr(saving, "sample_text", noting)
    monkeypatch.setattr(saving, "_proven", set())
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "german"
    run("train", GERMAN, "--vocab-size", 600, "--output", folder)
    return folder


def test_train_writes_an_auto_tokenizer_folder(trained):
    tokenizer = AutoTokenizer.from_pretrained(trained)
    assert len(tokenizer) == 600
    assert tokenizer.mask_token_id == 599


def test_train_like(trained, compared, tmp_path):
    extended = AutoTokenizer.from_pretrained(trained)
    output = run("train", f"zul={ZULU}", "-n", 500, "--like", trained, "-o", tmp_path / "zulu")
    assert "500 tokens" in output
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "zulu")
    assert len(tokenizer) == 500
    assert tokenizer.special_tokens_map == extended.special_tokens_map
    assert len(LINES.intersection(compared)) > 20  # of the text that it was trained on


def test_extend_and_fertility(trained, compared, tmp_path):
    output = run("extend", trained, ZULU, "-n", 200, "-o", tmp_path / "both", "--compare", GERMAN)
    assert "200 new tokens, ids 600 to 799" in output
    assert re.search(r"deu_Latn: [\d,]+ of [\d,]+ words cut otherwise \(\d\.\d\d%; 0 without a new piece\)", output)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "both")) == 800
    assert len(LINES.intersection(compared)) > 20

    arguments = ["fertility", GERMAN, ZULU, "-t", trained, "-t", f"new={tmp_path / 'both'}"]
    output = run(*arguments, "--json", tmp_path / "f.json")
    assert "zul_Latn" in output and "tokens/word" in output
    results = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert results["new"]["zul_Latn"]["tokens"] < results["german"]["zul_Latn"]["tokens"]
    assert f"{results['new']['zul_Latn']['tokens_per_word']:.2f}" in output
    assert run(*arguments, "--markdown").startswith("| language | words | tokenizer |")


def test_a_missing_extra_is_named(trained, tmp_path, monkeypatch, error_of):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = error_of("tokenizer", "fertility", GERMAN, "-t", trained, "--plot", tmp_path / "f.png")
    assert "ofa-transformers[plot]" in message


def test_trim_and_extend_in_one_go(trained, tmp_path, error_of):
    english = str(DATA / "eng_Latn.tsv")
    output = run("trim", trained, GERMAN, english, "--keep-languages", "deu", "-o", tmp_path / "trimmed")
    old, trimmed = (AutoTokenizer.from_pretrained(folder) for folder in (trained, tmp_path / "trimmed"))
    assert f"600 -> {len(trimmed)} tokens" in output and len(trimmed) < 600
    line = "Alle Menschen sind frei und gleich an Würde und Rechten geboren."
    assert trimmed.tokenize(line) == old.tokenize(line)
    run("trim", trained, GERMAN, "--extend", ZULU, "-n", 100, "-o", tmp_path / "both")
    assert len(AutoTokenizer.from_pretrained(tmp_path / "both")) == len(trimmed) + 100
    message = error_of("tokenizer", "trim", trained, GERMAN, "--extend", ZULU, "-o", tmp_path / "half")
    assert "--num-new-tokens" in message


@pytest.mark.parametrize("command", ["train", "extend", "trim", "fertility"])
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
