"""The GPU check: that the package computes on a GPU what it computes on the CPU, and how fast.

    PYTHONPATH=. python tests/gpu/check.py                       # everything, one part after the other
    PYTHONPATH=. python tests/gpu/check.py correctness step      # these parts
    PYTHONPATH=. python tests/gpu/check.py --tiny                # a tiny version on the CPU, in seconds

It needs the files of the clone and an environment that has torch, transformers, scipy and pyarrow; nothing is fetched. What
else is missing it takes from a folder of wheels (`--wheels`), or does without, and says so. A part takes at most 8 minutes,
and parts may be started one by one: the results of all of them come together in FOLDER/gpu.json, and as tables in
FOLDER/gpu.md.

    correctness     neighbours, factors, mapping, every family of models, the loss: on the GPU as on the CPU; float32, bfloat16
                    and float16; TF32 allowed and not; torch.compile
    training        DDP and FSDP2 with one process and two, DeepSpeed where it is installed, resuming bit for bit
    job-A ... -M    the initialisation at the sizes of examples/benchmarks/initialization.py; needs shared/data
    step            a training step at 401,000 tokens, factorized beside dense, 32 x 512 tokens
    step-largest    the same, each at the largest batch that fits
    loss            the blocked loss beside plain logits, cut-cross-entropy and Liger
    replication     examples/replication with 3,000 steps, cell by cell, from a source of XLM-R base's shape that is
                    trained first, and from --minilm; needs shared/data; call it again until it is done

Without a GPU it says so and ends; `--tiny` runs there. The exit code is 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [path for path in (str(HERE.parent), str(REPOSITORY)) if path not in sys.path]

from gpu import environment  # noqa: E402


NAMES = ("correctness", "training", "job-A", "job-B", "job-C", "job-M", "step", "step-largest", "loss", "replication")


def checks_of(part: str, tiny: bool) -> dict[str, Callable[[Any], dict[str, Any]]]:
    """What a part consists of: functions of `figures.Place`."""
    from gpu import correctness, distributed, figures

    if part in figures.PARTS:
        return figures.PARTS[part]
    if part == "correctness":
        chosen = {name: f for name, f in correctness.CHECKS.items() if name != "resume"}
        if tiny:  # tests/integration compiles
            chosen = {name: correctness.TINY.get(name, f) for name, f in chosen.items() if name != "compiled"}
    else:
        chosen = {**distributed.CHECKS, "resume": correctness.CHECKS["resume"]}
        if tiny:  # tests/training starts several processes
            chosen = {name: f for name, f in chosen.items() if "2 processes" not in name}
    return {name: lambda place, f=f: f(place.device) for name, f in chosen.items()}


def run_part(part: str, place: Any) -> dict[str, Any]:
    """Name of a check -> status (passed, failed, skipped), seconds, and what it returned, or why it didn't."""
    import torch

    from gpu.correctness import NotHere

    results: dict[str, Any] = {}
    for name, function in checks_of(part, place.tiny).items():
        start = time.monotonic()
        try:
            if place.left() < 0:
                raise NotHere("the time of the part was up; start it again")
            results[name] = {"status": "passed", "result": function(place)}
        except NotHere as reason:
            results[name] = {"status": "skipped", "reason": str(reason)}
        except Exception as error:
            traceback.print_exc()
            results[name] = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
        results[name]["seconds"] = round(time.monotonic() - start, 2)
        if place.device == "cuda":
            torch.cuda.empty_cache()
        reason = f": {results[name]['reason']}" if "reason" in results[name] else ""
        print(f"{part}: {name}: {results[name]['status']} in {results[name]['seconds']} s{reason}", flush=True)
    return results


def as_markdown(found: dict[str, Any]) -> str:
    """The results as tables."""
    machine = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    lines = [f"{', '.join(machine['cards']) or machine['device']}; Python {machine['python']}, {versions}.", ""]
    if machine["stand_ins"]:
        lines += [f"Stand-ins for {', '.join(machine['stand_ins'])}.", ""]
    lines += ["| part | check | | seconds | |", "| --- | --- | --- | ---: | --- |"]
    for part, checks in found["parts"].items():
        for name, check in checks.items():
            note = check.get("reason") or _in_short(check["result"])
            note = " ".join(note.split()).replace("|", "\\|")[:300]
            lines.append(f"| {part} | {name} | {check['status']} | {check['seconds']:.1f} | {note} |")
    for part, checks in found["parts"].items():
        for name, check in checks.items():
            rows = check.get("result") or {}
            if not all(isinstance(row, dict) for row in rows.values()) or part not in ("step", "step-largest", "loss"):
                continue
            columns = list(dict.fromkeys(key for row in rows.values() for key in row if key != "variant"))
            lines += ["", f"{part}, {name}", "", f"| | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
            for row_name, row in rows.items():
                lines.append(f"| {row_name} | {' | '.join(_number(row.get(column)) for column in columns)} |")
    return "\n".join(lines) + "\n"


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"


def _in_short(result: dict[str, Any]) -> str:
    plain = {name: value for name, value in result.items() if not isinstance(value, dict)}
    return ", ".join(
        f"{name.replace('_', ' ')} {_number(value) if isinstance(value, (int, float)) else value}"
        for name, value in plain.items()
        if value is not None
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu_check"), help="folder (default: %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, in seconds; on the CPU where there is no GPU")
    parser.add_argument("--wheels", type=Path, help="folder of wheels, for what is missing")
    parser.add_argument("--data", type=Path, help="the folder shared/data (default: that beside the clone)")
    parser.add_argument("--minilm", type=Path, help="folder with all-MiniLM-L6-v2, for more of the replication")
    parser.add_argument("--minutes", type=float, default=8, help="that a part may take (default: %(default)g)")
    args = parser.parse_args(arguments)
    if unknown := [part for part in args.parts if part not in NAMES]:
        parser.error(f"no part {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    args.output.mkdir(parents=True, exist_ok=True)
    added = environment.complete(args.output.resolve() / "installed", args.wheels)
    if lacking := environment.missing(environment.NEEDED):
        print(f"Missing: {', '.join(lacking)}. Give a folder of their wheels with --wheels.")
        return 1
    import torch

    on_gpu = torch.cuda.is_available()
    if not on_gpu and not args.tiny:
        print("There is no GPU that torch can use: nothing was checked. A tiny version runs on the CPU: --tiny.")
        return 0
    if added["stand_ins"]:
        print(f"Missing, with stand-ins in their place: {', '.join(added['stand_ins'])}.")
    from gpu import figures

    parts = args.parts or [name for name in NAMES if not args.tiny or name not in figures.PARTS]
    if args.tiny and not args.parts:
        parts += figures.TINY_PARTS
    device = "cuda" if on_gpu else "cpu"
    data = args.data or next(
        (p for p in [REPOSITORY.parent / "shared" / "data", REPOSITORY / "shared" / "data"] if p.is_dir()), None
    )
    path = args.output / "gpu.json"
    found: dict[str, Any] = {"machine": {**environment.describe(device), **added}, "parts": {}}
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["machine"]["cards"] == found["machine"]["cards"]:
            found["parts"] = before["parts"]
    for part in parts:
        end = time.monotonic() + 60 * args.minutes
        place = figures.Place(device, args.tiny, args.output.resolve(), data, args.minilm, end)
        found["parts"][part] = run_part(part, place)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (args.output / "gpu.md").write_text(as_markdown(found), encoding="utf-8")
    print(f"\n{as_markdown(found)}")
    return int(any(check["status"] == "failed" for part in parts for check in found["parts"][part].values()))


if __name__ == "__main__":
    sys.exit(main())
