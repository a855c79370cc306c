"""A user who isn't root, without a home that can be written, in a read-only folder, with a read-only checkout."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY


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
    code = "import sys, os, torch; print(os.access(sys.argv[1], os.W_OK))"
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
    code = "import sys; from pathlib import Path; from kills import make_inputs; make_inputs(Path(sys.argv[1]), True)"
    paths = os.pathsep.join([str(REPOSITORY / "tests" / "faults"), str(REPOSITORY / "tests"), str(REPOSITORY)])
    made = run_as(None, "-c", code, folder / "inputs", env={**os.environ, "PYTHONPATH": paths})
    assert made.returncode == 0, made.stderr
    checkout = folder / "checkout"
    passed_over = shutil.ignore_patterns("__pycache__", "goldens", "transformers_suite")
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
    done = run_as(
        drop, place / "checkout" / "tests" / "faults" / "unprivileged.py", place / "inputs", tmp_path / "outputs",
        cwd=tmp_path / "here", env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for name, (code, said) in found.items():
        assert "Traceback" not in said, (name, said)
        if name.endswith(", here"):
            errors = [line for line in said.splitlines() if line.startswith("Error: ")]
            assert code == 1 and len(errors) == 1 and "is read-only for you" in errors[0], (name, said)
        elif name == "pretrain" and home == "read-only":
            assert code == 1 and "The cache of encoded text" in said and "set HF_HOME" in said, said
        else:
            assert code == 0, (name, said)
            made = tmp_path / "outputs" / name.replace(" ", "-")
            assert name in ("report", "vectors info") or any(made.iterdir()), name
    assert os.listdir(tmp_path / "here") == os.listdir(tmp_path / "home") == []
    changed = [path for path in Path(place).rglob("*") if path.stat().st_mode & 0o222]
    assert changed == []  # nothing was written beside the inputs, nor into the checkout
