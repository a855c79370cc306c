"""What changes when a run goes on with other arguments, and what a damaged checkpoint says."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY
from safetensors.torch import load_file
from tiny_models import LM_HEADS, make_config


pytest.importorskip("datasets")

from ofa_transformers.training import DataArguments, ModelArguments, PretrainingArguments, pretrain
from ofa_transformers.training.checkpoints import CHECKSUMS, check_whole
from ofa_transformers.training.planning import plan_pretraining
from ofa_transformers.training.resuming import check_settings

from .workspace import make_workspace


DATA = set(DataArguments.__dataclass_fields__)


def given(folder: Path, output: Path, **changes):
    data = {"train": [str(folder / "train")], "max_seq_length": 32, "data_cache_dir": str(folder / "cache")}
    training = {
        "output_dir": str(output), "max_steps": 4, "save_steps": 2, "per_device_train_batch_size": 4, "use_cpu": True,
        "report_to": "none", "disable_tqdm": True, "learning_rate": 1e-2, "weight_decay": 0.1, "warmup_steps": 1,
    }  # fmt: skip
    model = ModelArguments(str(folder / changes.pop("model", "plain")))
    data |= {name: changes.pop(name) for name in list(changes) if name in DATA}
    return model, DataArguments(**data), PretrainingArguments(**(training | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A workspace with `half`, a run that was stopped after two of four steps, and `whole`, the same to its end."""
    folder = tmp_path_factory.mktemp("resuming")
    make_workspace(folder, ("plain",))
    pretrain(*given(folder, folder / "whole"))
    shutil.copytree(folder / "whole" / "checkpoint-2", folder / "half" / "checkpoint-2")
    return folder


def resumed(folder: Path, tmp_path: Path, **changes) -> dict[str, torch.Tensor]:
    shutil.copytree(folder / "half", tmp_path / "out")
    pretrain(*given(folder, tmp_path / "out", **changes))
    return load_file(tmp_path / "out" / "model.safetensors")


def differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(one[name], other[name]) for name in one)


def test_nothing_changed_nothing_said(folder, tmp_path, caplog):
    assert not differ(resumed(folder, tmp_path), load_file(folder / "whole" / "model.safetensors"))
    assert "other settings" not in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 1e-9), ("embedding_learning_rate", 1e-4), ("weight_decay", 0.9),
        ("embedding_weight_decay", 0.0), ("warmup_steps", 4), ("freeze_body_steps", 3), ("max_steps", 6),
        ("adam_beta1", 0.1), ("adam_epsilon", 1.0), ("max_grad_norm", 1e-3), ("per_device_train_batch_size", 2),
        ("gradient_accumulation_steps", 2), ("mlm_probability", 0.5), ("whole_word_masking", True),
        ("line_by_line", True), ("alpha", 1.0), ("max_seq_length", 16), ("bf16", True),
    ],
)  # fmt: skip
def test_another_value_takes_effect_and_is_named(folder, tmp_path, caplog, monkeypatch, name, value):
    monkeypatch.setattr("ofa_transformers.utils.precision.cpu_multiplies_bfloat16", lambda: True)
    assert differ(resumed(folder, tmp_path, **{name: value}), load_file(folder / "whole" / "model.safetensors"))
    assert "with other settings, which hold from here on" in caplog.text and f"{name} {value} (before" in caplog.text


def test_a_lower_learning_rate_is_the_one_that_is_used(folder, tmp_path):
    weights = resumed(folder, tmp_path, learning_rate=1e-12)
    before = load_file(folder / "half" / "checkpoint-2" / "model.safetensors")
    assert max((weights[name] - before[name]).abs().max().item() for name in before) < 1e-8


def test_streaming_may_begin_in_between(folder, tmp_path, caplog):
    """So little text is shuffled as a whole either way: the samples are the same, read again from the beginning."""
    weights = resumed(folder, tmp_path, streaming=True)
    assert "streaming True (before False)" in caplog.text
    assert not differ(weights, load_file(folder / "whole" / "model.safetensors"))


def test_other_text_takes_effect(folder, tmp_path, caplog):
    text = [str(folder / "train" / "deu.txt")]
    assert differ(resumed(folder, tmp_path, train=text), load_file(folder / "whole" / "model.safetensors"))
    assert "hold from here on: text." in caplog.text


def test_intervals_take_effect(folder, tmp_path):
    held_out = {"validation": [str(folder / "validation")], "eval_strategy": "steps", "eval_on_start": False}
    resumed(folder, tmp_path, save_steps=1, eval_steps=1, logging_steps=1, max_steps=5, **held_out)
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    assert [entry["step"] for entry in history if "eval_loss" in entry] == [3, 4, 5]
    assert [entry["step"] for entry in history if "loss" in entry] == [3, 4, 5]
    assert len(list((tmp_path / "out").glob("checkpoint-*"))) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 7}, r"another seed \(7, before 42\).*masks and dropout depend on it"),
        ({"data_seed": 7}, r"another sample_seed \(7, before 42\)"),
        ({"optim": "sgd"}, r"another optim \(sgd, before adamw_torch_fused\)"),
        ({"lr_scheduler_type": "cosine"}, r"another lr_scheduler_type \(cosine, before linear\)"),
        ({"max_steps": 1}, r"max_steps=1 \(--steps\) is less than the 2 steps that .*checkpoint-2 has"),
        ({"model": "other"}, r"another model, which can't change within a run"),
    ],
)
def test_what_can_not_change_is_refused_by_name(folder, tmp_path, changes, message):
    if "model" in changes and not (folder / "other").exists():
        shutil.copytree(folder / "plain", folder / "other")
        torch.manual_seed(8)
        config = make_config("xlm-roberta", vocab_size=load_rows(folder), initializer_range=0.1,
                             hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)  # fmt: skip
        LM_HEADS["xlm-roberta"](config).save_pretrained(folder / "other")
    with pytest.raises(ValueError, match=message):
        resumed(folder, tmp_path, **changes)
    before = (folder / "half" / "checkpoint-2").iterdir()
    assert sorted(path.name for path in (tmp_path / "out" / "checkpoint-2").iterdir()) == sorted(
        p.name for p in before
    )
    if "model" not in changes:  # a dry run loads no weights
        with pytest.raises(ValueError, match=message):
            plan_pretraining(*given(folder, tmp_path / "out", **changes))


