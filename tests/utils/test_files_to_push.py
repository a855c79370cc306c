"""An upload takes what a model repository holds, follows no link, and leaves the rest behind."""

import pytest

from ofa_transformers.utils.hub import files_to_push


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
