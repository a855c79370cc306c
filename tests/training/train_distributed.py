"""A plain accelerate training loop, launched by test_distributed.py: with one process, and with two of DDP and of FSDP2.

For each kind of model (tied or not, with sparse prediction or not) it trains `--steps` steps, keeps the training state after half of them in
OUTPUT/STRATEGY/KIND/state, and writes the model to OUTPUT/STRATEGY/KIND/model and the losses to OUTPUT/STRATEGY/KIND/model-losses.json. Then it
starts again, from that state instead of from step 0, and writes to OUTPUT/STRATEGY/KIND/resumed and so on.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from forking import run_ranks, warm_up
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader
from workload import GLOBAL_BATCH_SIZE, LEARNING_RATE, MaskedSequences, assert_tied, make_model


def make_accelerator(strategy: str, **kwargs: object) -> Accelerator:
    if strategy != "fsdp2":
        return Accelerator(cpu=True, **kwargs)
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=["XLMRobertaLayer"],
        state_dict_type="SHARDED_STATE_DICT",
    )
    accelerator = Accelerator(cpu=True, fsdp_plugin=plugin, **kwargs)
    # accelerate picks FSDP on GPUs and their like only. PyTorch's own implementation also runs on CPUs, over gloo, so
    # choose it by hand; all that follows is accelerate's ordinary path.
    PartialState().distributed_type = accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = plugin
    return accelerator


KINDS = {
    "tied": {"tied": True},
    "untied": {"tied": False},
    "sparse": {"tied": True, "sparse_prediction": True},
    "untied-sparse": {"tied": False, "sparse_prediction": True},
}


def train(strategy: str, kind: str, steps: int, output: Path, resume: bool) -> None:
    accelerator = make_accelerator(strategy)
    model = make_model(**KINDS[kind])
    if resume:
        # Whatever the new model starts from, the saved state must replace it all.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)
    data = MaskedSequences(steps * GLOBAL_BATCH_SIZE, distinct=2 * GLOBAL_BATCH_SIZE)
    loader = DataLoader(data, batch_size=GLOBAL_BATCH_SIZE // accelerator.num_processes, shuffle=False)
    # Adam would blow up the rounding of gradients that are zero but for it (the keys' biases) to whole steps.
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, eps=1e-3)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    model.train()
    if strategy == "fsdp2":
        assert all(isinstance(parameter, DTensor) for parameter in model.parameters())

    start, losses = 0, []
    if resume:
        accelerator.load_state(str(output / "state"))
        start = steps // 2
        loader = accelerator.skip_first_batches(loader, start)
    for step, batch in enumerate(loader, start=start + 1):
        loss = model(**batch).loss
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(accelerator.reduce(loss.detach(), reduction="mean").item())
        if step == steps // 2 and not resume:
            accelerator.save_state(str(output / "state"), safe_serialization=True)

    unwrapped = accelerator.unwrap_model(model)
    if KINDS[kind]["tied"]:
        assert_tied(unwrapped)
    name = "resumed" if resume else "model"
    unwrapped.save_pretrained(
        output / name,
        is_main_process=accelerator.is_main_process,
        state_dict=accelerator.get_state_dict(model),
    )
    if accelerator.is_main_process:
        (output / f"{name}-losses.json").write_text(json.dumps(losses))
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    AcceleratorState._reset_state(reset_partial_state=True)


def train_all(rank: int, strategy: str, steps: int, output: Path) -> None:
    for kind in KINDS:
        for resume in (False, True):
            train(strategy, kind, steps, output / kind, resume)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder; each strategy has one within")
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    warm_up()
    for strategy, ranks in (("single", 1), ("ddp", 2), ("fsdp2", 2)):
        codes = run_ranks(
            ranks, partial(train_all, strategy=strategy, steps=options.steps, output=options.output / strategy)
        )
        assert not any(codes), f"{strategy}: {codes}"


if __name__ == "__main__":
    main()