def load_rows(folder: Path) -> int:
    return json.loads((folder / "plain" / "config.json").read_text())["vocab_size"]


@pytest.mark.parametrize("name", ["tokenizer", "causal", "held-out text"])
def test_other_things_that_can_not_change(tmp_path, name):
    with pytest.raises(ValueError, match=f"another {name}.*can't change within a run"):
        check_settings(tmp_path, {name: "a"}, {name: "b"})


def test_held_out_text_may_come_and_go(tmp_path, caplog):
    check_settings(tmp_path, {"held-out text": None}, {"held-out text": "b"})
    check_settings(tmp_path, {"held-out text": "a", "model": "a"}, {"held-out text": None, "model": None})
    assert not caplog.text


def test_rates_of_schedules_with_a_state_can_not_change(tmp_path):
    before = {"learning_rate": 1e-3, "lr_scheduler_type": "greedy"}
    with pytest.raises(ValueError, match="another learning_rate"):
        check_settings(tmp_path, before, {**before, "learning_rate": 1e-4})
    with pytest.raises(ValueError, match="another weight_decay"):
        check_settings(tmp_path, {"weight_decay": 0.0}, {"weight_decay": 0.1}, deepspeed=True)


FILES = ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "data_state.json", "trainer_state.json",
         "config.json", "tokenizer.json", "training_args.bin"]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["missing", "truncated", "changed"])
def test_a_damaged_checkpoint_names_the_file_and_the_last_good_one(folder, tmp_path, name, kind):
    shutil.copytree(folder / "whole", tmp_path / "out")
    file = tmp_path / "out" / "checkpoint-4" / name
    content = file.read_bytes()
    if kind == "missing":
        file.unlink()
    else:
        half = len(content) // 2
        file.write_bytes(
            content[:half] + (b"" if kind == "truncated" else bytes([content[half] ^ 1]) + content[half + 1 :])
        )
    what = f"{name} is missing" if kind == "missing" else f"{name} is not what was written"
    good = tmp_path / "out" / "checkpoint-2"
    with pytest.raises(ValueError) as raised:
        check_whole(file.parent)
    assert what in str(raised.value) and f"goes on from {good}, which is whole" in str(raised.value)
    if kind == "truncated" and name in ("optimizer.pt", "data_state.json"):
        with pytest.raises(ValueError, match=what):
            pretrain(*given(folder, tmp_path / "out"))
        shutil.rmtree(file.parent)  # as the message says
        pretrain(*given(folder, tmp_path / "out"))
        weights = [load_file(part / "model.safetensors") for part in (tmp_path / "out", folder / "whole")]
        assert not differ(*weights)


def test_checksums_themselves(folder, tmp_path):
    shutil.copytree(folder / "half", tmp_path / "out")
    checkpoint = tmp_path / "out" / "checkpoint-2"
    check_whole(checkpoint)
    (checkpoint / "scheduler.pt").write_bytes(b"")
    for content, message in ((b"\xff\x00", "can't be read"), (b"", "can't be read"), (None, f"it has no {CHECKSUMS}")):
        (checkpoint / CHECKSUMS).unlink()
        if content is not None:
            (checkpoint / CHECKSUMS).write_bytes(content)
        with pytest.raises(ValueError, match=f"{message}. To go on, there is no other checkpoint that is whole"):
            check_whole(checkpoint)


def test_a_checkpoint_of_the_model_alone(folder, tmp_path):
    pretrain(*given(folder, tmp_path / "out", save_only_model=True))
    with pytest.raises(ValueError, match="checkpoint-4 was written with save_only_model"):
        pretrain(*given(folder, tmp_path / "out", max_steps=6))


def test_the_loop_heeds_its_arguments_too(folder, tmp_path, monkeypatch, caplog):
    monkeypatch.syspath_prepend(str(REPOSITORY / "examples"))
    import run_mlm_no_trainer

    def run(steps: int, **changes) -> dict[str, torch.Tensor]:
        options = {
            "model_name_or_path": folder / "plain", "train": folder / "train", "max_seq_length": 32, "cpu": True,
            "data_cache_dir": folder / "cache", "output_dir": tmp_path / "loop", "max_steps": steps, "save_steps": 2,
            "learning_rate": 1e-2, "per_device_train_batch_size": 4, **changes,
        }  # fmt: skip
        run_mlm_no_trainer.main([part for name, value in options.items() for part in (f"--{name}", str(value))])
        return load_file(tmp_path / "loop" / "model.safetensors")

    before = run(2)
    for message, changes in (("another seed", {"seed": 9}), ("is less than the 2 steps", {"max_steps": 1})):
        with pytest.raises(ValueError, match=message):
            run(4, **changes)
    after = run(4, learning_rate=1e-12)
    assert max((after[name] - before[name]).abs().max().item() for name in before) < 1e-8
    assert "learning_rate 1e-12 (before 0.01)" in caplog.text
    (tmp_path / "loop" / "checkpoint-4" / "optimizer.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"optimizer\.bin is not what was written"):
        run(6)
