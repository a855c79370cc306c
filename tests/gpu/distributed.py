"""Training on several processes gives the losses of one: DDP, FSDP2 and DeepSpeed, by NCCL on GPUs and gloo on the CPU."""

from __future__ import annotations

import importlib.util
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tiny_models import make_model

from gpu.correctness import NotHere


STEPS, BATCH, LENGTH, LABELS = 4, 8, 12, 4
LIMIT = 1e-3
STRATEGIES = ("ddp", "fsdp2")


def batches(device: str) -> list[dict[str, torch.Tensor]]:
    """The same for every process; each sequence has as many labels, so that a mean of parts' losses is the batch's."""
    draws = torch.Generator().manual_seed(3)
    made = []
    for _ in range(STEPS):
        ids = torch.randint(5, 120, (BATCH, LENGTH), generator=draws)
        labelled = torch.rand(BATCH, LENGTH, generator=draws).argsort(1) < LABELS
        made.append({"input_ids": ids.to(device), "labels": ids.masked_fill(~labelled, -100).to(device)})
    return made


def make(device: str) -> torch.nn.Module:
    return make_model("xlm-roberta", sparse_prediction=True).to(device).train(False)  # no dropout


def train(strategy: str, device: str, rank: int = 0, world: int = 1) -> list[float]:
    """Losses of a few steps; of a rank, its part of each batch, averaged over all of them."""
    model = make(device)
    if strategy == "ddp":
        model = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=False)
    elif strategy == "fsdp2":
        from torch.distributed.fsdp import fully_shard

        mesh = dist.device_mesh.init_device_mesh(torch.device(device).type, (world,))
        for layer in model.roberta.encoder.layer:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, eps=1e-3)
    losses = []
    for batch in batches(device):
        part = {name: tensor.chunk(world)[rank] for name, tensor in batch.items()}
        loss = model(**part).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        mean = loss.detach().clone()
        if world > 1:
            dist.all_reduce(mean)
        losses.append(mean.item() / world)
    return losses


def run_rank(rank: int, world: int, strategy: str, backend: str, device: str, folder: str) -> None:
    """One process of several; process 0 writes the losses."""
    if device == "cuda":
        torch.cuda.set_device(rank % torch.cuda.device_count())
    store = dist.FileStore(os.path.join(folder, "store"), world)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    try:
        losses = train(strategy, device, rank, world)
        if rank == 0:
            torch.save(losses, os.path.join(folder, "losses"))
    finally:
        dist.destroy_process_group()


def compare(strategy: str, device: str, world: int) -> dict[str, Any]:
    """The strategy with so many processes beside one process without it; raises AssertionError where losses differ."""
    expected = train("single", device)
    cards = torch.cuda.device_count() if device == "cuda" else 0
    backend = "nccl" if device == "cuda" else "gloo"
    # NCCL gives a card to one process only.
    shared = device == "cuda" and world > cards
    if shared:
        backend = "gloo"
    with tempfile.TemporaryDirectory() as folder:
        arguments = (world, strategy, backend, device, folder)
        try:
            if world == 1:
                run_rank(0, *arguments)
            else:
                torch.multiprocessing.spawn(run_rank, arguments, nprocs=world)
        except Exception as error:
            if shared:
                raise NotHere(
                    f"one card for {world} processes, and gloo failed: {str(error).strip()[-200:]}"
                ) from error
            raise
        losses = torch.load(Path(folder) / "losses")
    worst = max(abs(a - b) / abs(b) for a, b in zip(losses, expected))
    assert len(losses) == STEPS and worst <= LIMIT, f"losses {losses} instead of {expected}"
    return {"backend": backend, "processes": world, "cards": min(cards, world), "largest_difference": worst}


def deepspeed(device: str, stage: int) -> dict[str, Any]:
    """A ZeRO stage beside plain training, in one process."""
    if importlib.util.find_spec("deepspeed") is None:
        raise NotHere("needs deepspeed")
    if device == "cpu":
        raise NotHere("DeepSpeed is tried on GPUs")
    import deepspeed
    from transformers.integrations import HfDeepSpeedConfig

    expected = train("single", device)
    with socket.socket() as free:
        free.bind(("", 0))
        port = str(free.getsockname()[1])
    environment = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update(environment)
    settings = {
        "train_micro_batch_size_per_gpu": BATCH,
        "zero_optimization": {"stage": stage},
        "optimizer": {"type": "AdamW", "params": {"lr": 5e-3, "eps": 1e-3, "weight_decay": 0.01, "torch_adam": True}},
        "zero_allow_untested_optimizer": True,
    }
    deepspeed.init_distributed()
    try:
        kept = HfDeepSpeedConfig(settings) if stage == 3 else None  # while it lives, models are built scattered
        model = make_model("xlm-roberta", sparse_prediction=True).train(False)
        engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=settings)
        start = None
        losses = []
        for batch in batches(device):
            loss = engine(**batch).loss
            start = loss.item() if start is None else start
            engine.backward(loss)
            engine.step()
            losses.append(loss.item())
        del kept
    finally:
        dist.destroy_process_group()
        for name in environment:
            os.environ.pop(name, None)
    if stage == 3:
        # Scattered models draw their weights in another order: what can be seen is that they learn.
        assert losses[-1] < losses[0] and all(map(torch.isfinite, torch.tensor(losses))), f"losses {losses}"
        return {"stage": stage, "losses": losses}
    worst = max(abs(a - b) / abs(b) for a, b in zip(losses, expected))
    assert worst <= LIMIT, f"losses {losses} instead of {expected}"
    return {"stage": stage, "largest_difference": worst}


def _checks() -> dict[str, Any]:
    found = {
        f"{strategy}, {world} process{'es' if world > 1 else ''}": lambda device, s=strategy, w=world: compare(
            s, device, w
        )
        for strategy in STRATEGIES
        for world in (1, 2)
    }
    return found | {f"DeepSpeed, ZeRO-{stage}": lambda device, s=stage: deepspeed(device, s) for stage in (2, 3)}


CHECKS = _checks()
