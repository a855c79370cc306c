"""`ofa_run.yaml`: what a run was made of, beside what it made; `--config` repeats it."""

from __future__ import annotations

import datetime
import hashlib
import platform
import shlex
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer

from ..utils.files import new_file, visible_files
from .config import RECORD, options_of


RECORD_FILE = "ofa_run.yaml"
_PACKAGES = ("ofa-transformers", "transformers", "torch", "tokenizers", "numpy", "scipy")
_READ_BYTES = 1 << 22


class RunRecord:
    """Options, inputs with checksums, and versions of a run.

    Made before the work: checksums are those of what is about to be read. Where the run repeats a recorded one
    (`--config ofa_run.yaml`), a warning says which inputs and versions are others now.

    Args:
        context: of the command.
        inputs: files, folders and Hub ids that the run reads.
        datasets: ids of data sets on the Hub.
    """

    def __init__(self, context: typer.Context, inputs: Iterable[Any], datasets: Iterable[str] = ()) -> None:
        self._recorded: dict[str, Any] = context.meta.get(RECORD) or {}
        self._options = options_of(context)
        self._command = context.info_name
        self._kinds = {str(name): "model" for name in inputs} | dict.fromkeys(datasets, "dataset")
        self._inputs = _checksums([name for name in self._kinds if Path(name).exists()])
        self._from_hub: dict[str, Any] | None = None
        self._versions = versions()
        self._warn(self._inputs)
        before = self._recorded.get("versions", {})
        others = [
            f"{name} {old} (now {self._versions[name]})" for name, old in before.items() if self._is_other(name, old)
        ]
        if others:
            _warn(f"The recorded run had {', '.join(others)}; results may differ in the last bits.")

    def write(self, folder: Path) -> None:
        """Writes the record into a folder. What came from the Hub has been loaded by now, so that its commit is known."""
        import torch
        import yaml

        if self._from_hub is None:
            self._from_hub = {
                name: {"commit": _commit(name, kind)} for name, kind in self._kinds.items() if name not in self._inputs
            }
            self._warn(self._from_hub)
        content = {
            **self._options,
            RECORD: {
                "command": self._command,
                "command_line": shlex.join(["ofa", *sys.argv[1:]]),
                "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                "versions": self._versions,
                "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
                "threads": torch.get_num_threads(),
                "inputs": {**self._inputs, **self._from_hub},
            },
        }
        head = (
            f"# The run that wrote this folder. To repeat it: ofa {self._command} --config {RECORD_FILE} -o FOLDER\n"
        )
        with new_file(folder / RECORD_FILE) as file:
            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
            file.write_text(head + text, encoding="utf-8")

    def _is_other(self, package: str, recorded: str) -> bool:
        return package in self._versions and self._versions[package] != recorded

    def _warn(self, inputs: dict[str, Any]) -> None:
        for name, now in inputs.items():
            before = self._recorded.get("inputs", {}).get(name)
            if before is None or before == now:
                continue
            if "commit" in before or "commit" in now:
                what = f"is at {now.get('commit') or 'no commit'}, not at {before.get('commit') or 'no commit'}"
            elif "sha256" in before or "sha256" in now:
                what = "has another content"
            else:
                files = [file for file in sorted({*before, *now}) if before.get(file) != now.get(file)]
                what = f"differs in {', '.join(files[:5])}" + f" and {len(files) - 5} more" * (len(files) > 5)
            _warn(f"{name} is not what it was when the run was recorded: it {what}.")


def versions() -> dict[str, str]:
    """Of the packages that results depend on, of Python and the system."""
    packages = {name: version(name) for name in _PACKAGES}
    return {**packages, "python": platform.python_version(), "platform": platform.platform()}


def _warn(message: str) -> None:
    typer.secho(f"Warning: {message}", err=True, fg=typer.colors.YELLOW)


def _checksums(names: list[str]) -> dict[str, Any]:
    """name -> {"bytes", "sha256"}, for a folder of each file in it."""
    from transformers.utils import logging

    files = {name: visible_files(name) if Path(name).is_dir() else [Path(name)] for name in names}
    total = sum(file.stat().st_size for found in files.values() for file in found)
    found: dict[str, Any] = {}
    with logging.tqdm(
        total=total, desc="Checksums of the inputs", unit="B", unit_scale=True, delay=2, leave=False
    ) as bar:
        for name in names:
            sums = {}
            for file in files[name]:
                digest = hashlib.sha256()
                with open(file, "rb") as content:
                    while block := content.read(_READ_BYTES):
                        digest.update(block)
                        bar.update(len(block))
                sums[file] = {"bytes": file.stat().st_size, "sha256": digest.hexdigest()}
            is_folder = Path(name).is_dir()
            found[name] = (
                {file.relative_to(name).as_posix(): sums[file] for file in files[name]}
                if is_folder
                else sums[Path(name)]
            )
    return found


def _commit(name: str, kind: str) -> str | None:
    """The commit that a Hub id was last resolved to on this machine; None where that isn't known."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    reference = Path(HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type=kind), "refs", "main")
    if reference.is_file():
        return reference.read_text(encoding="utf-8").strip()
    if kind == "dataset":  # streamed, so that nothing is in the cache
        try:
            return HfApi().dataset_info(name).sha
        except Exception:  # offline, or gone: the run is done all the same
            return None
    return None
