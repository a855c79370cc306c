"""Outputs: what stands in their way is found first, they appear whole or not at all, and one process writes at a time."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from safetensors.numpy import save_file

from ofa_transformers.utils import replacing
from ofa_transformers.utils.files import check_output_folder, new_file, new_folder, reserved
from ofa_transformers.utils.locks import Busy, locked
from ofa_transformers.utils.replacing import NEW, OLD, beside
from ofa_transformers.utils.targets import check_output_file, check_replaceable, check_target, check_workspace


def in_another_process(code: str, *arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys\n{code}", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


HOLD = """
from ofa_transformers.utils.locks import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def write(path: Path, content: str, overwrite: bool = False) -> None:
    with new_folder(path, overwrite) as folder:
        (folder / "content").write_text(content)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("", ValueError, "the folder that the command runs in"),
        (".", ValueError, "the folder that the command runs in"),
        ("..", ValueError, "a folder above the working folder"),
        ("file/out", NotADirectoryError, "file is a file, not a folder"),
        ("file", FileExistsError, "file is a file; name a folder"),
        ("nowhere", FileExistsError, "nowhere is a link to nothing"),
        ("n" * 256, ValueError, "at most 255 bytes"),
        ("new/" + "ü" * 128, ValueError, "at most 255 bytes"),
        (os.fsdecode(b"\xff"), ValueError, r"output \\xff has a name that is not UTF-8"),
    ],
)
def test_what_cannot_be_written_is_found_first(name, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to("missing")
    for overwrite in (False, True):
        with pytest.raises(error, match=message):
            check_output_folder(name, overwrite)
    if not set(name) <= {"."}:  # a run may write into the working folder
        with pytest.raises(error, match=message):
            check_workspace(name)
    assert sorted(os.listdir()) == ["file", "nowhere"]


def test_too_little_room_is_found_first(tmp_path):
    with pytest.raises(OSError, match=r"about 1,024.0 GiB are needed, but the disk has .* free") as caught:
        check_target(tmp_path / "out", needed=1 << 40)
    assert caught.value.errno == errno.ENOSPC


def test_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="create it first"):
        check_output_file(tmp_path / "none" / "file")
    with pytest.raises(IsADirectoryError, match="name a file"):
        check_output_file(tmp_path)
    (tmp_path / "link").symlink_to("file")
    with new_file(tmp_path / "link") as file:
        file.write_text("one")
    assert (tmp_path / "file").read_text() == "one" and (tmp_path / "link").is_symlink()
    with new_file("/dev/null") as file:
        file.write_text("gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_an_input_in_the_output_is_never_replaced(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    check_replaceable(tmp_path / "a" / "b", [tmp_path / "a", "user/name"])
    for output in ("a", "link"):
        with pytest.raises(ValueError, match="would be lost"):
            check_replaceable(tmp_path / output, [tmp_path / "a" / "b"])
    with pytest.raises(ValueError, match="is also read"):
        check_replaceable(tmp_path / "a", [tmp_path / "link"])


def test_one_process_writes_at_a_time(tmp_path):
    other = in_another_process(HOLD, tmp_path / "out")
    assert other.stdout.readline() == "held\n"
    for path in (tmp_path / "out", tmp_path / "x" / ".." / "out"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(Busy, match="is being written by another process"):
            write(path, "mine")
    write(tmp_path / "other", "mine")
    other.communicate("\n")
    assert other.returncode == 0
    write(tmp_path / "out", "mine")
    assert sorted(os.listdir(tmp_path)) == ["other", "out", "x"]


def test_a_lock_ends_with_its_process(tmp_path):
    other = in_another_process(HOLD, tmp_path / "out")
    assert other.stdout.readline() == "held\n"
    other.kill()
    other.communicate()
    assert os.listdir(tmp_path) == [".out.lock"]
    with locked(tmp_path / "out"), locked(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path) == []


def test_what_others_put_there_meanwhile_stays(tmp_path):
    said = f"meanwhile; what was made here is in {tmp_path / 'out-2'}"
    with pytest.raises(FileExistsError, match=said), new_folder(tmp_path / "out") as folder:
        (folder / "content").write_text("mine")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs").touch()
    assert os.listdir(tmp_path / "out") == ["theirs"] and os.listdir(tmp_path / "out-2") == ["content"]


@pytest.fixture(params=["exchange", "two renames"])
def exchange(request, monkeypatch):
    if request.param == "exchange":
        if replacing._exchange_of_the_system() is None:
            pytest.skip("this system can't exchange names")
    else:
        monkeypatch.setattr(replacing, "_exchange_of_the_system", lambda: None)
    return request.param


def test_replacing(exchange, tmp_path):
    write(tmp_path / "out", "old")
    write(tmp_path / "out", "new", overwrite=True)
    (tmp_path / "link").symlink_to("out")
    write(tmp_path / "link", "newer", overwrite=True)
    assert (tmp_path / "out" / "content").read_text() == "new"
    assert (tmp_path / "link" / "content").read_text() == "newer" and not (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError, MemoryError])
@pytest.mark.parametrize("moved", [0, 1, 2])
def test_whatever_interrupts_the_renames_nothing_is_lost(error, moved, tmp_path, monkeypatch):
    monkeypatch.setattr(replacing, "_exchange_of_the_system", lambda: None)
    write(tmp_path / "out", "old")
    rename, done = os.rename, []

    def interrupted(source, target):
        if len(done) == moved:
            done.append("interrupted")
            raise error("now")
        rename(source, target)
        done.append(target)

    monkeypatch.setattr(os, "rename", interrupted)
    if moved == 2:
        write(tmp_path / "out", "new", overwrite=True)
    else:
        with pytest.raises(error, match="now"):
            write(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / "content").read_text() == ("new" if moved == 2 else "old")
    assert os.listdir(tmp_path) == ["out"]


def test_what_killed_runs_left_is_restored_and_removed(tmp_path):
    target = tmp_path / "out"
    for kind in (NEW, OLD):
        path = beside(target, kind)
        path.mkdir()
        (path / "content").write_text(kind)
    others = [".out.new.notes", ".outer.new.0123abcd"]
    for name in others:
        (tmp_path / name).mkdir()
    with pytest.raises(FileExistsError, match="exists and is not empty"), new_folder(target):
        pass
    assert (target / "content").read_text() == OLD
    assert sorted(os.listdir(tmp_path)) == sorted(["out", *others])
    write(target, "newest", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == sorted(["out", *others])


def test_folders_made_for_an_output_go_with_it(tmp_path):
    with pytest.raises(RuntimeError), reserved(tmp_path / "a" / "b" / "out"):
        assert (tmp_path / "a" / "b").is_dir()
        raise RuntimeError
    assert os.listdir(tmp_path) == []
    write(tmp_path / "a" / "b" / "out", "new")
    assert os.listdir(tmp_path / "a" / "b") == ["out"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002, 0o027])
def test_permissions_follow_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        with new_folder(tmp_path / "out") as folder:
            save_file({"x": np.ones(3)}, folder / "weights.safetensors")
            (folder / "inner").mkdir(mode=0o700)
            (folder / "inner" / "text").touch(mode=0o600)
            with new_file(folder / "report") as file:
                file.write_text("x")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "out", *tmp_path.rglob("out/**/*")]}
    assert modes == {
        **dict.fromkeys(["out", "inner"], 0o777 & ~umask),
        **dict.fromkeys(["weights.safetensors", "text", "report"], 0o666 & ~umask),
    }


