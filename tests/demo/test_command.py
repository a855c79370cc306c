"""`ofa demo` as a person runs it, on a tiny source and three languages."""

import json

import pytest
from typer.testing import CliRunner

import ofa_transformers.demo.run as run
from ofa_transformers.cli import app
from ofa_transformers.demo.data import load_parallel_text


@pytest.fixture
def small(tiny_source, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "SEED_MODEL", tiny_source)
    monkeypatch.setattr(run, "load_parallel_text", lambda _: load_parallel_text(["deu_Latn", "ayr_Latn", "kor_Hang"]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def test_prints_the_table_and_how_to_load(small):
    (small / "ofa-demo").mkdir()  # taken
    result = CliRunner().invoke(app, ["demo", "--steps", "2", "--embedding-size", "8"])
    assert result.exit_code == 0, result.output
    results = json.loads((small / "ofa-demo-2" / "results.json").read_text(encoding="utf-8"))
    assert [arm["checkpoint"] for arm in results["arms"]] == ["random", "ofa", "ofa-8"]
    for arm in results["arms"]:
        assert arm["name"] in result.stdout
        assert f"{arm['parameters'] / 1e6:.2f} M" in result.stdout
        assert f"{arm['before']['loss']:.2f}→{arm['after']['loss']:.2f}" in result.stdout
        assert f"ofa-demo-2/{arm['checkpoint']}" in result.stdout
    for language in results["train_words"]:
        assert language in result.stdout
    assert "chance is 6.2%" in " ".join(result.stdout.split())
    lines = result.stdout.rsplit("Load one:", 1)[1].strip().splitlines()
    assert len(lines) == 3
    names = {}
    exec("\n".join(line.strip() for line in lines), names)
    assert names["fill"]("Everyone has the right to <mask>.")[0]["token_str"]


def test_output_and_seed_are_taken(small, monkeypatch):
    monkeypatch.setattr(run, "load_parallel_text", lambda _: load_parallel_text(["ayr_Latn"]))
    arguments = ["demo", "--steps", "0", "--embedding-size", "8", "--seed", "3", "--output", "mine"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads((small / "mine" / "results.json").read_text())["settings"]["seed"] == 3
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 1 and "Error: The output folder mine exists" in refused.stderr
    assert CliRunner().invoke(app, [*arguments, "--overwrite"]).exit_code == 0
