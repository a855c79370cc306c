"""Runs Transformers' example scripts in forked processes in which `ofa_transformers` cannot be imported.

    python example_runs.py RUNS.json

Transformers, datasets and evaluate are imported once, and each run forks from there, in a folder that holds the metrics
which the scripts ask `evaluate` for. RUNS.json is a list of runs, done one after the other:
    script     path of the script, run as it is
    arguments  of the script
The exit codes are written as a list to RUNS.json.codes, and the output of each run to RUNS.json.log.
"""

import json
import os
import runpy
import sys
import traceback
from pathlib import Path


sys.modules["ofa_transformers"] = None  # as where the package is not installed: importing it is an error

import datasets  # noqa: E402, F401
import evaluate  # noqa: E402, F401
import torch  # noqa: E402
from accelerate import DistributedType  # noqa: E402
from transformers import (  # noqa: E402, F401
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    Trainer,
)


if not hasattr(DistributedType, "TPU"):
    DistributedType.TPU = (
        DistributedType.XLA
    )  # the language-modelling scripts compare with a name that accelerate dropped


def child(script: Path, arguments: list[str], log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    print(f"===== {script.name} {' '.join(arguments)}", flush=True)
    torch.set_num_threads(1)
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))  # as python does; some scripts import a file beside them
    code = 0
    try:
        runpy.run_path(str(script), run_name="__main__")
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    file = Path(sys.argv[1])
    codes = []
    for run in json.loads(file.read_text()):
        pid = os.fork()
        if pid == 0:
            child(Path(run["script"]), run["arguments"], file.with_suffix(".json.log"))
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    file.with_suffix(".json.codes").write_text(json.dumps(codes))


if __name__ == "__main__":
    main()