FULL = """
import numpy, resource, signal
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models
from ofa_transformers.utils.files import new_folder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
writers = {
    "safetensors": lambda folder: save_file({"x": numpy.ones(4096)}, folder / "x"),
    "numpy": lambda folder: numpy.ones(4096).tofile(folder / "x"),
    "tokenizers": lambda folder: Tokenizer(models.WordLevel({str(i): i for i in range(4096)}, "0")).save(str(folder / "x")),
    "python": lambda folder: (folder / "x").write_text("x" * 9999),
}
for name, writer in writers.items():
    try:
        with new_folder(sys.argv[1], overwrite=True) as folder:
            writer(folder)
    except OSError as error:
        print(name, error)
"""


def test_a_file_that_cannot_grow_is_one_plain_error_whoever_writes(tmp_path):
    write(tmp_path / "out", "old")
    said, errors = in_another_process(FULL, tmp_path / "out").communicate(timeout=120)
    lines = said.splitlines()
    assert [line.split()[0] for line in lines] == ["safetensors", "numpy", "tokenizers", "python"], errors
    for line in lines:
        assert f"{tmp_path / 'out'} could not be written: " in line and "What was there before is as it was" in line
    assert os.listdir(tmp_path) == ["out"] and (tmp_path / "out" / "content").read_text() == "old"


def test_one_in_the_other_is_written_once(tmp_path):
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out") as outer:
        with new_folder(outer) as inner:
            assert inner == outer and len(os.listdir(tmp_path)) == 2  # and the lock
        raise RuntimeError
    assert os.listdir(tmp_path) == []
