"""Which of Trainer's arguments a run heeds: all others are refused by name, so that none is silently ignored."""

from __future__ import annotations

import dataclasses

from transformers import TrainingArguments
from transformers.trainer_pt_utils import AcceleratorConfig


# What the code of this package acts on.
HERE = frozenset(
    [
        "output_dir",
        "max_steps",
        "per_device_train_batch_size",
        "per_device_eval_batch_size",
        "gradient_accumulation_steps",
        "average_tokens_across_devices",
        "learning_rate",
        "weight_decay",
        "lr_scheduler_type",
        "warmup_steps",
        "optim",
        "optim_target_modules",
        "max_grad_norm",
        "bf16",
        "fp16",
        "use_cpu",
        "seed",
        "data_seed",
        "resume_from_checkpoint",
        "save_strategy",
        "save_steps",
        "save_total_limit",
        "save_only_model",
        "eval_strategy",
        "eval_steps",
        "eval_delay",
        "eval_on_start",
        "load_best_model_at_end",
        "metric_for_best_model",
        "greater_is_better",
        "logging_strategy",
        "logging_steps",
        "logging_first_step",
        "logging_nan_inf_filter",
        "report_to",
        "accelerator_config",
        "dataloader_num_workers",
        "dataloader_pin_memory",
        "dataloader_persistent_workers",
        "dataloader_prefetch_factor",
        "dataloader_multiprocessing_context",
        "push_to_hub",
        "do_train",
        "do_eval",
        "torch_compile",
        "torch_compile_backend",
        "torch_compile_mode",
    ]
)
# What Trainer's own code, which this package leaves as it is, acts on.
BY_TRAINER = frozenset(
    [
        "lr_scheduler_kwargs",
        "optim_args",
        "adam_beta1",
        "adam_beta2",
        "adam_epsilon",
        "tf32",
        "activation_checkpointing",
        "activation_checkpointing_kwargs",
        "gradient_checkpointing",
        "gradient_checkpointing_kwargs",
        "use_cache",
        "neftune_noise_alpha",
        "torch_empty_cache_steps",
        "log_on_each_node",
        "include_num_input_tokens_seen",
        "log_level",
        "log_level_replica",
        "disable_tqdm",
        "run_name",
        "project",
        "trackio_space_id",
        "trackio_bucket_id",
        "trackio_static_space_id",
        "hub_token",
        "hub_private_repo",
        "hub_model_id",
        "hub_strategy",
        "hub_always_push",
        "hub_revision",
        "restore_callback_states_from_checkpoint",
        "full_determinism",
        "ddp_find_unused_parameters",
        "ddp_bucket_cap_mb",
        "ddp_broadcast_buffers",
        "ddp_static_graph",
        "ddp_backend",
        "ddp_timeout",
        "fsdp",
        "fsdp_config",
        "deepspeed",
        "debug",
        "skip_memory_metrics",
        "local_rank",
    ]
)
_EVALUATION = "is of Trainer's evaluation, in place of which this one scores held-out text"
_DRAWN = "has no place here: samples are drawn by language, seed and position in the run"
# Why the others are refused.
REFUSED = {
    "num_train_epochs": "has no place here: languages are drawn again and again; give max_steps",
    "auto_find_batch_size": "would change the samples of each step; choose a batch size instead",
    "label_smoothing_factor": "is not supported: the loss is that of the labels alone",
    "use_liger_kernel": "is not supported: the loss is computed without logits as it is",
    "liger_kernel_config": "is not supported: the loss is computed without logits as it is",
    "bf16_full_eval": "is not supported: evaluation has the precision of training",
    "fp16_full_eval": "is not supported: evaluation has the precision of training",
    "prediction_loss_only": _EVALUATION,
    "eval_do_concat_batches": _EVALUATION,
    "eval_use_gather_object": _EVALUATION,
    "eval_accumulation_steps": _EVALUATION,
    "include_for_metrics": _EVALUATION,
    "batch_eval_metrics": _EVALUATION,
    "do_predict": _EVALUATION,
    "save_on_each_node": "is not supported: give an output folder that all machines see",
    "enable_jit_checkpoint": "is not supported: a killed run goes on from its last checkpoint; lower save_steps",
    "ignore_data_skip": "is not supported: a resumed run reads on from where its checkpoint ended",
    "dataloader_drop_last": _DRAWN,
    "dataloader_in_order": "must stay true: the samples of a step depend on the order",
    "remove_unused_columns": _DRAWN,
    "label_names": _DRAWN,
    "train_sampling_strategy": _DRAWN,
    "length_column_name": _DRAWN,
    "parallelism_config": "is not supported: processes share the samples, as under DDP, FSDP and DeepSpeed",
}
_UNKNOWN = "is not known to this version of ofa-transformers"
# Optimizers that change weights outside of the step, where nothing that is not finite could be stopped.
_STEPLESS = ("lomo", "adalomo", "schedule_free")


def check_fields(args: TrainingArguments) -> None:
    """That no argument was given which the run would not heed.

    Raises:
        ValueError: such an argument, named.
    """
    own = {field.name for field in dataclasses.fields(args)} - {f.name for f in dataclasses.fields(TrainingArguments)}
    for field in dataclasses.fields(args):
        if field.name in HERE or field.name in BY_TRAINER or field.name in own:
            continue
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        value = getattr(args, field.name)
        if value != default:
            raise ValueError(f"{field.name}={value!r} {REFUSED.get(field.name, _UNKNOWN)}.")
    optimizer = str(getattr(args.optim, "value", args.optim))
    if optimizer.startswith(_STEPLESS) or optimizer.endswith("_layerwise"):
        raise ValueError(f"optim={optimizer!r} is not supported: it changes weights outside of the optimizer's step.")


def check_accelerator_config(config: AcceleratorConfig) -> None:
    """That a configuration asks for nothing of accelerate's data loader, which isn't used.

    Raises:
        ValueError: such a setting, named.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name not in ("gradient_accumulation_kwargs", "use_configured_state") and value != field.default:
            raise ValueError(f"accelerator_config: {field.name}={value!r} {_DRAWN}.")
