"""Processes of a distributed run, forked from one in which everything is imported already."""

import contextlib
import faulthandler
import gc
import os
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable

import torch


def warm_up() -> None:
    """Does once what each fork would do for itself when it first loads a model, or collects garbage."""
    from transformers import AutoModelForMaskedLM

    from ofa_transformers import OfaConfig, OfaForMaskedLM

    with contextlib.suppress(ImportError):  # accelerate looks for it
        import datasets  # noqa: F401
    sizes = {
        "vocab_size": 8,
        "hidden_size": 4,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 4,
    }
    with tempfile.TemporaryDirectory() as folder:
        OfaForMaskedLM(OfaConfig(**sizes, embedding_size=2)).save_pretrained(folder)
        AutoModelForMaskedLM.from_pretrained(folder)
    gc.collect()
    gc.freeze()


def run_ranks(ranks: int, function: Callable[[int], object]) -> list[int]:
    """Exit codes of `function(rank)` in processes of its own, which find each other as torchrun's do.

    When one fails, the others are killed, as torchrun does.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pids = {}
    for rank in range(ranks):
        pid = os.fork()
        if pid == 0:
            _child(ranks, rank, port, function)
        pids[pid] = rank
    results = [0] * ranks
    while pids:
        pid, status = os.wait()
        results[pids.pop(pid)] = os.waitstatus_to_exitcode(status)
        if status:
            for other in pids:
                os.kill(other, signal.SIGKILL)
    return results


def _child(ranks: int, rank: int, port: int, function: Callable[[int], object]) -> None:
    faulthandler.enable()  # a crash within gloo or FSDP2 would leave no trace
    torch.set_num_threads(1)
    os.environ["ACCELERATE_USE_CPU"] = "true"
    if ranks > 1:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
    code = 0
    try:
        function(rank)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
