"""Running the command in this process, and what it runs on."""

import numpy as np
import pytest
from adapted_models import make_source

import ofa_transformers as ofa
from ofa_transformers.cli import main


@pytest.fixture(autouse=True)
def signals_stay_as_they_are(monkeypatch):
    """This process is no command; tests/cli/test_interrupts.py starts some."""
    monkeypatch.setattr("ofa_transformers.cli.stop_at_once", lambda: None)


@pytest.fixture
def run(monkeypatch):
    """Runs `ofa ARGUMENTS` and returns the exit code."""

    def run(*arguments) -> int:
        monkeypatch.setattr("sys.argv", ["ofa", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code

    return run


@pytest.fixture
def error_of(run, capsys):
    """The one line that a command which can't work ends with."""

    def error_of(*arguments) -> str:
        assert run(*arguments) == 1
        error = capsys.readouterr().err
        assert error.startswith("Error: ") and error.count("\n") == 1
        return error

    return error_of


@pytest.fixture
def inputs(tiny_tokenizers, tmp_path):
    """Arguments of `ofa adapt`: a source, a tokenizer and word vectors."""
    make_source("roberta", tiny_tokenizers["byte_bpe"]).save_pretrained(tmp_path / "source")
    tiny_tokenizers["byte_bpe"].save_pretrained(tmp_path / "source")
    tiny_tokenizers["unigram"].save_pretrained(tmp_path / "tokenizer")
    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    ofa.WordVectors(["$house$", "$haus$", "$stadt$"], np.array(["eng", "deu", "deu"]), vectors).save(
        tmp_path / "vectors"
    )
    return [tmp_path / "source", "-t", tmp_path / "tokenizer", "-v", tmp_path / "vectors"]
