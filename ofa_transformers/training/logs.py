"""When a run logs its loss: at its steps, and as soon as ten seconds have passed since the last time."""

from __future__ import annotations

import time
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy


SECONDS = 10.0


class Clock:
    """Whether it is time to log again; the main process decides for all, since they reduce the loss together.

    Args:
        accelerator: of the run.
        seconds: of wall time between two logs.
    """

    def __init__(self, accelerator: Accelerator, seconds: float = SECONDS) -> None:
        self.accelerator, self.seconds = accelerator, seconds
        self.restart()

    def restart(self) -> None:
        """The loss was logged just now."""
        self.last = time.monotonic()

    def is_due(self) -> bool:
        due = time.monotonic() - self.last >= self.seconds
        if self.accelerator.num_processes > 1:
            due = bool(broadcast(torch.tensor(int(due), device=self.accelerator.device)))
        return due


class LogInTime(TrainerCallback):
    """Has Trainer log the loss when the clock says so, beside every `logging_steps`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.clock.restart()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if logs and "loss" in logs:
            self.clock.restart()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if args.logging_strategy != IntervalStrategy.NO and self.clock.is_due():
            control.should_log = True
        return control
