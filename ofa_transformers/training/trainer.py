"""`Trainer` for continued pretraining: its data by position, its loss over tokens, its checkpoints whole."""

from __future__ import annotations

import copy
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK, TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, SaveStrategy, TrainOutput, rotate_checkpoints
from transformers.utils import logging

from ..tokenization import save_tokenizer
from .arguments import PretrainingArguments
from .checkpoints import (
    check_shapes,
    check_whole,
    last_checkpoint,
    new_checkpoint,
    read_data_state,
    saved_steps,
    write_data_state,
)
from .evaluation import check_measure, metrics, retrieval, score_languages
from .logs import Clock, LogInTime
from .objective import check_finite, check_gradient, check_weights, training_loss
from .optimization import clip_gradients, delay_body, parameter_groups
from .progress import BEST, RETRIEVAL, EarlyStop, best_step, evaluations, stops_early, values, why_stopped
from .resuming import apply_hyperparameters, check_settings, check_steps, hyperparameters, settings_of
from .samples import Share, TrainingBatches
from .setup import Setup


logger = logging.get_logger(__name__)


class PretrainingTrainer(Trainer):
    """`Trainer` on `Setup`.

    Differences from its parent: the samples of a step depend on the seed and the step alone; a resumed run reads on from
    there at once, and ends with the weights of one that was never interrupted; the loss is the mean over the labels of
    the global batch, and is logged at least every ten seconds; evaluation gives loss and bits per character and byte by
    language, and retrieval, before the first step, too, and once at a step; of the checkpoints with such measures the best is known and
    kept, and a run that gets no better ends early; a checkpoint appears when it is complete; a loss that is no number
    stops the run.

    Args:
        setup: model, tokenizer, training and validation text.
        args: `max_steps` must be positive: languages are drawn, so there are no epochs.
        callbacks: further callbacks.
        display: shows the progress, in place of Trainer's bar or of the logs that it prints.

    Raises:
        ValueError: arguments that don't go together.
    """

    args: PretrainingArguments

    def __init__(
        self,
        setup: Setup,
        args: PretrainingArguments,
        callbacks: list[TrainerCallback] | None = None,
        display: TrainerCallback | None = None,
    ) -> None:
        if args.max_steps <= 0:
            raise ValueError(
                f"max_steps={args.max_steps}: give a positive number of steps; languages are drawn again and again, so "
                f"there are no epochs to count."
            )
        if args.n_gpu > 1:
            raise ValueError(
                f"There are {args.n_gpu} GPUs and one process; start one for each, with `accelerate launch` or `torchrun`."
            )
        args = copy.copy(args)  # the caller's stay as they are
        if setup.held_out:
            if not setup.validation and args.metric_for_best_model == BEST:
                args.metric_for_best_model, args.greater_is_better = RETRIEVAL, True
            check_measure(args.metric_for_best_model, setup.validation, setup.validation_pairs)
        args.ignore_data_skip = True  # the batches begin where the checkpoint ended
        args.logging_nan_inf_filter = False  # such a loss stops the run
        super().__init__(
            model=setup.model,
            args=args,
            data_collator=setup.data.collate,
            eval_dataset=setup.validation or setup.validation_pairs or None,
            processing_class=setup.tokenizer,
            callbacks=[EarlyStop(), *(callbacks or ())],
        )
        self.add_callback(LogInTime(Clock(self.accelerator)))
        if display is not None:
            self.remove_callback(PrinterCallback if args.disable_tqdm else DEFAULT_PROGRESS_CALLBACK)
            self.add_callback(display)
        self.setup = setup
        self.model_accepts_loss_kwargs = True  # count the labels of a global batch, and pass the number on
        self.loss_is_scaled_for_ga = True
        self._loss_shifts_labels = setup.causal
        self._start_step = 0
        self._contrasts: list[torch.Tensor] = []  # of the pairs since the last log
        self._data_state: dict[str, Any] = {"position": 0, "streams": None}
        self._staging: str | None = None

    @property
    def share(self) -> Share:
        """Of this process in each global batch."""
        return Share(self.args.per_device_train_batch_size, self.args.process_index, self.args.world_size)

    @property
    def global_batch_size(self) -> int:
        """Samples of a step."""
        return self.share.size * self.share.count * self.args.gradient_accumulation_steps

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> TrainOutput:
        """As `Trainer.train`, from the position in the data that the checkpoint names.

        Raises:
            ValueError: a checkpoint of other shapes, or of another kind of run.
            OSError: a checkpoint could not be written.
            FloatingPointError: a loss that is no number.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_checkpoint(self.args.output_dir)
            if resume_from_checkpoint is None:
                raise ValueError(f"There is no checkpoint in {self.args.output_dir} to resume from.")
        if resume_from_checkpoint:
            checkpoint = Path(resume_from_checkpoint)
            if self.args.process_index == 0:
                check_whole(checkpoint)
            self._data_state = read_data_state(checkpoint, self.setup.identity)
            check_shapes(checkpoint, self.model)
            state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
            check_steps(checkpoint, state.global_step, self.args.max_steps)
            check_settings(checkpoint, self._data_state["settings"], self._settings, self.is_deepspeed_enabled)
            self._start_step = state.global_step
            if stops_early(self.args, state.log_history) and self._start_step < self.args.max_steps:
                logger.warning(f"{checkpoint} is where the run stopped: {why_stopped(self.args, state.log_history)}")
                self.args.max_steps = self._start_step
            resume_from_checkpoint = str(checkpoint)
        self.args.eval_on_start &= self.setup.held_out and not self._start_step
        return super().train(resume_from_checkpoint=resume_from_checkpoint or None, **kwargs)

    @property
    def _settings(self) -> dict[str, Any]:
        return settings_of(self.setup, self.args, self.args.world_size)

    def _init_training_state(self, max_steps: int, *args: Any, **kwargs: Any) -> tuple[int, int]:
        done = super()._init_training_state(max_steps, *args, **kwargs)
        if self._start_step:  # Trainer goes on with the intervals and the best of the checkpoint
            self.state.compute_steps(self.args, max_steps)
            best = self._note_best(saved_steps(self.args.output_dir))
            path = os.path.join(self.args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{best}")
            self.state.best_model_checkpoint = None if best is None else path
        return done

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        wanted = hyperparameters(self.optimizer)
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and not self.is_deepspeed_enabled:
            apply_hyperparameters(self.optimizer, self.lr_scheduler, wanted)

    def _load_best_model(self) -> None:
        if self.args.process_index == 0:
            check_whole(Path(self.state.best_model_checkpoint))
        super()._load_best_model()

    def get_train_dataloader(self) -> TrainingBatches:
        start = self._data_state["position"]
        stop = start + max(self.args.max_steps - self._start_step, 0) * self.global_batch_size
        before = self._start_step * self.args.gradient_accumulation_steps
        self._batches = self.setup.data.batches(self.share, start, stop, self._data_state["streams"], before)
        self._batch_number = 0
        return self._batches

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        loss, contrast = training_loss(
            model, self._unwrapped(model), inputs, num_items_in_batch, self.setup.causal, self.setup.alignment
        )
        whole = loss if contrast is None else loss + contrast
        check_finite(whole, self.state.global_step + 1, self._batches, self._batch_number, self.args.output_dir)
        self._batch_number += 1
        if self.args.average_tokens_across_devices:
            # Gradients are averaged over the processes, each of which has a part of the sum over all labels.
            loss = loss * self.accelerator.num_processes
        if contrast is not None:
            self._contrasts.append(contrast.detach())
            loss = loss + contrast / self.args.gradient_accumulation_steps
        return loss

    def _unwrapped(self, model: nn.Module) -> PreTrainedModel:
        return self.accelerator.unwrap_model(model, keep_torch_compile=False)

    def _clip_grad_norm(self, model: nn.Module, max_norm: float | None = None) -> float:
        args = self.args
        frozen = self.state.global_step < args.freeze_body_steps
        max_norm = args.max_grad_norm if max_norm is None else max_norm
        return clip_gradients(self.accelerator, model, self.optimizer, max_norm, frozen)

    def _get_grad_norm(self, model: nn.Module, grad_norm: float | None = None) -> float:
        norm = self._clip_grad_norm(model, math.inf) if grad_norm is None else grad_norm
        if getattr(self.accelerator, "scaler", None) is None:  # fp16's leaves out steps of infinite gradients
            step = self.state.global_step
            samples = self._batches.describe_step(step - self._start_step, self.global_batch_size)
            check_gradient(norm, step + 1, samples, self.args.output_dir)
        return norm

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        args = self.args
        if self.optimizer is None:
            model = self.model if model is None else model
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(args, model)
            wanted = args.embedding_learning_rate, args.embedding_weight_decay, args.freeze_body_steps or None
            if not getattr(optimizer_class, "__module__", "").startswith("torch.optim"):
                if wanted == (None, None, None):
                    return super().create_optimizer(model)  # some of them choose the parameters by themselves
                if options.keys() & {"params", "model", "optimizer_dict"}:
                    raise ValueError(
                        f"optim={args.optim.value!r} groups parameters by itself, which doesn't go with "
                        "embedding_learning_rate, embedding_weight_decay and freeze_body_steps."
                    )
            unwrapped = self._unwrapped(model)
            groups = parameter_groups(
                unwrapped,
                self.get_decay_parameter_names(unwrapped),
                learning_rate=args.learning_rate,
                weight_decay=args.weight_decay,
                embedding_learning_rate=args.embedding_learning_rate,
                embedding_weight_decay=args.embedding_weight_decay,
            )
            self.optimizer = optimizer_class(groups, **options)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> torch.optim.lr_scheduler.LRScheduler:
        made = self.lr_scheduler is None
        scheduler = super().create_scheduler(num_training_steps, optimizer)
        if made and self.args.freeze_body_steps:
            delay_body(scheduler, self.args.freeze_body_steps, self.args.get_warmup_steps(num_training_steps))
        return scheduler

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Loss (nats a token), bits per character and per byte, and retrieval of held-out translations.

        Means over the languages, and of each language.

        Args:
            eval_dataset: language -> lines; default: the validation text.
            ignore_keys: without meaning here.
            metric_key_prefix: begin of the names.

        Raises:
            ValueError: there is no text.
        """
        texts = self.setup.validation if eval_dataset is None else eval_dataset
        pairs = self.setup.validation_pairs
        if not texts and not pairs:
            raise ValueError("There is no validation text to evaluate on.")
        start = time.time()
        model, tokenizer = self._unwrapped(self.model), self.setup.tokenizer
        tokens_per_batch = self.args.per_device_eval_batch_size * self.setup.max_length
        measured = {}
        if texts:
            scores = score_languages(
                model,
                tokenizer,
                texts,
                self.accelerator,
                causal=self.setup.causal,
                max_length=self.setup.max_length,
                tokens_per_batch=tokens_per_batch,
            )
            measured |= metrics(scores, texts)
        measured |= retrieval(
            model, tokenizer, pairs, self.setup.measured_layer, tokens_per_batch, self.setup.sentence_modules
        )
        result = {f"{metric_key_prefix}_{name}": value for name, value in measured.items()}
        result[f"{metric_key_prefix}_runtime"] = round(time.time() - start, 3)
        self.log(result)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, result)
        return result

    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> dict[str, float]:
        """What was measured at this step, measured now unless it was before."""
        known = evaluations(self.state.log_history).get(self.state.global_step)
        return known or super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        # Trainer's best is that of all evaluations, whether or not there is a checkpoint of it.
        state, args = self.state, self.args
        steps = saved_steps(args.output_dir)
        if self.control.should_save or args.save_strategy == SaveStrategy.BEST:
            steps.add(state.global_step)
        return self._note_best(steps) == state.global_step

    def _note_best(self, steps: set[int]) -> int | None:
        """The best of the checkpoints at `steps`, which the state remembers."""
        state, args = self.state, self.args
        best = best_step(state.log_history, steps, args.metric_for_best_model, args.greater_is_better)
        if best is not None:
            state.best_global_step = best
            state.best_metric = values(state.log_history, args.metric_for_best_model)[best]
        return best

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self._contrasts:
            contrast = self.accelerator.reduce(torch.stack(self._contrasts).mean(), reduction="mean")
            logs["alignment_loss"] = round(contrast.item(), 4)
            self._contrasts.clear()
        self.state.epoch = self.state.global_step / self.args.max_steps  # the run as one epoch, also when resumed
        super().log(logs, start_time)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        missing = [name for name in load_result.missing_keys if name not in self.model.all_tied_weights_keys]
        super()._issue_warnings_after_load(type(load_result)(missing, load_result.unexpected_keys))

    def _get_output_dir(self, trial: Any) -> str:
        return self._staging or super()._get_output_dir(trial)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        if state_dict is not None:  # gathered from shards, where tied tensors no longer share their memory
            state_dict = {k: tensor for k, tensor in state_dict.items() if k not in self.model.all_tied_weights_keys}
        super()._save(output_dir, state_dict)
        if self.args.should_save:  # every process comes here, and one writes
            folder = output_dir or self.args.output_dir
            save_tokenizer(self.setup.tokenizer, folder)
            if self.setup.sentence_modules is not None:
                self.setup.sentence_modules.save(folder, self.setup.longest)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        # Trainer writes into the final folder, where a killed run leaves a part that a resumed one takes for a checkpoint.
        step, output_dir = self.state.global_step, self.args.output_dir
        final = os.path.join(output_dir, f"{PREFIX_CHECKPOINT_DIR}-{step}")
        check_weights(self.model, step, output_dir)
        with new_checkpoint(output_dir, step, self.accelerator) as folder:
            self._staging = str(folder.parent)
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._staging = None
            if self.state.best_global_step == step:
                self.state.best_model_checkpoint = final
            if self.args.should_save:
                self.state.save_to_json(str(folder / TRAINER_STATE_NAME))
                position = self._batches.start + (step - self._start_step) * self.global_batch_size
                write_data_state(folder, position, self.setup.identity, self._batches.streams, self._settings)
        if self.args.push_to_hub:
            super()._push_from_checkpoint(final)
        if self.args.should_save:
            rotate_checkpoints(
                output_dir, self.args.save_total_limit, self.state.best_model_checkpoint, use_mtime=True
            )

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Left to `_save_checkpoint`, once the folder has its name."""
