"""Runs commands that lack something: the right to write, room on the disk, a place for their output.

    python tests/faults/lacking.py INPUTS OUTPUTS [KIND...]

Kinds:

    rights    a working folder that is read-only, a home that is none: the process was started without privileges
    places    outputs that can't be: a file above them, names that are too long, folders that are files
    room      a disk with a hundred bytes left, before the work
    full      files that can't grow in the middle of the work, as on a disk that is full

Prints for each kind and command its exit code and what it said, as JSON. Everything is imported once, and each command
runs in a fork. Started by test_permissions.py.
"""

import contextlib
import io
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent))

from kills import Forks, commands, old_output


# What is told apart from the work that must not begin: where each command's is.
_WORK = {
    "adapt": "initialization.initializer.make_mapping",
    "tokenizer train": "tokenization.train_tokenizer",
    "tokenizer extend": "tokenization.extend_tokenizer",
    "vectors dictionary": "vectors.concepts.word_graph",
    "pretrain": "training.run.PretrainingTrainer",
    "compare": "workflows.cells._cell",
    "run": "workflows.stages._Run",
}  # fmt: skip
_BEGUN = "the work has begun"
_DRY = ("adapt", "compare", "pretrain", "run")


def all_commands(inputs: Path) -> dict[str, list[str]]:
    """Those of kills.py, and others that write."""
    given = {name: str(inputs / name) for name in os.listdir(inputs)}
    adapt = [given["source"], "-t", given["tokenizer"], "-v", given["vectors"]]
    return {
        **commands(inputs),
        "vectors dictionary": ["vectors", "dictionary", given["de-en.txt"], "-v", given["vectors"], "--overwrite"],
        "compare": ["compare", *adapt, "--text", given["deu.txt"], "--methods", "mean"],
        "run": ["run", given["source"], given["eng.tsv"], given["deu.tsv"]],
    }


Runs = Iterator[tuple[str, list[str], Callable[[], None]]]


def nothing() -> None:
    pass


def rights(inputs: Path, outputs: Path) -> Runs:
    for name, line in commands(inputs).items():
        yield name, [*line, "-o", str(outputs / name.replace(" ", "-"))], nothing
    yield "report", ["report", str(outputs / "adapt"), "--no-open"], nothing
    yield "vectors info", ["vectors", "info", str(inputs / "vectors")], nothing
    # In the working folder, which is read-only.
    found = all_commands(inputs)
    for name in ("vectors convert", "tokenizer train", "pretrain", "compare", "run"):
        yield f"{name}, here", [*found[name], "-o", name.replace(" ", "-")], nothing
    for name in _DRY:
        yield f"{name} --dry-run, here", [*found[name], "--dry-run", "-o", name], nothing
    yield "vectors info, here", ["vectors", "info", str(inputs / "vectors"), "--json", "info.json"], nothing


def places(inputs: Path, outputs: Path) -> Runs:
    (outputs / "file").touch()
    found = all_commands(inputs)
    lines = {name: line for name, line in found.items() if name not in _DRY}
    lines |= {f"{name} --dry-run": [*found[name], "--dry-run"] for name in _DRY}
    lines |= {name: found[name] for name in _DRY}
    for name, line in lines.items():
        for place in ("file", "file/out", "n" * 256):
            yield f"{name} -o {place[:9]}", [*line, "-o", str(outputs / place)], nothing


def room(inputs: Path, outputs: Path) -> Runs:
    from importlib import import_module

    def almost_full(work: str | None) -> Callable[[], None]:
        def prepare() -> None:
            from ofa_transformers.utils import targets

            usage = targets.shutil.disk_usage("/")
            targets.shutil.disk_usage = lambda path: usage._replace(free=100)
            targets._LEAST_FREE = 0
            if work is not None:
                module, _, name = f"ofa_transformers.{work}".rpartition(".")
                setattr(import_module(module), name, begun)

        return prepare

    def begun(*_: object, **__: object) -> None:
        raise AssertionError(_BEGUN)

    for name, line in all_commands(inputs).items():
        if name == "evaluate perplexity":
            continue  # writes a few lines
        yield name, [*line, "-o", str(outputs / "none" / "out")], almost_full(_WORK.get(name))
        if name in _DRY:
            yield f"{name} --dry-run", [*line, "--dry-run", "-o", str(outputs / "none" / "out")], almost_full(None)


def full(inputs: Path, outputs: Path) -> Runs:
    def cannot_grow() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))

    for name, line in all_commands(inputs).items():
        if name in ("compare", "run"):
            continue  # theirs are written as the others' are
        place = outputs / "full" / name.replace(" ", "-")
        output = old_output(place)
        if name == "pretrain":
            (output / "mine.txt").unlink()
        yield name, [*line, "-o", str(output)], cannot_grow


def run_here(runs: Runs) -> None:
    """Runs commands in this process, which then ends."""
    import typer

    from ofa_transformers.cli import app

    found = {}
    for name, line, _ in runs:
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            try:
                code = app(line, standalone_mode=False)
            except typer.Exit as end:
                code = end.exit_code
        found[name] = (code, said.getvalue())
    os.write(1, json.dumps(found).encode())
    os._exit(0)


KINDS = {"rights": rights, "places": places, "room": room, "full": full}


def main() -> None:
    inputs, outputs = map(Path, sys.argv[1:3])
    forks = Forks(models=True)
    found = {}
    for kind in sys.argv[3:] or KINDS:
        runs = KINDS[kind](inputs, outputs)
        if kind == "places":  # end before they begin, so that one fork does for all
            found[kind] = json.loads(forks.run([], lambda runs=runs: run_here(runs))[1])
        else:
            found[kind] = {name: forks.run(line, before) for name, line, before in runs}
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
