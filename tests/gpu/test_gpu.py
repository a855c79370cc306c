"""The checks of the GPU check, one test each where there is a GPU; and its script, which runs tiny on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fresh_process
import pytest
import simulated_device
import torch
from conftest import REPOSITORY

from gpu import check, correctness, figures


FOLDER = REPOSITORY / "tests" / "gpu"
HIDDEN = ("wrapt", "psutil", "iso639", "sentencepiece", "accelerate", "datasets", "peft", "pytest", "typer", "rich")
# What isn't torch, transformers with what it needs, scipy or pyarrow, is as good as not there.
HIDING = f"""
import importlib.machinery, importlib.util, runpy, sys

HIDDEN = {HIDDEN}

class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in HIDDEN and "site-packages" in str(getattr(found(name), "origin", "")):
            raise ModuleNotFoundError(name)

def found(name, path=None):
    return importlib.machinery.PathFinder.find_spec(name, path)

def seen(name, package=None):
    spec = found_anywhere(name, package) if name not in HIDDEN else found(name)
    return None if name in HIDDEN and "site-packages" in str(getattr(spec, "origin", "")) else spec

found_anywhere, importlib.util.find_spec = importlib.util.find_spec, seen
sys.meta_path.insert(0, Hidden)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def names(part: str) -> list[str]:
    """The checks of a part; compiling comes last, and is left to tests/integration where all is tiny."""
    return {
        "correctness": ["neighbours", "factors", "mapping", "models", "loss", "compiled"],
        "training": [
            *(f"{strategy}, {number}" for strategy in ("ddp", "fsdp2") for number in ("1 process", "2 processes")),
            "DeepSpeed, ZeRO-2", "DeepSpeed, ZeRO-3", "resume",
        ],
    }[part]  # fmt: skip


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch can use")
@pytest.mark.parametrize(("part", "name"), [(p, n) for p in ("correctness", "training") for n in names(p)])
def test_on_a_gpu(part: str, name: str, tmp_path: Path):
    place = figures.Place("cuda", False, tmp_path, None, None, float("inf"))
    try:
        check.checks_of(part, False)[name](place)
    except correctness.NotHere as reason:
        pytest.skip(str(reason))


def test_tiny_on_the_cpu_with_nothing_but_what_it_needs(tmp_path: Path):
    """Every part but the replication, in an environment that lacks what Transformers doesn't bring."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", HIDING, str(FOLDER / "check.py"), "--tiny", "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert set(found["machine"]["stand_ins"]) == {"wrapt", "psutil", "iso639", "sentencepiece"}
    statuses = {
        (part, name): check["status"] for part, checks in found["parts"].items() for name, check in checks.items()
    }
    assert {key for key, status in statuses.items() if status == "skipped"} == {
        ("training", name) for name in ("DeepSpeed, ZeRO-2", "DeepSpeed, ZeRO-3", "resume")
    }
    passed = {name for (part, name), status in statuses.items() if status == "passed"}
    assert {*names("correctness")[:-1], "ddp, 1 process", "fsdp2, 1 process", "job A", "loss, full size"} <= passed
    assert "| correctness | mapping | passed |" in (tmp_path / "gpu.md").read_text()


@pytest.mark.skipif(not simulated_device.AVAILABLE, reason="PyTorch's backends in Python came with 2.10")
def test_paths_on_a_simulated_device():
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    code = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = fresh_process.run(code, *options, FOLDER / "simulated.py", cwd=REPOSITORY)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-6000:] + done.stderr[-1000:]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_what_it_does_not_know_is_refused(tmp_path, capsys):
    assert check.main(["-o", str(tmp_path)]) == 0
    assert "There is no GPU that torch can use: nothing was checked." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        check.main(["nothing"])
    assert "no part nothing; choose from correctness, training, job-A" in capsys.readouterr().err
    # The names that the tests above have are those of the script.
    for part in ("correctness", "training"):
        assert list(check.checks_of(part, False)) == names(part)
