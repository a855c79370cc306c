"""An upload takes what a model repository holds, follows no link, and leaves the rest behind."""

import pytest

from ofa_transformers.utils.hub import files_to_push, without_paths


def test_only_what_a_model_repository_holds(tmp_path):
    wanted = [
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "vocab.txt",
        "LICENSE",
        "ofa_run.yaml",
    ]
    others = [
        "optimizer.pt",
        "scheduler.pt",
        "training_args.bin",
        "rng_state.pth",
        "notes.txt",
        ".env",
        "trainer_state.json",
    ]
    for name in (*wanted, *others, "runs/events.1", "checkpoint-5/model.safetensors", "old/checkpoint-5/config.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in files_to_push(tmp_path)] == sorted(wanted)


def test_links_are_refused(tmp_path):
    (tmp_path / "secret").write_text("secret")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").touch()
    (model / "aside").symlink_to(tmp_path / "secret")
    assert [path.name for path in files_to_push(model)] == ["config.json"]
    (model / "vocab.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match=r"vocab\.txt is a link to"):
        files_to_push(model)
    (model / "vocab.txt").unlink()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    (model / "images").symlink_to(tmp_path / "pictures")
    with pytest.raises(ValueError, match="images is a link to"):
        files_to_push(model)


def test_nothing_to_push(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(FileNotFoundError, match="nothing to push"):
            files_to_push(folder)


def test_records_say_nothing_of_this_machine(tmp_path, monkeypatch):
    (tmp_path / "data" / "bible").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    record = {
        "source": "/home/me/models/xlm-r",
        "tokenizer": "me/tokenizer",
        "parallel": ["data/bible", "../other/bible.tsv"],
        "seed": 0,
        "record": {"command": "adapt", "command_line": "ofa adapt /home/me", "inputs": {"/home/me/models/xlm-r": {"bytes": 1}}},
    }  # fmt: skip
    assert without_paths(record) == {
        "source": "xlm-r",
        "tokenizer": "me/tokenizer",
        "parallel": ["bible", "bible.tsv"],
        "seed": 0,
        "record": {"command": "adapt", "inputs": {"xlm-r": {"bytes": 1}}},
    }
