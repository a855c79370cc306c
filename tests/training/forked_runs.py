"""Runs the pretraining scripts in forked processes, one or several each, some of them killed; used by test_scripts.py.

    python forked_runs.py RUNS.json

Transformers is imported once, and each run forks from there. RUNS.json is a list of runs, done one after the other:
    script     "run_mlm", "run_mlm_no_trainer" or "run_clm"
    ranks      number of processes, which talk through gloo
    arguments  of the script
    kill       absent, or [call, number]: a process gets SIGKILL at the so many-th call of "backward" (a micro-batch),
               "save" (a file of a checkpoint) or "step"; rank 1 where there is one
    fail       absent, or number: that torch.save finds the disk full
    fsdp2      true: the weights are sharded
    nan        absent, or number: the loss of that micro-batch is NaN
The exit codes are written as a list, one list a run, to RUNS.json.codes, and the output of each to RUNS.json.log.
"""

import importlib.util
import json
import os
import signal
import sys
import types
from functools import partial
from pathlib import Path

import accelerate
import torch
import transformers.trainer
from forking import run_ranks, warm_up
from train_distributed import make_accelerator

import ofa_transformers.training.objective
import ofa_transformers.training.run


EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


SCRIPTS = {name: load(name) for name in ("run_mlm", "run_mlm_no_trainer", "run_clm")}


def at_call(owner: object, name: str, number: int, action) -> None:
    """Lets `action` see the arguments of the so many-th call of a function."""
    original = getattr(owner, name)
    calls = 0

    def counted(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == number:
            action()
        return original(*args, **kwargs)

    setattr(owner, name, counted)


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def full_disk() -> None:
    raise OSError(28, "No space left on device")


def prepare_faults(run: dict, rank: int) -> None:
    owners = {
        "backward": (accelerate.Accelerator, "backward"),
        "save": (torch, "save"),
        "step": (torch.optim.AdamW, "step"),
    }
    if rank == run["ranks"] - 1:
        if "kill" in run:
            call, number = run["kill"]
            at_call(*owners[call], number, kill_self)
        if "fail" in run:
            at_call(torch, "save", run["fail"], full_disk)
    if run.get("fsdp2"):
        owner = SCRIPTS[run["script"]] if run["script"] == "run_mlm_no_trainer" else transformers.trainer

        def accelerator(cpu: bool = True, fsdp_plugin: object = None, **kwargs) -> accelerate.Accelerator:
            return make_accelerator("fsdp2", **kwargs)

        owner.Accelerator = accelerator
    if "nan" in run:
        calls = 0

        def isfinite(tensor):
            nonlocal calls
            calls += 1
            return torch.isfinite(tensor * float("nan") if calls == run["nan"] else tensor)

        # For that module alone: others look through weights.
        ofa_transformers.training.objective.torch = types.SimpleNamespace(**{**vars(torch), "isfinite": isfinite})


def child(run: dict, rank: int, log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    prepare_faults(run, rank)
    sys.argv = [run["script"], *run["arguments"]]
    SCRIPTS[run["script"]].main()


def main() -> None:
    file = Path(sys.argv[1])
    log = file.with_suffix(".json.log")
    warm_up()
    codes = [run_ranks(run["ranks"], partial(child, run, log=log)) for run in json.loads(file.read_text())]
    file.with_suffix(".json.codes").write_text(json.dumps(codes))


if __name__ == "__main__":
    main()
