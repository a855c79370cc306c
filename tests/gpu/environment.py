"""What the GPU check needs of the machine: what is missing, wheels from a folder, and stand-ins for four small packages."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


NEEDED = ("torch", "transformers", "scipy", "pyarrow")
# Packages that Transformers doesn't bring along; of each, a module that does what the check needs.
STAND_INS = {path.stem: path for path in sorted((Path(__file__).parent / "stand_ins").glob("*.py"))}
# Parts that need more say so themselves.
OPTIONAL = ("accelerate", "datasets", "deepspeed", "cut_cross_entropy", "liger_kernel")
# How a package is called where it is installed from, where that differs from its module.
_PACKAGES = {"iso639": "python-iso639", "cut_cross_entropy": "cut-cross-entropy", "liger_kernel": "liger-kernel"}


def missing(names: tuple[str, ...]) -> list[str]:
    """The modules that can't be imported."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def complete(folder: Path, wheels: Path | None) -> dict[str, list[str]]:
    """Puts into `folder` what is missing: from wheels where they lie there, else stand-ins. Nothing is fetched.

    The folder comes onto the path, that of processes started from here included.

    Returns:
        What was "installed", and what there are "stand_ins" for.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    found: dict[str, list[str]] = {"installed": [], "stand_ins": []}
    if wheels is not None:
        there = {path.name.split("-")[0].lower().replace("_", "-") for path in wheels.glob("*.whl")}
        lacking = {name: _PACKAGES.get(name, name) for name in missing((*NEEDED, *STAND_INS, *OPTIONAL))}
        lacking = {name: package for name, package in lacking.items() if package.lower() in there}
        if lacking:
            options = ["--no-index", "--no-deps", "--quiet", "--target", str(folder), "--find-links", str(wheels)]
            subprocess.run([sys.executable, "-m", "pip", "install", *options, *lacking.values()], check=True)
        found["installed"] = list(lacking)
    importlib.invalidate_caches()
    for name in missing(tuple(STAND_INS)):
        shutil.copy(STAND_INS[name], folder)
        found["stand_ins"].append(name)
    importlib.invalidate_caches()
    return found


def describe(device: str) -> dict[str, Any]:
    """The machine, and the versions that matter."""
    import torch

    names = (*NEEDED, "numpy", "tokenizers", "safetensors", *OPTIONAL)
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(_PACKAGES.get(name, name))
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    cards = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if device == "cuda" else []
    return {
        "device": device,
        "cards": cards,
        "cuda": torch.version.cuda,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }
