"""Stops commands at random moments with SIGINT, SIGTERM and SIGKILL, and looks at what they leave.

    python tests/faults/kills.py --kills 500 --seed 0 [--json FILE]

After each kill: an output is the old one or the new one, whole; nothing of ours lies beside it (after SIGKILL, once the
next run has begun); the exit code is 130, 143 or that of a run that was done; and "Stopped." is what is said. Kinds:

    imports   a process of its own, stopped while Python starts and the package is imported
    work      a forked process that has imported everything, stopped at a random moment
    window    SIGKILL, SIGTERM or SIGINT from inside, before or after each of the renames that replace an output, with
              the system's exchange of names and without it

Transformers is imported once, and each run forks from there.
"""

import argparse
import contextlib
import gc
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path


REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY)]

from training.forking import warm_up  # noqa: E402

import ofa_command  # noqa: E402


SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}


def make_inputs(folder: Path, models: bool) -> None:
    """Word vectors and text; with `models` a model, one adapted from it, and tokenizers.

    Made in a process that ends, since thread pools don't fork well.
    """
    import numpy as np
    from conftest import TEXT

    import ofa_transformers as ofa

    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    words = ofa.WordVectors(["$house$", "$haus$", "$stadt$"], np.array(["eng", "deu", "deu"]), vectors)
    words.save(folder / "vectors")
    (folder / "de-en.txt").write_text("haus house\nbrot house\n")
    (folder / "new.txt").write_text("".join(f"zwölf Boxkämpfer jagen {i % 7} quirlige Yaks\n" for i in range(60)))
    for language, shift in (("eng", 0), ("deu", 1)):
        lines = [f"{i}\t{TEXT[(i + shift) % 11]}\n" for i in range(60)]
        (folder / f"{language}.tsv").write_text("".join(lines), encoding="utf-8")
        text = "".join(line.partition("\t")[2] for line in lines)
        (folder / f"{language}.txt").write_text(text, encoding="utf-8")
    if not models:
        return
    from adapted_models import make_source
    from conftest import build_byte_bpe, build_unigram

    source, target = build_byte_bpe(), build_unigram()
    model = make_source("roberta", source)
    for path in (folder / "source", folder / "tokenizer"):
        (source if path.name == "source" else target).save_pretrained(path)
    model.save_pretrained(folder / "source")
    adapted = ofa.OfaInitializer.from_pretrained(
        model, target_tokenizer=target, source_tokenizer=source, word_vectors=words, embedding_size=8
    )
    adapted.save_pretrained(folder / "adapted")


def commands(folder: Path) -> dict[str, list[str]]:
    """Each command that replaces a folder, without its output."""
    made = {
        "adapt": ["source", "-t", "tokenizer", "-v", "vectors", "--size", 8, "--overwrite"],
        "convert": ["adapted", "--overwrite"],
        "export": ["adapted", "--overwrite"],
        "tokenizer train": ["deu.txt", "-n", 300, "--overwrite"],
        "tokenizer extend": ["tokenizer", "deu=new.txt", "-n", 15, "--overwrite"],
        "vectors build": ["eng.tsv", "deu.tsv", "--dim", 5, "--overwrite"],
        "vectors convert": ["vectors", "--overwrite"],
        "evaluate perplexity": ["adapted", "--text", "deu.txt", "--max-texts", 4, "--cpu", "--overwrite"],
        "pretrain": ["adapted", "deu.txt", "-n", 4, "--save-steps", 2, "--max-length", 16, "--cpu", "--streaming"],
    }
    inside = {path.name for path in folder.iterdir()}

    def given(part: str) -> str:
        language, equals, name = part.rpartition("=")
        return f"{language}{equals}{folder / name}" if name in inside else part

    return {name: [*name.split(), *map(given, map(str, rest))] for name, rest in made.items()}


def content(path: Path) -> str | None:
    """What tells a whole output from a part of one: names of all files, and the sums of those that each run makes alike."""
    if not path.is_dir():
        return None
    sums = [
        (file.relative_to(path).as_posix(), hashlib.sha256(file.read_bytes()).hexdigest())
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.suffix in (".safetensors", ".txt")
    ]
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*"))
    return hashlib.sha256(repr((names, sums)).encode()).hexdigest()


def old_output(parent: Path) -> Path:
    output = parent / "out"
    output.mkdir(parents=True)
    (output / "mine.txt").write_text("old")
    return output


