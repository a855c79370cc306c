"""Runs commands as a user who may write little: in a working folder that is read-only, with a home that is none.

    python tests/faults/unprivileged.py INPUTS OUTPUTS

Prints for each command its exit code and what it said, as JSON. Started by test_permissions.py.
"""

import json
import os
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent))

from kills import Forks, commands


def main() -> None:
    inputs, outputs = map(Path, sys.argv[1:])
    forks, found = Forks(models=True), {}
    lines = {name: [*line, "-o", str(outputs / name.replace(" ", "-"))] for name, line in commands(inputs).items()}
    lines["report"] = ["report", str(outputs / "adapt"), "--no-open"]
    lines["vectors info"] = ["vectors", "info", str(inputs / "vectors")]
    # In the working folder, which is read-only.
    lines |= {
        f"{name}, here": [*lines[name][:-1], name.replace(" ", "-")]
        for name in ("vectors convert", "tokenizer train", "pretrain")
    }
    lines["vectors info, here"] = [*lines["vectors info"], "--json", "info.json"]
    for name, line in lines.items():
        log = outputs / "log"
        code = forks.wait(forks.start(line, log))
        found[name] = [code, log.read_text(errors="replace")]
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
