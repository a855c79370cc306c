"""A few of the kills of kills.py (`make kills` does hundreds)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY


COMMANDS = ("tokenizer train", "vectors convert")


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_nothing_is_lost_when_commands_are_killed(tmp_path):
    file = tmp_path / "kills.json"
    script = [sys.executable, Path(__file__).with_name("kills.py"), "--kills", "18", "--json", file]
    chosen = [part for command in COMMANDS for part in ("--command", command)]
    subprocess.run(
        [*map(str, script), "--imports", "0", *chosen],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        timeout=600,
    )
    result = json.loads(file.read_text())
    assert sum(result["counts"].values()) == 18 and sum("done" not in kind for kind in result["counts"]) >= 3
    assert result["faults"] == []