def build_command() -> None:
    """Makes of the Typer app, once and for all runs in this process and its forks, the command that it makes for each."""
    import typer.main

    import ofa_transformers.cli

    if isinstance(ofa_transformers.cli.app, typer.Typer):
        ofa_transformers.cli.app = typer.main.get_command(ofa_transformers.cli.app)
    with contextlib.suppress(ImportError):
        import typer._adapters


class Forks:
    """Runs of the command in forks of this process."""

    def __init__(self, models: bool) -> None:
        os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
        import ofa_transformers.cli
        import ofa_transformers.tokenization
        import ofa_transformers.vectors

        if models:
            import ofa_transformers.evaluation
            import ofa_transformers.initialization.initializer
            import ofa_transformers.report
            import ofa_transformers.training

            warm_up()
        build_command()
        self.main = ofa_transformers.cli.main
        gc.freeze()

    def start(self, arguments: list[str], log: Path | int, before=lambda: None) -> int:
        # A signal may come before the first line of the child, which then is where `ofa_command` begins.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        with open(log, "wb") as file:
            process = os.fork()
            if process:
                signal.pthread_sigmask(signal.SIG_SETMASK, held)
                return process
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ofa_command._stop)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        code = 99
        try:
            sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
            before()
            sys.argv = ["ofa", *arguments]
            self.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def run(self, arguments: list[str], before=lambda: None) -> tuple[int, str]:
        """The exit code of a command, and what it said."""
        reader, writer = os.pipe()
        process = self.start(arguments, writer, before)
        with open(reader, errors="replace") as file:
            said = file.read()
        return self.wait(process), said

    @staticmethod
    def wait(process: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def tidied(self, output: Path) -> None:
        """What the next run of a command does first."""

        def tidy() -> None:
            from ofa_transformers.utils.files import reserved

            with reserved(output):
                pass
            os._exit(0)

        assert self.wait(self.start([], output.parent.parent / "tidy.log", tidy)) == 0


def faults(output: Path, old: str | None, new: str, code: int, expected: int, log: str, killed: bool) -> list[str]:
    """What is wrong with what a stopped command has left."""
    found = []
    state = content(output)
    # On its way out Python itself puts back what signals do: a shell sees the same code.
    at_the_end = state == new and code == 128 - expected
    if code not in (0, expected) and not at_the_end:
        found.append(f"exit code {code}")
    if state not in (old, new):
        found.append("the output is neither the old nor the new one")
    if code == 0 and state != new:
        found.append("exit code 0, but the output isn't the new one")
    beside = sorted({path.name for path in output.parent.iterdir()} - {"out"})
    if beside:
        found.append(f"beside the output: {', '.join(beside)}")
    if "Traceback" in log or "Error" in log or "Exception ignored" in log:
        found.append("a traceback")
    if code == expected and not killed and log.splitlines()[-1:] != ["Stopped."]:
        found.append("no `Stopped.`")
    return found


def stop_at_import(arguments: list[str], log: Path, number: int, delay: float) -> int:
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "ofa_command", *arguments],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            stdout=file,
            stderr=file,
        )
        time.sleep(delay)
        process.send_signal(number)
        return process.wait(timeout=120)


def in_the_window(rng: random.Random, number: int):
    """Sends a signal before or after one of the renames of a run."""
    at, after, exchanges = rng.randrange(2), rng.random() < 0.5, rng.random() < 0.5

    def prepare() -> None:
        from ofa_transformers.utils import replacing

        calls = 0

        def counted(rename):
            def called(source, target, *rest, **options):
                nonlocal calls
                ours = ".out." in f"{source} {target}"
                here = ours and calls == at
                calls += ours
                if here and not after:
                    os.kill(os.getpid(), number)
                rename(source, target, *rest, **options)
                if here and after:
                    os.kill(os.getpid(), number)

            return called

        if exchanges:
            swap = counted(replacing._exchange_of_the_system())
            replacing._exchange_of_the_system = lambda: swap
        else:
            replacing._exchange_of_the_system = lambda: None
            os.rename = counted(os.rename)

    return prepare


