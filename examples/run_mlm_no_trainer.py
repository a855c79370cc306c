"""Continue the pretraining of a masked LM on text of many languages: the loop in plain sight, with accelerate.

    accelerate launch --config_file examples/accelerate_configs/fsdp2.yaml examples/run_mlm_no_trainer.py \
        --model_name_or_path adapted --train text/ --validation heldout/ --output_dir continued --max_steps 10000 \
        --per_device_train_batch_size 32 --gradient_accumulation_steps 8 --learning_rate 5e-5

The same samples, masks and loss as run_mlm.py's, from `ofa_transformers.training`; copy this file to change the loop.
Started again with the same arguments, an interrupted run goes on from its last checkpoint. Precision and the kind of
parallelism come from accelerate's configuration.
"""

import contextlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, set_seed
from tqdm.auto import tqdm
from transformers import HfArgumentParser, get_scheduler
from transformers.trainer_pt_utils import get_parameter_names
from transformers.trainer_utils import rotate_checkpoints

from ofa_transformers.tokenization import save_tokenizer
from ofa_transformers.training import DataArguments, ModelArguments, Share, prepare
from ofa_transformers.training.arguments import check_trackers, configured_precision
from ofa_transformers.training.checkpoints import (
    check_shapes,
    check_whole,
    last_checkpoint,
    new_checkpoint,
    read_data_state,
    saved_steps,
    write_data_state,
)
from ofa_transformers.training.evaluation import metrics, score_languages
from ofa_transformers.training.head import fit_head
from ofa_transformers.training.logs import Clock
from ofa_transformers.training.objective import (
    check_finite,
    check_gradient,
    check_weights,
    count_labels,
    training_loss,
)
from ofa_transformers.training.optimization import clip_gradients, delay_body, parameter_groups
from ofa_transformers.training.progress import BEST, PREFIX, best_step
from ofa_transformers.training.resuming import (
    apply_hyperparameters,
    check_settings,
    check_steps,
    hyperparameters,
    settings_of,
)
from ofa_transformers.training.run import check_output
from ofa_transformers.utils.strict_json import dumps


@dataclass
class LoopArguments:
    """What Trainer's arguments would say."""

    output_dir: str = field(metadata={"help": "Checkpoints, and at the end model and tokenizer."})
    max_steps: int = field(metadata={"help": "Optimizer steps."})
    per_device_train_batch_size: int = field(default=8, metadata={"help": "Samples of a process and a forward pass."})
    gradient_accumulation_steps: int = field(default=1, metadata={"help": "Forward passes of a step."})
    learning_rate: float = 5e-5
    weight_decay: float = 0.0
    embedding_learning_rate: float | None = field(default=None, metadata={"help": "Default: learning_rate."})
    embedding_weight_decay: float | None = field(default=None, metadata={"help": "Default: weight_decay."})
    freeze_body_steps: int = field(default=0, metadata={"help": "Steps in which only the embeddings are trained."})
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    lr_scheduler_type: str = "linear"
    warmup_steps: int = 0
    gradient_checkpointing: bool = field(default=False, metadata={"help": "Less memory for more time."})
    logging_steps: int = 100
    eval_steps: int = 1000
    save_steps: int = 1000
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints to keep; the best is kept, too."})
    dataloader_num_workers: int = 0
    seed: int = 42
    cpu: bool = field(default=False, metadata={"help": "Train on the CPU."})
    report_to: list[str] = field(
        default_factory=list, metadata={"help": "Trackers of accelerate (tensorboard, trackio, ...) or codecarbon."}
    )


