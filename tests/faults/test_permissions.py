"""What commands lack: a user who isn't root, with a home, a working folder and a checkout that can't be written; places
where no output can be; room on the disk.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from faults.kills import make_inputs


NOBODY = 65534
# Of Linux (prctl.h, securebits.h, capability.h).
_SET_SECUREBITS, _NO_ROOT, _CAPABILITIES = 28, 0b11, 0x20080522

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="drops the privileges of root, and this user isn't root"
)


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def lose_capabilities() -> None:
    """What lets root write where permissions don't; it stays the owner of its files."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    if libc.prctl(_SET_SECUREBITS, _NO_ROOT, 0, 0, 0) or libc.capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def run_as(drop, *arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], preexec_fn=drop, capture_output=True, text=True, timeout=300, **options
    )


@pytest.fixture(scope="module")
def drop(tmp_path_factory):
    """How to be somebody else: as nobody where nobody may run this Python, else as a root that may do no more than others."""
    closed = tmp_path_factory.mktemp("closed")
    closed.chmod(0o555)
    # Torch's folder is looked into, which tells as much as the import and takes less.
    code = (
        "import sys, os; from importlib.util import find_spec; "
        "print(os.access(sys.argv[1], os.W_OK) or not os.listdir(find_spec('torch').submodule_search_locations[0]))"
    )
    for way in (become_nobody, lose_capabilities):
        try:
            tried = run_as(way, "-c", code, closed, env={"PATH": os.environ["PATH"]})
        except (OSError, subprocess.SubprocessError):
            continue
        if tried.stdout == "False\n":
            return way
    pytest.skip("no way to drop privileges here and still run this Python")


@pytest.fixture(scope="module")
def place(drop, tmp_path_factory):
    """Inputs, and a checkout that nobody may write."""
    folder = tmp_path_factory.mktemp("permissions")
    for above in (folder, *folder.parents[:2]):  # pytest makes them for their owner only
        above.chmod(above.stat().st_mode | 0o055)
    (folder / "inputs").mkdir()
    make_inputs(folder / "inputs", models=True)
    checkout = folder / "checkout"
    passed_over = shutil.ignore_patterns("goldens", "transformers_suite")
    for name in ("ofa_transformers", "tests"):
        shutil.copytree(REPOSITORY / name, checkout / name, ignore=passed_over)
    shutil.copy(REPOSITORY / "ofa_command.py", checkout)
    for path in (*folder.rglob("*"), checkout):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


@pytest.mark.parametrize("home", [None, "read-only"])
def test_commands_work_or_say_what_they_lack(drop, place, tmp_path, home):
    for name in ("home", "here", "outputs"):
        (tmp_path / name).mkdir()
    for above in (tmp_path, tmp_path.parent):
        above.chmod(0o755)
    (tmp_path / "home").chmod(0o555)
    (tmp_path / "here").chmod(0o555)
    (tmp_path / "outputs").chmod(0o777)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(place / "checkout"), "OMP_NUM_THREADS": "1"}
    if home == "read-only":
        environment["HOME"] = str(tmp_path / "home")
    else:  # the home is then that of the password file; a cache elsewhere, as the message says, is enough
        environment["HF_HOME"] = str(tmp_path / "outputs" / "cache")
    kinds = ["rights"] if home == "read-only" else []
    done = run_as(
        drop, place / "checkout" / "tests" / "faults" / "lacking.py", place / "inputs", tmp_path / "outputs", *kinds,
        cwd=tmp_path / "here", env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for name, (code, said) in found["rights"].items():
        if name.endswith(", here"):
            assert "is read-only for you" in error_of(name, code, said)
        elif name == "pretrain" and home == "read-only":
            assert "The cache of encoded text" in said and "set HF_HOME" in error_of(name, code, said)
        else:
            assert code == 0 and "Traceback" not in said, (name, said)
            made = tmp_path / "outputs" / name.replace(" ", "-")
            assert name in ("report", "vectors info") or any(made.iterdir()), name
    if home is None:
        check_outputs_that_cannot_be(found, tmp_path / "outputs")
    assert os.listdir(tmp_path / "here") == os.listdir(tmp_path / "home") == []
    changed = [path for path in Path(place).rglob("*") if path.stat().st_mode & 0o222]
    assert changed == []  # nothing was written beside the inputs, nor into the checkout


def error_of(name: str, code: int, said: str) -> str:
    """The one line that a command ends with which can't work."""
    errors = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert code == 1 and len(errors) == 1 and "Traceback" not in said and "fault of ofa" not in said, (name, said)
    return errors[0]


def check_outputs_that_cannot_be(found: dict, outputs: Path) -> None:
    for name, (code, said) in found["places"].items():
        expected = {"file": "is a file", "file/out": "is a file, not a folder", "n" * 9: "too long a name"}
        assert expected[name.rpartition(" ")[2]] in error_of(name, code, said), (name, said)
    assert (outputs / "file").read_bytes() == b""
    # Before the work: where that begins, lacking.py has it fail.
    for name, (code, said) in found["room"].items():
        assert "are needed, but the disk has 100 bytes free; make room" in error_of(name, code, said), (name, said)
    assert not (outputs / "none").exists()
    for name, (code, said) in found["full"].items():
        assert "raise the limit on files (ulimit -f)" in error_of(name, code, said), (name, said)
        left = [path.name for path in (outputs / "full" / name.replace(" ", "-")).rglob("*")]
        assert left == (["out"] if name == "pretrain" else ["out", "mine.txt"]), name