def run(
    kills: int,
    seed: int,
    folder: Path,
    share_of_imports: float = 0.25,
    chosen: list[str] | None = None,
    say: Callable[[dict], None] = lambda result: None,
) -> dict:
    """Counts of kills and of faults, by kind and command; `say` gets those so far after each kill."""
    models = any(name.split()[0] not in ("vectors", "tokenizer") for name in chosen or ["adapt"])
    forks = Forks(models)
    inputs = folder / "inputs"
    inputs.mkdir()
    process = os.fork()
    if not process:
        try:
            make_inputs(inputs, models)
            os._exit(0)
        finally:
            os._exit(1)
    assert forks.wait(process) == 0
    all_commands = {name: line for name, line in commands(inputs).items() if chosen is None or name in chosen}
    new, seconds = {}, {}
    for name, line in all_commands.items():
        output = old_output(folder / "reference" / name)
        if name == "pretrain":
            shutil.rmtree(output)
        log, begin = folder / "reference.log", time.monotonic()
        code = forks.wait(forks.start([*line, "-o", str(output)], log))
        assert code == 0, (name, log.read_text())
        new[name], seconds[name] = content(output), time.monotonic() - begin
    imports = 0.0
    if share_of_imports:
        begin = time.monotonic()
        line = [*all_commands[next(iter(all_commands))], "--help"]
        assert stop_at_import(line, folder / "imports.log", 0, 0) == 0
        imports = 3 * (time.monotonic() - begin)  # what a command imports beyond its help takes longer still

    counts, by_command, found, result = Counter(), Counter(), [], {}
    for index in range(kills):
        rng = random.Random(f"{seed} {index}")
        name, number = rng.choice(list(all_commands)), rng.choice(list(SIGNALS))
        kinds = ["imports", "window", "work"]
        kind = rng.choices(kinds, [share_of_imports, 0.25, 0.75 - share_of_imports])[0]
        if kind == "window" and name == "pretrain":
            kind = "work"
        parent = folder / f"{index}"
        output = old_output(parent / "outputs")
        if name == "pretrain":
            shutil.rmtree(output)
        old, log, expected = content(output), parent / "log", SIGNALS[number]
        line = [*all_commands[name], "-o", str(output)]
        if kind == "imports":
            # While Python itself starts, nothing of ours is there yet.
            code = stop_at_import(line, log, number, rng.uniform(0.25, imports))
        elif kind == "window":
            code = forks.wait(forks.start(line, log, in_the_window(rng, number)))
        else:
            process = forks.start(line, log)
            time.sleep(rng.uniform(0, 1.1 * seconds[name]))
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
            code = forks.wait(process)
        if number == signal.SIGKILL:
            forks.tidied(output)
        said = log.read_text(errors="replace")
        wrong = faults(output, old, new[name], code, expected, said, number == signal.SIGKILL)
        if name == "pretrain":
            wrong = pretraining_faults(output, wrong, code)
        counts[f"{kind}, {'done' if code == 0 else signal.Signals(number).name}"] += 1
        if wrong:
            found.append(
                {"index": index, "kind": kind, "command": name, "signal": number, "faults": wrong, "log": said}
            )
        shutil.rmtree(parent)
        by_command[name] += 1
        result = {
            "kills": index + 1,
            "seed": seed,
            "counts": dict(sorted(counts.items())),
            "commands": dict(sorted(by_command.items())),
            "faults": found,
        }
        say(result)
    return result


def pretraining_faults(output: Path, wrong: list[str], code: int) -> list[str]:
    """A run that was stopped leaves whole checkpoints; its model is there when it is done."""
    wrong = [fault for fault in wrong if not fault.startswith("the output is neither")]
    for checkpoint in output.glob("checkpoint-*") if output.exists() else ():
        missing = {"model.safetensors", "config.json", "optimizer.pt", "trainer_state.json"} - set(
            os.listdir(checkpoint)
        )
        if missing:
            wrong.append(f"{checkpoint.name} has no {', '.join(sorted(missing))}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--imports", type=float, default=0.25, help="share of kills during imports")
    parser.add_argument("--command", action="append", help="only this one; may repeat")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    # A job in the background ignores SIGINT, and what it starts inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def say(result: dict) -> None:
        # An interrupted run isn't lost.
        if args.json:
            args.json.write_text(json.dumps(result, indent=1))
        if result["faults"] and result["faults"][-1]["index"] == result["kills"] - 1:
            fault = result["faults"][-1]
            print(
                f"FAULT {fault['index']}: {fault['command']} ({fault['kind']}, signal {fault['signal']}): {fault['faults']}"
            )
            print("    " + "\n    ".join(fault["log"].splitlines()[-12:]))
        if result["kills"] % 25 == 0 or result["kills"] == args.kills:
            counts = ", ".join(f"{kind} {count}" for kind, count in result["counts"].items())
            print(f"{result['kills']} kills, seed {args.seed}, {len(result['faults'])} faults: {counts}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        result = run(args.kills, args.seed, Path(folder), args.imports, args.command, say)
    print("By command: " + ", ".join(f"{name} {count}" for name, count in result["commands"].items()))
    sys.exit(bool(result["faults"]))


if __name__ == "__main__":
    main()
