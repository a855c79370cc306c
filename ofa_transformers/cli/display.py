"""What a training shows while it runs: a line for each log, and on a terminal a bar."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from .options import duration


if TYPE_CHECKING:
    from transformers import TrainerCallback


# How a measure reads in a line.
_MEASURES = {
    "eval_loss": "loss {:.3f}",
    "eval_bits_per_character": "{:.3f} bits per character",
    "eval_retrieval": "retrieval {:.1%}",
}


def training_display() -> TrainerCallback:
    """Lines on stderr such as `step 40 of 100: loss 5.312, learning rate 4.1e-05, 2.3 minutes left`."""
    from tqdm import tqdm
    from transformers import ProgressCallback

    class Display(ProgressCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.began, self.first, self.measuring = time.monotonic(), state.global_step, 0.0
            if not args.disable_tqdm:
                super().on_train_begin(args, state, control, **kwargs)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if not args.disable_tqdm:
                super().on_step_end(args, state, control, **kwargs)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if not args.disable_tqdm:
                super().on_train_end(args, state, control, **kwargs)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if not state.is_world_process_zero or not logs:
                return
            step = f"step {state.global_step:,} of {state.max_steps:,}"
            if "loss" in logs:
                spent = time.monotonic() - self.began - self.measuring
                left = spent / (state.global_step - self.first) * (state.max_steps - state.global_step)
                line = f"{step}: loss {logs['loss']:.3f}, learning rate {logs['learning_rate']:.1e}"
                line += f", {duration(left)} left" if left else ""
            elif "eval_runtime" in logs:
                self.measuring += logs["eval_runtime"]
                found = [text.format(logs[name]) for name, text in _MEASURES.items() if name in logs]
                line = f"{step}: held out, {', '.join(found)}, in {duration(logs['eval_runtime'])}"
            else:
                return
            tqdm.write(line, file=sys.stderr)

    return Display()