@dataclass
class Progress:
    """Goes into checkpoints with the optimizer."""

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)  # held-out measures and their step

    def state_dict(self) -> dict[str, Any]:
        return vars(self).copy()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def main(arguments: list[str] | None = None) -> None:
    parser = HfArgumentParser((ModelArguments, DataArguments, LoopArguments))
    model_arguments, data_arguments, args = parser.parse_args_into_dataclasses(arguments)
    output = Path(args.output_dir)
    check_trackers(args.report_to)
    trackers = [name for name in args.report_to if name != "codecarbon"]
    accelerator = Accelerator(
        cpu=args.cpu,
        mixed_precision=configured_precision(args.cpu),
        log_with=trackers or None,
        project_dir=args.output_dir,
    )
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        raise ValueError("DeepSpeed accumulates gradients by itself, which this loop doesn't; use run_mlm.py with it.")
    checkpoint = last_checkpoint(output)
    if checkpoint is None and accelerator.is_main_process:
        check_output(output)
        output.mkdir(parents=True, exist_ok=True)
    accelerator.wait_for_everyone()
    set_seed(args.seed)

    loader_options = {"num_workers": args.dataloader_num_workers, "pin_memory": accelerator.device.type == "cuda"}
    setup = prepare(model_arguments, data_arguments, causal=False, seed=args.seed, loader_options=loader_options)
    data_state = {"position": 0, "streams": None}
    if checkpoint is not None:
        if accelerator.is_main_process:
            check_whole(checkpoint)
        data_state = read_data_state(checkpoint, setup.identity)
        check_shapes(checkpoint, setup.model)
        check_settings(checkpoint, data_state["settings"], settings_of(setup, args, accelerator.num_processes))

    if setup.new_weights and checkpoint is None:
        fit_head(setup, args.seed)
    model = setup.model
    if args.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    groups = parameter_groups(
        model,
        get_parameter_names(model, [torch.nn.LayerNorm], ["bias", "norm"]),
        learning_rate=args.learning_rate,
        weight_decay=args.weight_decay,
        embedding_learning_rate=args.embedding_learning_rate,
        embedding_weight_decay=args.embedding_weight_decay,
    )
    optimizer = torch.optim.AdamW(groups, lr=args.learning_rate, eps=args.adam_epsilon)
    model, optimizer = accelerator.prepare(model, optimizer)
    scheduler = get_scheduler(args.lr_scheduler_type, optimizer, args.warmup_steps, args.max_steps)
    if args.freeze_body_steps:
        delay_body(scheduler, args.freeze_body_steps, args.warmup_steps)
    progress = Progress()
    accelerator.register_for_checkpointing(scheduler, progress)
    if checkpoint is not None:
        wanted = hyperparameters(optimizer)
        accelerator.load_state(str(checkpoint))
        apply_hyperparameters(optimizer, scheduler, wanted)  # of these arguments, not of the checkpoint
        check_steps(checkpoint, progress.step, args.max_steps)
    unwrapped = accelerator.unwrap_model(model)

    share = Share(args.per_device_train_batch_size, accelerator.process_index, accelerator.num_processes)
    per_step = share.size * share.count * args.gradient_accumulation_steps
    start, first_step = data_state["position"], progress.step
    stop = start + (args.max_steps - first_step) * per_step
    batches = setup.data.batches(share, start, stop, data_state["streams"])
    iterator = iter(batches)
    if trackers:
        settings = {**vars(model_arguments), **vars(data_arguments), **vars(args)}
        accelerator.init_trackers("ofa-pretraining", {name: str(value) for name, value in settings.items()})

    def evaluate() -> None:
        texts, length = setup.validation, setup.max_length
        scores = score_languages(unwrapped, setup.tokenizer, texts, accelerator, max_length=length)
        result = {f"{PREFIX}{name}": value for name, value in metrics(scores, texts).items()}
        accelerator.log(result, step=progress.step)
        progress.history.append({"step": progress.step, **result})
        if accelerator.is_main_process:
            tqdm.write(f"step {progress.step}: {result[PREFIX + BEST]:.4f} bits per character")
            new = dumps(progress.history[-1], indent=2) + "\n"
            (output / "results.json").write_text(new, encoding="utf-8")

    def save() -> None:
        check_weights(model, progress.step, args.output_dir)
        with new_checkpoint(output, progress.step, accelerator) as folder:
            accelerator.save_state(str(folder))
            if accelerator.is_main_process:
                position = start + (progress.step - first_step) * per_step
                settings = settings_of(setup, args, accelerator.num_processes)
                write_data_state(folder, position, setup.identity, batches.streams, settings)
                unwrapped.config.save_pretrained(folder)  # with these, each checkpoint is a model to load, too
                save_tokenizer(setup.tokenizer, folder)
        if accelerator.is_main_process:
            best = best_step(progress.history, saved_steps(output))  # of those that were saved
            kept = str(output / f"checkpoint-{best}") if best else None
            rotate_checkpoints(args.output_dir, args.save_total_limit, kept)

    with energy(args.report_to, output if accelerator.is_main_process else None):
        bar = tqdm(
            total=args.max_steps, initial=first_step, unit="step", disable=not accelerator.is_local_main_process
        )
        if setup.validation and not first_step:
            evaluate()
        total, logged, clock = torch.zeros((), device=accelerator.device), first_step, Clock(accelerator)
        for step in range(first_step + 1, args.max_steps + 1):
            model.train()
            parts = [next(iterator) for _ in range(args.gradient_accumulation_steps)]
            labels = sum(count_labels(part["labels"], causal=False) for part in parts).to(accelerator.device)
            labels = accelerator.reduce(labels, reduction="sum")
            for number, part in enumerate(parts):
                last = number == len(parts) - 1
                with contextlib.nullcontext() if last else accelerator.no_sync(model):
                    batch = {name: tensor.to(accelerator.device) for name, tensor in part.items()}
                    loss, contrast = training_loss(model, unwrapped, batch, labels, False, setup.alignment)
                    number_of_batch = (step - first_step - 1) * len(parts) + number
                    check_finite(loss, step, batches, number_of_batch, args.output_dir)
                    total += loss.detach()
                    # gradients are averaged over the processes, each of which has a part of the sum
                    loss = loss * accelerator.num_processes
                    if contrast is not None:  # and the mean of its own pairs
                        check_finite(contrast, step, batches, number_of_batch, args.output_dir)
                        loss = loss + contrast / len(parts)
                    accelerator.backward(loss)
            most = args.max_grad_norm or math.inf  # 0 clips nothing, as in Trainer
            norm = clip_gradients(accelerator, model, optimizer, most, step <= args.freeze_body_steps)
            if accelerator.scaler is None:  # fp16's leaves out steps of infinite gradients
                check_gradient(norm, step, batches.describe_step(step - first_step - 1, per_step), args.output_dir)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            progress.step = step
            bar.update()

            if clock.is_due() or step % args.logging_steps == 0:
                loss = accelerator.reduce(total, reduction="sum").item() / (step - logged)
                accelerator.log({"loss": loss, "learning_rate": scheduler.get_last_lr()[0]}, step=step)
                bar.set_postfix(loss=f"{loss:.3f}")
                total, logged = torch.zeros_like(total), step
                clock.restart()
            if setup.validation and (step % args.eval_steps == 0 or step == args.max_steps):
                evaluate()
            if step % args.save_steps == 0 or step == args.max_steps:
                save()
        bar.close()

    # whole weights, also from shards
    weights = accelerator.get_state_dict(model)
    for name in unwrapped.all_tied_weights_keys:  # gathered shards are no longer tied
        weights.pop(name, None)
    unwrapped.save_pretrained(output, is_main_process=accelerator.is_main_process, state_dict=weights)
    if accelerator.is_main_process:
        save_tokenizer(setup.tokenizer, output)
        if setup.sentence_modules is not None:
            setup.sentence_modules.save(output, setup.longest)
    if trackers:
        accelerator.end_training()


def energy(report_to: list[str], output: Path | None) -> contextlib.AbstractContextManager:
    """With "codecarbon": energy and CO2 of the run, written to emissions.csv."""
    if "codecarbon" not in report_to or output is None:
        return contextlib.nullcontext()
    from codecarbon import EmissionsTracker

    return EmissionsTracker(output_dir=str(output), log_level="error")


if __name__ == "__main__":
    main()
