"""Start-up time: what importing the package adds, and how long `ofa --help` takes.

    python examples/benchmarks/startup.py --repeats 7

Each figure is the best of several fresh processes, which take turns; CPU time is user and system together. Compiled
files are there before the first is timed. Where time goes: python -X importtime -c "import ofa_transformers".
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path


ARMS = {
    "python": "pass",
    "import transformers": "import transformers",
    "import transformers, ofa_transformers": "import transformers, ofa_transformers",
    "import ofa_transformers": "import ofa_transformers",
    "ofa --help": "import sys; sys.argv = ['ofa', '--help']; from ofa_transformers.cli import main; main()",
    "ofa adapt --help": "import sys; sys.argv = ['ofa', 'adapt', '--help']; from ofa_transformers.cli import main; main()",
    "from transformers import AutoModel": "from transformers import AutoModel",
    "a stock model class": "from transformers import AutoModel, XLMRobertaForMaskedLM",
    "an Ofa model class": "from transformers import AutoModel; from ofa_transformers import OfaForMaskedLM",
    "an Ofa model class by its configuration": "import ofa_transformers; from transformers import AutoConfig, "
    "AutoModelForMaskedLM as A; A._model_mapping[type(AutoConfig.for_model('ofa'))]",
}


def measure(code: str) -> tuple[float, float]:
    """Seconds of wall time and of CPU time of a process that runs `code`."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="processes for each figure (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()

    best = {name: (float("inf"), float("inf")) for name in ARMS}
    for repeat in range(args.repeats + 1):
        for name, code in ARMS.items():
            timing = measure(code)
            if repeat:  # the first round writes compiled files and warms the disk cache
                best[name] = (min(best[name][0], timing[0]), min(best[name][1], timing[1]))
    print(f"{'':42}   wall      CPU")
    for name, (wall, cpu) in best.items():
        print(f"{name:42} {wall:5.2f} s  {cpu:5.2f} s")
    added = [
        best["import transformers, ofa_transformers"][column] - best["import transformers"][column]
        for column in (0, 1)
    ]
    print(f"{'ofa_transformers adds to transformers':42} {added[0]:5.2f} s  {added[1]:5.2f} s")
    if args.json:
        figures = {name: {"wall": wall, "cpu": cpu} for name, (wall, cpu) in best.items()}
        figures["added to transformers"] = {"wall": added[0], "cpu": added[1]}
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
