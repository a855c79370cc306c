"""Continued pretraining with Trainer: save, resume, evaluate, accumulate."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, Trainer, TrainerCallback, TrainingArguments

from .workload import GLOBAL_BATCH_SIZE, LEARNING_RATE, MaskedSequences, assert_tied, make_model


STEPS = 6


class StopAfter(TrainerCallback):
    """Ends a run early, as a killed job would."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_training_stop = True
        return control


def make_trainer(output: Path, tied: bool = True, callbacks: tuple = (), model=None, **kwargs: object) -> Trainer:
    arguments = {
        "max_steps": STEPS,
        "save_steps": STEPS // 2,
        "per_device_train_batch_size": GLOBAL_BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
        "logging_steps": 1,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 3,
        **kwargs,
    }
    return Trainer(
        model=model or make_model(tied=tied, dropout=0.1),
        args=TrainingArguments(output_dir=str(output), **arguments),
        train_dataset=MaskedSequences(40),
        eval_dataset=MaskedSequences(16, seed=9),
        callbacks=list(callbacks),
    )


def losses(trainer: Trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def assert_same_weights(actual: torch.nn.Module, expected: torch.nn.Module) -> None:
    assert actual.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(actual.state_dict()[name], tensor), name


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_resume_gives_the_uninterrupted_run(tied: bool, tmp_path: Path):
    uninterrupted = make_trainer(tmp_path / "a", tied)
    uninterrupted.train()

    killed = make_trainer(tmp_path / "b", tied, callbacks=(StopAfter(STEPS // 2),))
    killed.train()
    checkpoint = tmp_path / "b" / f"checkpoint-{STEPS // 2}"
    assert_same_weights(AutoModelForMaskedLM.from_pretrained(checkpoint), killed.model)

    # A fresh process would start from other weights; whatever they are, the checkpoint must replace them all.
    fresh = make_model(tied=tied, dropout=0.1)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(1.0)
    resumed = make_trainer(tmp_path / "b", tied, model=fresh)
    resumed.train(resume_from_checkpoint=str(checkpoint))

    assert_same_weights(resumed.model, uninterrupted.model)
    assert losses(resumed) == losses(uninterrupted)
    if tied:
        assert_tied(resumed.model)


def test_checkpoints_hold_each_tied_tensor_once(tmp_path: Path):
    make_trainer(tmp_path).train()
    stored = load_file(tmp_path / f"checkpoint-{STEPS}" / "model.safetensors")
    assert sum(name.endswith("primitives.weight") for name in stored) == 1
    assert sum(tensor.shape == (120, 8) for tensor in stored.values()) == 1
    assert_tied(AutoModelForMaskedLM.from_pretrained(tmp_path / f"checkpoint-{STEPS}"))


def test_both_factors_learn_and_the_loss_falls(tmp_path: Path):
    trainer = make_trainer(tmp_path, max_steps=30, save_strategy="no", learning_rate=2e-2)
    trainer.train_dataset = trainer.eval_dataset
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    first = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.8 * first
    for name in ("weight", "primitives.weight"):
        key = f"roberta.embeddings.word_embeddings.{name}"
        assert not torch.equal(trainer.model.state_dict()[key], before[key]), key


def test_best_checkpoint_is_loaded_at_the_end(tmp_path: Path):
    trainer = make_trainer(
        tmp_path, eval_strategy="steps", eval_steps=3, load_best_model_at_end=True, metric_for_best_model="eval_loss"
    )
    trainer.train()
    best = AutoModelForMaskedLM.from_pretrained(trainer.state.best_model_checkpoint)
    assert_same_weights(trainer.model, best)
    assert_tied(trainer.model)


@pytest.mark.parametrize("sparse_prediction", [False, True], ids=["full", "sparse"])
def test_gradient_accumulation_is_the_large_batch(sparse_prediction: bool, tmp_path: Path):
    """Trainer passes the number of labels of the whole batch; the loss has to divide by that one."""

    def trained(**kwargs: object) -> Trainer:
        model = make_model(sparse_prediction=sparse_prediction)
        trainer = make_trainer(tmp_path, model=model, save_strategy="no", optim="sgd", max_steps=3, **kwargs)
        trainer.train()
        return trainer

    large = trained()
    parts = trained(per_device_train_batch_size=GLOBAL_BATCH_SIZE // 4, gradient_accumulation_steps=4)
    assert losses(parts) == pytest.approx(losses(large), rel=1e-4)
    for name, tensor in large.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


def test_gradient_checkpointing_changes_nothing(tmp_path: Path):
    plain = make_trainer(tmp_path / "a", save_strategy="no")
    plain.train()
    saving = make_trainer(tmp_path / "b", save_strategy="no", gradient_checkpointing=True)
    saving.train()
    assert losses(saving) == pytest.approx(losses(plain), rel=1e-5)


def test_bfloat16_training(tmp_path: Path):
    trainer = make_trainer(tmp_path, bf16=True, max_steps=30, save_strategy="no", learning_rate=2e-2)
    trainer.train_dataset = trainer.eval_dataset
    first = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.8 * first
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
