"""What the arguments of a run make of themselves, before it starts."""

import dataclasses

import pytest
from transformers import TrainingArguments


pytest.importorskip("datasets")

from ofa_transformers.training import PretrainingArguments
from ofa_transformers.training.fields import BY_TRAINER, HERE, REFUSED
from ofa_transformers.utils import precision


@pytest.mark.parametrize("able", [True, False])
@pytest.mark.parametrize("asked", ["option", "accelerate"])
@pytest.mark.parametrize("use_cpu", [True, False])
def test_bfloat16_on_a_processor(tmp_path, monkeypatch, caplog, able, asked, use_cpu):
    """A run in it where the processor multiplies it, one in float32 and a line about it elsewhere."""
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    monkeypatch.setattr(precision, "cpu_multiplies_bfloat16", lambda: able)
    precision.logger.warning_once.cache_clear()
    if asked == "accelerate":
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    arguments = PretrainingArguments(output_dir=str(tmp_path), bf16=asked == "option", use_cpu=use_cpu)
    assert arguments.mixed_precision == ("bf16" if able else "no")
    assert arguments.bf16 == (able and asked == "option")
    said = [record.getMessage() for record in caplog.records if "no bfloat16 arithmetic" in record.getMessage()]
    assert len(said) == (not able) and all("float32" in line for line in said)


def test_bfloat16_on_a_gpu_is_left_to_it(monkeypatch):
    from ofa_transformers.training.arguments import configured_precision

    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    monkeypatch.setattr(precision, "cpu_multiplies_bfloat16", lambda: False)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert configured_precision(use_cpu=False) is None and configured_precision(use_cpu=True) == "no"


FIELDS = {field.name: field for field in dataclasses.fields(TrainingArguments)}
# A value that is not the default, of each argument that is refused.
OTHERS = {
    "num_train_epochs": 1.0, "auto_find_batch_size": True, "label_smoothing_factor": 0.1, "use_liger_kernel": True,
    "liger_kernel_config": {"rope": True}, "bf16_full_eval": True, "fp16_full_eval": True,
    "prediction_loss_only": True, "eval_do_concat_batches": False, "eval_use_gather_object": True,
    "eval_accumulation_steps": 2, "include_for_metrics": ["loss"], "batch_eval_metrics": True, "do_predict": True,
    "save_on_each_node": True, "enable_jit_checkpoint": True, "ignore_data_skip": True, "dataloader_drop_last": True,
    "dataloader_in_order": False, "remove_unused_columns": False, "label_names": ["labels"],
    "train_sampling_strategy": "sequential", "length_column_name": "size", "parallelism_config": object(),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_every_argument_of_trainer_is_heeded_or_refused_by_name(tmp_path, name):
    kinds = [name in HERE, name in BY_TRAINER, name in REFUSED]
    assert kinds.count(True) == 1, f"decide about {name} in training/fields.py"
    if name in REFUSED:
        with pytest.raises(ValueError, match=f"^{name}=.* {REFUSED[name][:20]}"):
            PretrainingArguments(output_dir=str(tmp_path), use_cpu=True, **{name: OTHERS[name]})


def test_nothing_else_is_named():
    newer = {"activation_checkpointing", "activation_checkpointing_kwargs"}  # than the oldest Transformers
    named = HERE | BY_TRAINER | set(REFUSED)
    assert named - newer == set(FIELDS) - newer and newer <= named and set(OTHERS) == set(REFUSED)


def test_arguments_of_a_newer_transformers_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ofa_transformers.training.fields.BY_TRAINER", BY_TRAINER - {"run_name"})
    PretrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    with pytest.raises(ValueError, match="run_name='x' is not known to this version"):
        PretrainingArguments(output_dir=str(tmp_path), use_cpu=True, run_name="x")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fp16": True}, "fp16=True needs a GPU"),
        ({"optim": "lomo"}, "optim='lomo' is not supported"),
        ({"optim": "galore_adamw_layerwise"}, "outside of the optimizer's step"),
        ({"accelerator_config": {"split_batches": True}}, "accelerator_config: split_batches=True"),
    ],
)
def test_values_that_a_run_would_not_heed(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        PretrainingArguments(output_dir=str(tmp_path), use_cpu=True, **given)


def test_arguments_survive_a_copy(tmp_path):
    arguments = PretrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    assert dataclasses.replace(arguments, max_steps=3).max_steps == 3
