"""A few hundred of the damaged files of fuzz.py for each reader, and some for each command (`make fuzz` does thousands)."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from faults.subjects import SUBJECTS


pytest.importorskip("zstandard")
pytest.importorskip("datasets")


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and measures memory as Linux tells it")
def test_damaged_files_are_read_or_named_and_nothing_else_changes(tmp_path):
    file = tmp_path / "accounts.json"
    script = [sys.executable, Path(__file__).with_name("fuzz.py"), "--cases", "80", "--commands", "2", "--json", file]
    # Of the environment nothing that another test may have set.
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    done = subprocess.run(list(map(str, script)), capture_output=True, text=True, timeout=600, env=environment)
    wrong = "\n".join(line for line in done.stdout.splitlines() if " 0 faults" not in line)
    assert done.returncode == 0, wrong[-6000:] + done.stderr[-3000:]
    accounts = json.loads(file.read_text())
    read = {account["subject"] for account in accounts}
    missing = [subject.name for subject in SUBJECTS if subject.name not in read]
    assert missing == [] or (missing == ["vectors fasttext.bin"] and find_spec("gensim") is None)
    assert sum(account["cases"] for account in accounts) > 1500
    # Damage that nobody notices would be none: of each reader's files some are refused.
    assert [account["subject"] for account in accounts if account["cases"] > 20 and not account["refused"]] == []
