"""Fetch the tests that Transformers ships in its source distribution.

    python tests/transformers_suite/fetch.py FOLDER

downloads the source distribution of the installed Transformers version through pip and unpacks its `tests` folder to
FOLDER/tests. Nothing of it is part of this repository.
"""

import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path


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


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(f"Transformers' own tests are in {fetch(Path(sys.argv[1]))}")
    except RuntimeError as error:
        # The suite then skips and says so; the other tests do not need it.
        print(error, file=sys.stderr)
