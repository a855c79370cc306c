"""Fetch Transformers' own tests, or its example scripts, in the installed version.

    python tests/transformers_suite/fetch.py FOLDER
    python tests/transformers_suite/fetch.py --examples FOLDER

The first downloads the source distribution through pip and unpacks its `tests` folder to FOLDER/tests. The example
scripts are not in it: the second takes `examples/pytorch` of Transformers' repository to FOLDER, and needs git. Nothing
of either is part of this repository.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path


REPOSITORY = "https://github.com/huggingface/transformers"


def fetch(folder: Path) -> Path:
    """Unpack the tests of the installed Transformers below `folder` and return where they lie.

    Raises:
        RuntimeError: if pip cannot deliver the source distribution of that version.
    """
    wanted = version("transformers")
    tests, stamp = folder / "tests", folder / "version.txt"
    if tests.is_dir() and stamp.is_file() and stamp.read_text() == wanted:
        stamp.touch()  # for make
        return tests
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch]
        command += ["--no-binary", "transformers", f"transformers=={wanted}"]
        done = subprocess.run(command, capture_output=True, text=True)
        archives = list(Path(scratch).glob("transformers-*.tar.gz"))
        if done.returncode or not archives:
            raise RuntimeError(f"pip could not download the source of transformers {wanted}:\n{done.stderr.strip()}")
        prefix = f"transformers-{wanted}/tests/"
        with tarfile.open(archives[0]) as archive:
            members = [member for member in archive.getmembers() if member.name.startswith(prefix) and member.isfile()]
            for member in members:
                target = Path(scratch, "tests", member.name.removeprefix(prefix))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.extractfile(member).read())
        if tests.exists():
            tests.rename(Path(scratch, "previous"))
        Path(scratch, "tests").rename(tests)
    stamp.write_text(wanted)
    return tests


def fetch_examples(folder: Path) -> Path:
    """Put the example scripts of the installed Transformers into `folder`, in place of what is there, and return it.

    Raises:
        RuntimeError: if git cannot deliver them.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        clone = ["git", "clone", "--quiet", "--depth", "1", "--filter", "blob:none", "--sparse"]
        clone += ["--branch", f"v{version('transformers')}", REPOSITORY, scratch]
        for command in (clone, ["git", "-C", scratch, "sparse-checkout", "set", "examples/pytorch"]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"git could not fetch Transformers' examples:\n{done.stderr.strip()}")
        shutil.rmtree(folder, ignore_errors=True)
        Path(scratch, "examples", "pytorch").rename(folder)
    return folder


if __name__ == "__main__":
    examples = sys.argv[1:2] == ["--examples"]
    if len(sys.argv) != (3 if examples else 2):
        sys.exit(__doc__)
    try:
        if examples:
            print(f"Transformers' example scripts are in {fetch_examples(Path(sys.argv[2]))}")
        else:
            print(f"Transformers' own tests are in {fetch(Path(sys.argv[1]))}")
    except RuntimeError as error:
        # The suite then skips and says so; the other tests do not need it.
        print(error, file=sys.stderr)
