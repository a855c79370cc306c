"""Checkpoints that appear whole or not at all, and what resuming from one needs beside Trainer's and accelerate's."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from ..utils.files import new_folder, sha256
from ..utils.targets import follow_umask


DATA_STATE = "data_state.json"
CHECKSUMS = "SHA256SUMS"
STAGING = ".saving"


def last_checkpoint(output_dir: str | os.PathLike) -> Path | None:
    """The latest checkpoint of a run. Each is complete: an unfinished one lies under another name."""
    found = get_last_checkpoint(str(output_dir)) if Path(output_dir).is_dir() else None
    return Path(found) if found else None


def saved_steps(output_dir: str | os.PathLike) -> set[int]:
    """The steps of which a run has a checkpoint."""
    names = (path.name for path in Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.is_dir())
    return {int(step) for _, _, step in (name.rpartition("-") for name in names) if step.isdecimal()}


@contextmanager
def new_checkpoint(output_dir: str | os.PathLike, step: int, accelerator: Accelerator) -> Iterator[Path]:
    """A folder that all processes write into, and that becomes `checkpoint-STEP` when all of them are done.

    Where writing fails (a full disk) or the run is killed, earlier checkpoints are as they were.

    Raises:
        OSError: writing failed; the message names the last good checkpoint.
    """
    staging = Path(output_dir, STAGING)
    name = f"{PREFIX_CHECKPOINT_DIR}-{step}"
    if accelerator.is_main_process:
        shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
        Path(staging, name).mkdir(parents=True)
    accelerator.wait_for_everyone()
    try:
        yield staging / name
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            write_checksums(staging / name)
    except Exception as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise OSError(
            f"Checkpoint {name} could not be written ({error}). The last good one is "
            f"{last_checkpoint(output_dir) or 'none'}; resume from it when there is room again."
        ) from error
    if accelerator.is_main_process:
        follow_umask(staging / name)
        target = Path(output_dir, name)
        if target.exists():
            os.replace(target, staging / "replaced")
        os.replace(staging / name, target)
        shutil.rmtree(staging, ignore_errors=True)
    accelerator.wait_for_everyone()


def write_checksums(checkpoint: Path) -> None:
    """`SHA256SUMS` of all files, which `sha256sum -c` reads, too."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    lines = [f"{sha256(path)}  {path.relative_to(checkpoint).as_posix()}\n" for path in files]
    Path(checkpoint, CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def damage(checkpoint: Path) -> str | None:
    """What a checkpoint lacks of what was written, in words; None where it is whole."""
    file = Path(checkpoint, CHECKSUMS)
    if not file.is_file():
        return f"it has no {CHECKSUMS}"
    lines = file.read_bytes().decode("utf-8", "replace").splitlines()
    if not lines or any(len(line.partition("  ")[0]) != 64 for line in lines):
        return f"{CHECKSUMS} can't be read"
    for line in lines:
        expected, _, name = line.partition("  ")
        path = Path(checkpoint, name)
        if not path.is_file():
            return f"{name} is missing"
        if sha256(path) != expected:
            return f"{name} is not what was written"
    return None


def check_whole(checkpoint: Path) -> None:
    """That every file of a checkpoint is there and as it was written, optimizer and all.

    Raises:
        ValueError: one isn't; the message names it, and the last checkpoint that is whole.
    """
    if not Path(checkpoint, CHECKSUMS).is_file() and not Path(checkpoint, DATA_STATE).is_file():
        return  # none of this kind, as `read_data_state` says
    if (found := damage(checkpoint)) is not None:
        others = sorted(saved_steps(checkpoint.parent), reverse=True)
        paths = (checkpoint.parent / f"{PREFIX_CHECKPOINT_DIR}-{step}" for step in others)
        good = next((path for path in paths if path.name != checkpoint.name and damage(path) is None), None)
        remedy = (
            f"remove that folder, and the same command goes on from {good}, which is whole"
            if good
            else "there is no other checkpoint that is whole: begin again in a new output folder"
        )
        raise ValueError(f"The checkpoint {checkpoint} is damaged: {found}. To go on, {remedy}.")
    names = [line.partition("  ")[2] for line in Path(checkpoint, CHECKSUMS).read_text(encoding="utf-8").splitlines()]
    if not any("optim" in name or name.startswith("global_step") for name in names):
        raise ValueError(
            f"The checkpoint {checkpoint} was written with save_only_model, so that no run can go on from it; give it as "
            "the model to start from instead, with a new output folder."
        )


def write_data_state(
    checkpoint: Path, position: int, identity: str, streams: dict[str, Any] | None, settings: dict[str, Any]
) -> None:
    """Where the run stands in its data, and its settings.

    Args:
        checkpoint: to write into.
        position: of the next sample.
        identity: of the samples.
        streams: with streamed text, where each stream stands.
        settings: see `settings_of`.
    """
    state = {"position": position, "identity": identity, "streams": streams, "settings": settings}
    Path(checkpoint, DATA_STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")


def read_data_state(checkpoint: Path, identity: str) -> dict[str, Any]:
    """What `write_data_state` wrote; without the places in streams of other text.

    Raises:
        ValueError: a checkpoint of another kind of run.
    """
    file = Path(checkpoint, DATA_STATE)
    if not file.is_file():
        raise ValueError(
            f"{checkpoint} has no {DATA_STATE}, so it is not a checkpoint of this kind of run; give it as the model to "
            f"start from instead, with a new output folder."
        )
    state = json.loads(file.read_text(encoding="utf-8"))
    if state["identity"] != identity:
        state["streams"] = None  # samples are drawn by their position all the same
    return state


def check_shapes(checkpoint: Path, model: PreTrainedModel) -> None:
    """That the weights of a checkpoint are those of the model; sharded checkpoints are left to their loader.

    Raises:
        ValueError: one is missing, or of another shape; the message names it.
    """
    index = Path(checkpoint, SAFE_WEIGHTS_INDEX_NAME)
    names = {SAFE_WEIGHTS_NAME}
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    found: dict[str, tuple[int, ...]] = {}
    for file in (Path(checkpoint, name) for name in sorted(names)):
        if file.is_file():
            with safe_open(file, framework="pt") as weights:
                found |= {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    if not found:
        return
    tied = model.all_tied_weights_keys
    for name, parameter in model.named_parameters(remove_duplicate=False):
        shape = tuple(getattr(parameter, "ds_shape", parameter.shape))  # the former under ZeRO-3
        either = {name, tied.get(name), *(target for target, source in tied.items() if source == name)}
        stored = next((found[other] for other in either if other in found), None)
        if stored != shape:
            held = f"holds {name} of shape {stored}" if stored else f"has no {name}"
            raise ValueError(
                f"The checkpoint {checkpoint} {held}, but the model's is of shape {shape}; resume with the "
                f"model and the tokenizer that the run started from, or name a new output folder."
            )


def consolidate(checkpoint: str | os.PathLike, model: PreTrainedModel, output: str | os.PathLike) -> PreTrainedModel:
    """A plain checkpoint from one with sharded weights (FSDP's SHARDED_STATE_DICT), on one machine's CPU.

    Args:
        checkpoint: a folder with `pytorch_model_fsdp_0`.
        model: the model that the run started from; its weights are replaced.
        output: folder to write, for `from_pretrained`.

    Returns:
        The model with the checkpoint's weights, tied where its configuration ties them.

    Raises:
        FileNotFoundError: no sharded weights there.
        FileExistsError: `output` has content.
    """
    import tempfile

    import torch
    from accelerate.utils import merge_fsdp_weights
    from safetensors.torch import load_file

    shards = Path(checkpoint, "pytorch_model_fsdp_0")
    if not shards.is_dir():
        raise FileNotFoundError(f"{checkpoint} has no {shards.name}; it is no checkpoint with sharded weights.")
    check_whole(Path(checkpoint))
    with new_folder(output) as folder, tempfile.TemporaryDirectory(dir=folder.parent) as merged:
        merge_fsdp_weights(str(shards), merged)
        files = sorted(Path(merged).glob("*.safetensors"))
        weights = {name: tensor for file in files for name, tensor in load_file(file).items()}
        with torch.no_grad():
            model.load_state_dict(weights)
        model.tie_weights()
        model.save_pretrained(folder)
    return model
