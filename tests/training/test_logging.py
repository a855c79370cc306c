"""What `--report_to` writes: TensorBoard's events, and codecarbon's energy and CO2."""

import csv
import sys
from pathlib import Path

import pytest


pytest.importorskip("datasets")

from typer.testing import CliRunner

from ofa_transformers.cli import app, main
from ofa_transformers.training import arguments

from .workspace import SIZES


EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS = 4


def pretrain(workspace: Path, output: Path, report_to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Trainer does it."""
    options = ["-v", workspace / "validation", "-o", output, "-n", STEPS, "--save-steps", 2, "--batch-size", 4]
    options += ["--max-length", 32, "--cpu", "--report-to", report_to]
    result = CliRunner().invoke(app, ["pretrain", *map(str, [workspace / "dropout", workspace / "train", *options])])
    assert result.exit_code == 0, (result.output, result.exception)


def accelerate_loop(workspace: Path, output: Path, report_to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the script without Trainer does it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import run_mlm_no_trainer

    options = {
        "model_name_or_path": workspace / "dropout", "train": workspace / "train", "output_dir": output,
        "validation": workspace / "validation", "data_cache_dir": workspace / "cache", "max_steps": STEPS,
        "save_steps": 2, "eval_steps": 2, "logging_steps": 1, "per_device_train_batch_size": 4, "max_seq_length": 32,
        "cpu": True, "report_to": report_to,
    }  # fmt: skip
    run_mlm_no_trainer.main([part for name, value in options.items() for part in (f"--{name}", str(value))])


LOOPS = [pretrain, accelerate_loop]


def events(output: Path) -> dict[str, list[int]]:
    """tag -> steps, of all of TensorBoard's files under a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for path in sorted(output.rglob("events.out.tfevents.*")):
        accumulator = EventAccumulator(str(path))
        accumulator.Reload()
        for tag in accumulator.Tags()["scalars"]:
            found.setdefault(tag, []).extend(event.step for event in accumulator.Scalars(tag))
    return found


@pytest.mark.parametrize("train", LOOPS)
def test_tensorboard_has_the_loss_and_the_bits_of_each_language(pretraining_folder, tmp_path, monkeypatch, train):
    pytest.importorskip("tensorboard")
    output = tmp_path / "model"
    train(pretraining_folder, output, "tensorboard", monkeypatch)
    found = events(output)
    for language in SIZES:
        tags = [tag for tag in found if language in tag and "bits_per_character" in tag]
        assert len(tags) == 1 and set(found[tags[0]]) == {0, 2, 4}, found
    assert any(tag.split("/")[-1] == "loss" for tag in found), found


@pytest.mark.parametrize("train", LOOPS)
def test_codecarbon_writes_the_energy_of_the_run(pretraining_folder, tmp_path, monkeypatch, train):
    pytest.importorskip("codecarbon", reason="needs codecarbon")
    output = tmp_path / "model"
    train(pretraining_folder, output, "codecarbon", monkeypatch)
    with (output / "emissions.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["energy_consumed"]) > 0 and float(row["emissions"]) > 0 and float(row["duration"]) > 0


@pytest.mark.parametrize("name", ["tensorboard", "codecarbon", "trackio"])
def test_a_missing_tracker_is_named_before_anything_is_written(
    pretraining_folder, tmp_path, monkeypatch, capsys, name
):
    monkeypatch.setattr(arguments, "find_spec", lambda module: None)
    output = tmp_path / "model"
    options = [
        pretraining_folder / "dropout",
        pretraining_folder / "train",
        "-o",
        output,
        "-n",
        1,
        "--cpu",
        "--report-to",
        name,
    ]
    monkeypatch.setattr(sys, "argv", ["ofa", "pretrain", *map(str, options)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("Error: ") and f"ofa-transformers[{name}]" in error
    assert not output.exists()
    with pytest.raises(ImportError, match=rf"ofa-transformers\[{name}\]"):
        accelerate_loop(pretraining_folder, output, name, monkeypatch)
    assert not output.exists()
