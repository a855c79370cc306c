"""`--config` and the record of a run."""

import json

import pytest
import yaml

from ofa_transformers.cli.run_record import RECORD_FILE, _commit


@pytest.fixture
def given(inputs, tmp_path, monkeypatch):
    """The inputs as a configuration, with the working folder beside them."""
    monkeypatch.chdir(tmp_path)
    return {"source": "source", "tokenizer": "tokenizer", "vectors": "vectors"}


def test_values_come_from_the_file_and_the_command_line_wins(run, given, tmp_path):
    content = {**given, "size": 8, "num-neighbors": 2, "target_language": "deu", "source-language": ["eng"]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    assert run("adapt", "--config", "run.yaml", "-o", "out", "--size", 4) == 0
    settings = json.loads((tmp_path / "out" / "ofa_report.json").read_text())["settings"]
    assert settings["embedding_size"] == 4 and settings["num_neighbors"] == 2
    assert settings["target_languages"] == ["deu"] and settings["source_languages"] == ["eng"]
    (tmp_path / "run.json").write_text(
        json.dumps({**content, "output": "from-json", "overwrite": False, "seed": None})
    )
    assert run("adapt", "--config", "run.json") == 0
    assert (tmp_path / "from-json" / RECORD_FILE).is_file()


def test_a_recorded_run_is_repeated_bit_for_bit(run, given, tmp_path, capsys):
    assert run("adapt", "source", "-t", "tokenizer", "-v", "vectors", "--size", 8, "--seed", 7, "-o", "out") == 0
    record = yaml.safe_load((tmp_path / "out" / RECORD_FILE).read_text())
    assert record["embedding_size"] == 8 and record["seed"] == 7 and record["temperature"] == 0.1
    assert "overwrite" not in record and "size" not in record
    about = record["record"]
    assert about["command"] == "adapt" and "--seed 7" in about["command_line"]
    assert {"torch", "transformers", "ofa-transformers", "python", "platform"} <= set(about["versions"])
    weights = (tmp_path / "source" / "model.safetensors").stat().st_size
    assert about["inputs"]["source"]["model.safetensors"]["bytes"] == weights
    assert len(about["inputs"]["tokenizer"]["tokenizer.json"]["sha256"]) == 64
    capsys.readouterr()

    assert run("adapt", "--config", f"out/{RECORD_FILE}", "-o", "again") == 0
    assert "Warning" not in capsys.readouterr().err
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("out", "again"))
    assert first == second
    again = yaml.safe_load((tmp_path / "again" / RECORD_FILE).read_text())
    assert {**again, "output": "out", "record": None} == {**record, "record": None}
    assert again["record"]["inputs"] == about["inputs"]

    # What has changed since is said, and no folder replaced.
    with open(tmp_path / "vectors" / "metadata.json", "a") as file:
        file.write("\n")
    about["versions"]["torch"] = "1.0"
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(record))
    assert run("adapt", "--config", "old.yaml", "-o", "third") == 0
    warnings = capsys.readouterr().err
    assert "vectors is not what it was when the run was recorded: it differs in metadata.json" in warnings
    assert "The recorded run had torch 1.0" in warnings
    assert run("adapt", "--config", f"out/{RECORD_FILE}") == 1
    assert "out exists and is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sizes: 8", "'sizes' is no option of ofa adapt; the nearest is 'size'"),
        ("size: eight", "run.yaml: size: Input should be a valid integer"),
        ("size: 8.5", "run.yaml: size: Input should be a valid integer"),
        ("seed: -1", "run.yaml: seed: "),
        ("size: [8, 9]", "run.yaml: size: [8, 9] is no text or number"),
        ("source_language: [no]", "run.yaml: source_language: False is no text or number; write it in quotes"),
        ("overwrite: 1", "run.yaml: overwrite: 1 is neither true nor false"),
        ("size: [8", "run.yaml is no YAML: line"),
        ("size: 2001-99-99", "run.yaml is no YAML: "),
        ("a: " + "[" * 20_000, "run.yaml is nested too deeply"),
        ("- size", "run.yaml must hold options and their values"),
        ("record: {command: pretrain}", "run.yaml records a run of ofa pretrain, not of ofa adapt"),
        ("record: 3", "run.yaml: record is what a run wrote of itself"),
        (None, "run.yaml is not a file"),
    ],
)
def test_a_wrong_file_is_one_line(error_of, tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "run.yaml").write_text(text)
    assert message in error_of("adapt", "source", "-t", "t", "-v", "v", "-o", "out", "--config", "run.yaml")


def test_the_commit_of_a_hub_id_is_the_one_that_the_cache_names(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    reference = tmp_path / "models--me--mine" / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text("0123abcd")
    assert _commit("me/mine", "model") == "0123abcd"
    assert _commit("me/other", "model") is None
    assert _commit("me/data", "dataset") is None  # offline
