"""What the device costs and gains: the benchmarks of examples/, called with sizes for a GPU, or tiny ones."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from gpu.correctness import SEED_MODEL, NotHere, adaptation


REPOSITORY = Path(__file__).resolve().parents[2]
BENCHMARKS = REPOSITORY / "examples" / "benchmarks"
REPLICATION = REPOSITORY / "examples" / "replication"
# bfloat16 without sparsity, as data sheets have it, in 10^12 operations a second.
PEAKS = {"H100": 989, "H200": 989, "A100": 312, "L40S": 362, "L4": 121, "4090": 165, "3090": 71}


@dataclass
class Place:
    """Where and how to measure.

    Attributes:
        device: "cuda" or "cpu".
        tiny: in this process, with sizes that take a second.
        folder: for inputs and results, which are kept.
        data: the folder `data` of `shared`, or None.
        minilm: folder of all-MiniLM-L6-v2, or None.
        end: when the part must be done, by `time.monotonic`.
    """

    device: str
    tiny: bool
    folder: Path
    data: Path | None
    minilm: Path | None
    end: float

    def left(self) -> float:
        return self.end - time.monotonic()


def script(folder: Path, name: str) -> ModuleType:
    """A script of examples/ as a module."""
    spec = importlib.util.spec_from_file_location(f"gpu_check_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(place: Place, path: Path, *arguments: object) -> None:
    """Runs a script; raises NotHere where time is up, and RuntimeError with its last words where it fails."""
    command = [sys.executable, str(path), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(1, place.left()), env=environment)
    except subprocess.TimeoutExpired as error:
        raise NotHere("the time of the part was up; start it again, what it has made is kept") from error
    if done.returncode:
        raise RuntimeError(f"{path.name} failed: {done.stderr.strip()[-1500:]}")


def job(place: Place, name: str) -> dict[str, Any]:
    """A job of examples/benchmarks/initialization.py: seconds and peak memory, on the device."""
    if place.tiny:
        with tempfile.TemporaryDirectory() as folder:
            inputs = adaptation()
            inputs["target_tokenizer"].save_pretrained(f"{folder}/target")
            inputs["word_vectors"].save(f"{folder}/words")
            spec = {"source": str(SEED_MODEL), "target": f"{folder}/target", "words": f"{folder}/words", "sizes": [16]}
            result = script(BENCHMARKS, "initialization").run_child({**spec, "rates_side": 64, "device": place.device})
    else:
        if place.data is None:
            raise NotHere("needs the folder shared/data beside the clone, or --data")
        output = place.folder / f"job-{name}.json"
        arguments = ["--text", place.data / "bible", "--tokenizer", _xlm_r(place)]
        arguments += ["--dictionary", place.data / "dictionaries" / "wechsel_wiktionary_eng.tsv.gz"]
        arguments += ["--folder", place.folder / "inputs", "--threads", min(8, os.cpu_count() or 1)]
        run(place, BENCHMARKS / "initialization.py", name, *arguments, "--device", place.device, "--json", output)
        result = json.loads(output.read_text(encoding="utf-8"))
    phases = {name: round(row["seconds"], 2) for name, row in result["phases"].items() if row["seconds"] > 0.05}
    names = ("seconds", "peak_mebibytes", "peak_beyond_model_mebibytes", "gpu_peak_mebibytes")
    return {key: result[key] and round(result[key], 1) for key in names} | {"phases": phases}


def _xlm_r(place: Place) -> Path:
    """XLM-R's tokenizer, unpacked."""
    import gzip

    folder = place.folder / "xlm-r"
    if not (folder / "tokenizer.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for path in (place.data / "tokenizers" / "xlm-r").iterdir():
            content = path.read_bytes()
            (folder / path.name.removesuffix(".gz")).write_bytes(
                gzip.decompress(content) if path.suffix == ".gz" else content
            )
    return folder


def step(place: Place, batch_size: int) -> dict[str, Any]:
    """A training step of XLM-R base's shape at 401,000 tokens, factorized beside dense; 0 is the largest batch that fits."""
    arms = ["dense", "100", "200", "400"]
    if place.tiny:
        module = script(BENCHMARKS, "model")
        sizes = {"vocab_size": 500, "hidden_size": 64, "layers": 1, "batch_size": 2, "length": 16, "labelled": 0.25}
        settings = {"device": place.device, "precision": "bf16", "iterations": 1, "profile": False, "side": 64}
        args = Namespace(**sizes, **settings)
        results = {"machine": module.measure_machine(args, "machine")}
        results |= {arm: module.measure_step(args, arm) for arm in ("dense", "16")}
        for result in (results["dense"], results["16"]):
            result["tokens_per_second"] = result["tokens"] / result["phases"]["step"][0]
            result["share_of_peak"] = result["operations"]["step"] / result["phases"]["step"][0]
            result["share_of_peak"] /= results["machine"]["operations"]
    else:
        if place.device != "cuda":
            raise NotHere("needs a GPU")
        output = place.folder / f"step-{batch_size}.json"
        card = torch.cuda.get_device_name()
        peak = next((["--peak-tflops", value] for name, value in PEAKS.items() if name in card), [])
        arguments = ["step", "--device", "cuda", "--precision", "bf16", "--batch-size", batch_size, "--length", 512]
        arguments += ["--arms", *arms, "--rounds", 1, "--iterations", 5, *peak, "--json", output]
        run(place, BENCHMARKS / "model.py", *arguments)
        results = json.loads(output.read_text(encoding="utf-8"))
    dense = results["dense"]
    return {
        arm: {
            "batch_size": result["batch_size"],
            "tokens_per_second": round(result["tokens_per_second"]),
            "of_dense": round(result["tokens_per_second"] / dense["tokens_per_second"], 3),
            "share_of_peak": round(result["share_of_peak"], 4),
            "mebibytes": round(result["memory"] / 2**20),
            "memory_of_dense": round(result["memory"] / dense["memory"], 3),
        }
        for arm, result in results.items()
        if arm not in ("settings", "machine")
    }


def loss(place: Place, embedding_size: int | None) -> dict[str, Any]:
    """The blocked loss beside plain logits and, where they are installed, cut-cross-entropy and Liger."""
    module = script(BENCHMARKS, "blocked_loss")
    if place.tiny:
        sizes = {"vocab_size": 600, "positions": 20, "hidden_size": 32, "embedding_size": embedding_size and 8}
        args = Namespace(**sizes, device=place.device, precision="fp32", repeats=1)
        with tempfile.TemporaryDirectory() as folder:
            results = {name: module.measure(name, args, f"{folder}/{name}") for name in ("plain", "blocked")}
            results["plain"]["mebibytes"] = max(results["plain"]["mebibytes"], 1e-3)
            module.compare(results, folder)
        assert results["blocked"]["relative_error_of_gradients"] < 1e-5
        return results
    if place.device != "cuda":
        raise NotHere("needs a GPU")
    there = [name for name, needed in module.VARIANTS.items() if needed is None or importlib.util.find_spec(needed)]
    output = place.folder / f"loss-{embedding_size or 'full'}.json"
    arguments = ["--vocab-size", 401_000, "--positions", 4096, "--device", "cuda", "--precision", "bf16"]
    arguments += ["--embedding-size", embedding_size] if embedding_size else []
    run(place, BENCHMARKS / "blocked_loss.py", *arguments, "--variants", *there, "--json", output)
    return json.loads(output.read_text(encoding="utf-8"))


# Random rows, FVT, as published and by default, at full size and factorized.
_CELLS = [
    "random-c",
    "fvt-c",
    "ofa",
    "ofa-200",
    "offset0.2-c",
    "offset0.2-c-100",
    "offset0.2-c-200",
    "offset0.2-c-400",
    "fvt-c-pairs-2e-4",
    "offset0.4-c-pairs-2e-4",
]


def replication(place: Place) -> dict[str, Any]:
    """The replication of examples/ with 25 times the steps, from a source of XLM-R base's shape, and from MiniLM where it
    is given: as much of it as there is time for, kept for the next call."""
    if place.tiny:
        raise NotHere("tests/examples runs it tiny")
    if place.device != "cuda":
        raise NotHere("needs a GPU")
    if place.data is None:
        raise NotHere("needs shared/data beside the clone, or --data")
    output = place.folder / "replication"
    arguments = ["--bible", place.data / "bible", "--tatoeba", place.data / "tatoeba", "--sources", "base"]
    if place.minilm is not None:
        arguments += ["minilm", "--minilm", place.minilm]
    arguments += ["--steps", 3000, "--initializations", *_CELLS, "--device", "cuda", "-o", output]
    unfinished = None
    try:
        run(place, REPLICATION / "run.py", *arguments)
    except NotHere as error:
        unfinished = error
    losses = {}
    for path in sorted((output / "cells").glob("*.json")):
        last = list(json.loads(path.read_text(encoding="utf-8"))["loss"].values())[-1]
        losses[path.stem] = round(sum(last.values()) / len(last), 4)
    if not losses and unfinished is not None:
        raise unfinished
    all_cells = 3 * len(_CELLS) * (1 if place.minilm is None else 2)
    return {"cells": f"{len(losses)} of {all_cells}", "loss": losses}


PARTS: dict[str, dict[str, Callable[[Place], dict[str, Any]]]] = {
    **{f"job-{name}": {f"job {name}": lambda place, name=name: job(place, name)} for name in ("A", "B", "C", "M")},
    "step": {"training step, equal batch": lambda place: step(place, 32)},
    "step-largest": {"training step, largest batch": lambda place: step(place, 0)},
    "loss": {
        "loss, embedding_size 100": lambda place: loss(place, 100),
        "loss, full size": lambda place: loss(place, None),
    },
    "replication": {"replication": replication},
}
# Of parts that differ in their sizes alone, those that are run tiny.
TINY_PARTS = ("job-A", "step", "loss")
