"""Ctrl-C and SIGTERM stop a command at once, and leave nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fresh_process
import pytest
from conftest import REPOSITORY

from ofa_transformers.demo.data import DATA
from ofa_transformers.utils.files import new_file, new_folder, remove_unfinished


# Runs a command whose work is slow at one place, and says on stdout when it is there.
_SLOW = """
import hashlib, importlib, sys, time, weakref
from ofa_transformers.cli import main
place, wait, sys.argv = sys.argv[1], sys.argv[2], ["ofa", *sys.argv[3:]]
module, _, name = place.partition(":")
owner = importlib.import_module(module)
*owners, name = name.split(".")
for part in owners:
    owner = getattr(owner, part)
def slow(*arguments, **options):
    print("begun", flush=True)
    if wait == "deaf":  # as the training of tokenizers: compiled code that lets other threads run, but hears no signal
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
    if wait == "ignored":  # where Python can't raise
        weakref.ref(type("Gone", (), {})(), lambda _: time.sleep(60))
    time.sleep(60)
setattr(owner, name, slow)
main()
"""


def stop(folder: Path, place: str, wait: str, number: int, *arguments: object) -> tuple[int, str, float]:
    """Exit code, stderr and seconds of a command that gets a signal at a place."""
    process = fresh_process.start(_SLOW, place, wait, *arguments, output=folder / "said")
    said = [folder / "said.out", folder / "said.err"]
    while not (said[0].exists() and said[0].read_text() == "begun\n"):
        assert process.is_alive(), said[1].read_text()
        time.sleep(0.01)
    start = time.monotonic()
    os.kill(process.pid, number)
    process.join(50)  # it sleeps longer than that
    return process.exitcode, said[1].read_text(), time.monotonic() - start


# Sends itself a signal when a module is looked for, in the midst of the imports that lead there.
_IMPORTING = """
import os, sys
module, number = sys.argv.pop(1), int(sys.argv.pop(1))
class Finder:
    def find_spec(self, name, *_):
        if name == module:
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Finder())
sys.path.insert(0, "")
from ofa_command import main
main()
"""


@pytest.mark.parametrize(
    ("module", "number"),
    [
        ("ofa_transformers", signal.SIGTERM),
        ("wrapt.importer", signal.SIGINT),
        ("typer.core", signal.SIGTERM),
        ("transformers.utils", signal.SIGINT),
        ("torch.nn", signal.SIGTERM),
    ],
)
def test_while_modules_are_imported(module, number, tmp_path):
    output = tmp_path / "out"
    command = [sys.executable, "-c", _IMPORTING, module, int(number), "convert", "nothing", "-o", output]
    ended = subprocess.run(list(map(str, command)), cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (128 + number, "Stopped.\n")
    assert os.listdir(tmp_path) == []


def test_adapt_leaves_the_folder_as_it_was(inputs, tmp_path):
    output = tmp_path / "outputs" / "out"
    output.mkdir(parents=True)
    (output / "notes.txt").write_text("mine")
    code, error, seconds = stop(
        tmp_path,
        "ofa_transformers.initialization.saving:write_page",
        "sleep",
        signal.SIGINT,
        "adapt",
        *inputs,
        "-o",
        output,
        "--overwrite",
    )
    assert code == 130 and error.splitlines()[-1] == "Stopped." and "Traceback" not in error and seconds < 20
    assert [path.name for path in output.parent.iterdir()] == ["out"]
    assert (output / "notes.txt").read_text() == "mine"


def test_vectors_build_on_sigterm(tmp_path):
    (tmp_path / "out").mkdir()
    texts = [f"{name[:3]}={DATA / name}" for name in ("eng_Latn.tsv", "deu_Latn.tsv")]
    place = "ofa_transformers.vectors.word_vectors:write_folder"
    code, error, _ = stop(
        tmp_path, place, "sleep", signal.SIGTERM, "vectors", "build", *texts, "--dim", 5, "-o", tmp_path / "out" / "v"
    )
    assert (code, error.splitlines()[-1]) == (143, "Stopped.") and "Traceback" not in error
    assert list((tmp_path / "out").iterdir()) == []


def test_tokenizer_train_in_compiled_code(tmp_path):
    (tmp_path / "out").mkdir()
    code, error, seconds = stop(
        tmp_path, "ofa_transformers.tokenization:train_tokenizer", "deaf", signal.SIGINT,
        "tokenizer", "train", DATA / "deu_Latn.tsv", "-n", 500, "-o", tmp_path / "out" / "t",
    )  # fmt: skip
    assert (code, error) == (130, "Stopped.\n") and seconds < 20
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_where_python_ignores_exceptions(number, tmp_path):
    (tmp_path / "out").mkdir()
    code, error, seconds = stop(
        tmp_path, "ofa_transformers.vectors.word_vectors:write_folder", "ignored", number,
        "vectors", "build", f"eng={DATA / 'eng_Latn.tsv'}", f"deu={DATA / 'deu_Latn.tsv'}", "--dim", 5,
        "-o", tmp_path / "out" / "v",
    )  # fmt: skip
    assert code == 128 + number and seconds < 9  # after 10 the process ends itself
    assert error.splitlines()[-1] == "Stopped." and "ignored" not in error and "Traceback" not in error
    assert list((tmp_path / "out").iterdir()) == []


def test_pretrain_before_its_first_checkpoint(inputs, tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "deu.txt").write_text("das Haus am Fluss\n" * 20)
    code, error, seconds = stop(
        tmp_path, "ofa_transformers.training.trainer:PretrainingTrainer.compute_loss", "sleep", signal.SIGINT,
        "pretrain", inputs[0], tmp_path / "deu.txt", "-o", tmp_path / "out", "-n", 5, "--max-length", 16,
        "--cpu", "--streaming",
    )  # fmt: skip
    assert code == 130 and error.splitlines()[-1] == "Stopped." and "Traceback" not in error and seconds < 20
    assert not (tmp_path / "out").exists()


def test_what_is_being_written_can_be_removed(tmp_path):
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "a") as folder, new_file(tmp_path / "b") as file:
        (folder / "part").write_text("half")
        file.write_text("half")
        remove_unfinished()
        assert list(tmp_path.iterdir()) == []
