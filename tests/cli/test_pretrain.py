"""`ofa pretrain`."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from transformers import AutoModelForMaskedLM, AutoTokenizer
from typer.testing import CliRunner

from ofa_transformers.cli import app, main
from ofa_transformers.cli.run_record import RECORD_FILE


@pytest.fixture
def folder(pretraining_folder: Path) -> Path:
    return pretraining_folder


def arguments(folder: Path, *extra: object) -> list[str]:
    options = ["-v", folder / "validation", "-n", 4, "--save-steps", 2, "--batch-size", 4, "--max-length", 32, "--cpu"]
    return ["pretrain", *map(str, [folder / "dropout", folder / "train", *options, *extra])]


def test_trains_resumes_and_shows_bits_per_character(folder):
    output = folder / "out"
    result = CliRunner().invoke(app, arguments(folder, "-o", output), env={"COLUMNS": "160"})
    assert result.exit_code == 0, (result.output, result.exception)
    for word in ("deu", "swh_Latn", "zho", "mean", "bits/character", "before", f"{output}, those of step "):
        assert word in result.stdout
    lines = [line.split(":")[0] for line in result.stderr.splitlines() if "held out, loss" in line]
    assert lines == ["step 0 of 4", "step 2 of 4", "step 4 of 4"]
    AutoModelForMaskedLM.from_pretrained(output)
    assert len(AutoTokenizer.from_pretrained(output)) == len(AutoTokenizer.from_pretrained(folder / "dropout"))
    assert sorted(path.name for path in output.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]

    more = ["-n", 6, "--streaming", "--whole-words", "--line-by-line", "--best", "bits_per_byte", "--keep", 1]
    result = CliRunner().invoke(app, arguments(folder, "-o", output, *more), env={"COLUMNS": "160"})
    assert result.exit_code == 0, (result.output, result.exception)
    assert (output / "checkpoint-6").is_dir() and not (output / "checkpoint-2").exists()


def test_a_recorded_run_is_repeated_bit_for_bit(folder):
    before = sorted(folder.rglob("*"))
    planned = CliRunner().invoke(app, arguments(folder, "-o", folder / "first", "--dry-run"), env={"COLUMNS": "160"})
    assert planned.exit_code == 0, (planned.output, planned.exception)
    assert "swh_Latn" in planned.stdout and "4 of 128 tokens" in planned.stdout
    model = AutoModelForMaskedLM.from_pretrained(folder / "dropout")
    assert f"{model.num_parameters() / 1e6:,.1f} M parameters" in planned.stdout
    assert sorted(folder.rglob("*")) == before

    assert CliRunner().invoke(app, arguments(folder, "-o", folder / "first")).exit_code == 0
    record = folder / "first" / RECORD_FILE
    repeated = CliRunner().invoke(app, ["pretrain", "--config", str(record), "-o", str(folder / "second")])
    assert repeated.exit_code == 0, (repeated.output, repeated.exception)
    weights = [(folder / name / "model.safetensors").read_bytes() for name in ("first", "second")]
    assert weights[0] == weights[1]
    facts = yaml.safe_load(record.read_text())
    assert facts["steps"] == 4 and facts["seed"] == 42 and facts["record"]["command"] == "pretrain"
    assert str(folder / "validation") in facts["record"]["inputs"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["missing.txt"], "missing.txt is not a file"),
        (["--dataset", "some/dataset"], "write LANGUAGE=ID"),
        (["--max-length", "500"], "take at most"),
        (["--tokenizer", "{folder}/other"], "doesn't fit the model"),
        (["-o", "{folder}/dropout"], "holds a model, but no checkpoint"),
        (["--eval-steps", "3"], "--save-steps 2 is no multiple of --eval-steps 3"),
        (["--best", "accuracy"], "'accuracy' is no measure of held-out text; there are loss, bits_per_character"),
    ],
)
def test_bad_input_is_one_line(folder, tiny_tokenizers, monkeypatch, capsys, extra, message):
    tiny_tokenizers["byte_bpe"].save_pretrained(folder / "other")
    extra = [part.replace("{folder}", str(folder)) for part in extra]
    monkeypatch.setattr(sys, "argv", ["ofa", *arguments(folder, "-o", folder / "new"), *extra])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("Error: ") and message in error
    assert not (folder / "new").exists()


def test_damaged_weights_are_one_line(folder):
    torn = folder / "torn"
    shutil.copytree(folder / "dropout", torn)
    (torn / "model.safetensors").write_bytes((torn / "model.safetensors").read_bytes()[:1000])
    result = CliRunner().invoke(app, ["pretrain", str(torn), *arguments(folder, "-o", folder / "new")[2:]])
    assert result.exit_code == 1 and not (folder / "new").exists()
    assert "could not be read; the checkpoint is damaged" in result.stderr
    shutil.rmtree(torn)


def test_translations_are_trained_on_and_measured(folder, capsys):
    parallel = folder / "parallel"
    parallel.mkdir()
    for language, word in (("eng", "house"), ("deu", "Haus")):
        lines = (f"v{i}\t{word} {chr(97 + i % 26)} {word}\n" for i in range(40))
        (parallel / f"{language}_Latn.tsv").write_text("".join(lines), encoding="utf-8")
    (folder / "ids.txt").write_text("".join(f"v{i}\n" for i in range(30, 40)))
    extra = ["--parallel", parallel, "--held-out", folder / "ids.txt", "-o", folder / "aligned"]
    result = CliRunner().invoke(app, arguments(folder, *extra))
    assert result.exit_code == 0, result.output
    metrics = json.loads((folder / "aligned" / "all_results.json").read_text())
    assert 0 <= metrics["eval_deu_retrieval"] <= 1
