"""Gives readers and commands thousands of damaged files, and looks at what they say and leave.

    python tests/faults/fuzz.py --cases 3000 --commands 300 --seed 0 [--subject NAME] [--only INDEX] [--json FILE]

What holds for each: it reads the file after all, or says in one line which file is wrong (ValueError or OSError; a
command ends with 1); within bounded time and memory; and nothing but what it wrote when it succeeded has changed.

Transformers is imported once; the cases of each subject run in a process that forks from there. The same seed gives the
same cases.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any


sys.path[:0] = [str(Path(__file__).resolve().parent), *(str(Path(__file__).resolve().parents[n]) for n in (1, 2))]

from damage import damage  # noqa: E402
from subjects import SUBJECTS, Subject, make_inputs  # noqa: E402


# Of processor time, beyond what reading the undamaged files takes; of memory, beyond what was used before.
SECONDS, MEMORY = 10.0, 1 << 30
# Wall time of a case that no signal ends, then its process is ended.
_PATIENCE = 40.0
_FAULT = "This is a fault of ofa itself"


class TooLong(BaseException):
    pass


def snapshot(folder: Path) -> dict[str, str]:
    """What is there: path -> what it is."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "other"
    return found


def _memory(field: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) << 10 if field in text else 0


class Case:
    """One damaged file and what came of it."""

    def __init__(self, subject: Subject, index: int, seed: int) -> None:
        self.subject, self.index = subject, index
        self.rng = random.Random(f"{seed} {subject.name} {index}")
        self.file = self.rng.choice(subject.files)

    def run(self, folder: Path, log: Path) -> dict[str, Any]:
        """Damages the file in a folder of whole inputs, reads, and says what is wrong with that, if anything."""
        damage(folder / self.file, self.rng, alone="/" not in self.file)
        before, begin = snapshot(folder), time.process_time()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        used = _memory("VmRSS")
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            failed, said, faults = self._read(folder, log)
        except TooLong:
            failed, said, faults = True, "", [f"takes more than {SECONDS:.0f} s"]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if (more := _memory("VmHWM") - used) > MEMORY:
            faults.append(f"takes {more >> 20:,} MiB")
        if failed and snapshot(folder) != before:
            changed = dict(set(snapshot(folder).items()) ^ set(before.items()))
            faults.append(f"has changed {', '.join(sorted(changed))}")
        seconds = time.process_time() - begin
        return {
            "index": self.index,
            "file": self.file,
            "failed": failed,
            "said": said,
            "faults": faults,
            "seconds": seconds,
        }

    def _read(self, folder: Path, log: Path) -> tuple[bool, str, list[str]]:
        return self._command(folder, log) if self.subject.is_command else self._library(folder)

    def _library(self, folder: Path) -> tuple[bool, str, list[str]]:
        try:
            self.subject.read(folder)
        except (ValueError, OSError) as error:
            said, faults = str(error), []
            if isinstance(error, UnicodeError) or type(error).__module__ not in (
                "builtins",
                "ofa_transformers.utils.locks",
            ):
                faults.append(f"a {type(error).__name__} of somebody else")
            return True, said, [*faults, *self._faults_of(said, folder)]
        except Exception as error:
            place = "".join(traceback.format_exception(error)[-3:])
            return True, f"{type(error).__name__}: {error}", [f"raises {type(error).__name__}", place[-1500:]]
        return False, "", []

    def _command(self, folder: Path, log: Path) -> tuple[bool, str, list[str]]:
        import typer
        from typer.exceptions import TyperException

        from ofa_transformers.cli import app

        given = [self.file.split("/")[0] if part == "INPUT" else part for part in self.subject.read(folder)]
        with open(log, "w+b") as file:
            kept = os.dup(2)
            os.dup2(file.fileno(), 2)
            try:
                code = app(given, prog_name="ofa", standalone_mode=False)
            except (typer.Exit, SystemExit) as end:
                code = getattr(end, "exit_code", getattr(end, "code", None))
            except TyperException as error:  # wrong usage: an option that is needed isn't in the file
                return True, str(error), [] if "--config" in self.subject.needs else ["takes it for wrong usage"]
            except Exception as error:
                code = f"raises {type(error).__name__}: {error}"
            finally:
                sys.stderr.flush()
                os.dup2(kept, 2)
                os.close(kept)
            file.seek(0)
            said = file.read().decode("utf-8", "replace")
        if code in (0, None):
            return False, "", []
        errors = [line for line in said.splitlines() if line.startswith("Error: ")]
        faults = [] if code == 1 else [f"ends with {code}"]
        if "Traceback" in said:
            faults.append("a traceback")
        if len(errors) != 1 or said.rstrip("\n").splitlines()[-1:] != errors:
            faults.append("no single line that begins with Error")
        return True, said[-3000:], [*faults, *self._faults_of(errors[-1] if errors else said, folder)]

    def _faults_of(self, said: str, folder: Path) -> list[str]:
        faults = []
        if _FAULT in said:
            faults.append("takes it for a fault of ofa")
        if "\n" in said.strip():
            faults.append("more than one line")
        if len(said) > 2000:
            faults.append(f"says {len(said):,} characters")
        # The file, or the folder that was named on the command line or in the call.
        parts = Path(self.file)
        names = {parts.name, str(folder / parts.parts[0])} if len(parts.parts) > 1 else {parts.name}
        names |= {parts.parts[0]} if len(parts.parts) > 1 else set()
        names |= {self.subject.called} if self.subject.called else set()
        # What an option has in a file is wrong as it would be on the command line: its name is said.
        is_option = parts.suffix in (".yaml", ".json") and "--config" in self.subject.needs
        if not is_option and not any(name in said for name in names):
            faults.append("names no file")
        return faults


def _stop(*_: Any) -> None:
    raise TooLong


def _cases(plan: list[tuple[Subject, int]], inputs: Path, work: Path, seed: int, answers: Path) -> None:
    """Runs cases in this process, which is a fork."""
    os.environ.update(COLUMNS="1000", TERM="dumb")
    signal.signal(signal.SIGPROF, _stop)
    folder, log = work / "given", work / "log"
    resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + 4 * MEMORY,) * 2)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    whole: dict[str, str] | None = None
    before: Subject | None = None
    kept_all = False
    with open(answers, "a", encoding="utf-8") as file:
        for subject, index in plan:
            if subject is not before or not (kept_all or snapshot(folder) == whole):
                _copy(subject, inputs, folder)
                os.chdir(folder)
                whole, before = snapshot(folder), subject
            case = Case(subject, index, seed)
            damaged = folder / case.file
            kept = damaged.read_bytes()
            answer = case.run(folder, log)
            file.write(json.dumps(answer) + "\n")
            file.flush()
            kept_all = False
            if damaged.is_file() and not damaged.is_symlink():  # quicker than a new folder
                damaged.write_bytes(kept)
                kept_all = answer["failed"] and not answer["faults"]  # it was looked after already


def _copy(subject: Subject, inputs: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    given = subject.read(folder) if subject.is_command else []
    for name in {name.split("/")[0] for name in (*subject.files, *subject.needs, *given)}:
        for source in [inputs / name] if (inputs / name).exists() else []:
            shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder / name)


def forked(call: Callable[[], None]) -> int:
    process = os.fork()
    if not process:
        code = 1
        try:
            call()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return process


def _examine(
    plan: list[tuple[Subject, int]], inputs: Path, work: Path, seed: int
) -> Iterator[tuple[Subject, dict[str, Any]]]:
    """The answers of all cases, those that ended their process among them."""
    answers, done = work / "answers", 0
    while done < len(plan):
        answers.write_bytes(b"")
        process = forked(partial(_cases, plan[done:], inputs, work, seed, answers))
        ended, last = 0, time.monotonic()
        with open(answers, encoding="utf-8") as file:
            part = ""
            while True:
                part += file.readline()
                if part.endswith("\n"):
                    yield plan[done][0], json.loads(part)
                    part, done, last = "", done + 1, time.monotonic()
                elif ended:
                    break
                else:
                    ended, status = os.waitpid(process, os.WNOHANG)
                    time.sleep(0 if ended else 0.02)
                    if time.monotonic() - last > _PATIENCE:
                        os.kill(process, signal.SIGKILL)
                        last = time.monotonic()
        if status and done < len(plan):
            subject, index = plan[done]
            fault = f"ends its process, status {status}"
            file = Case(subject, index, seed).file
            yield (
                subject,
                {"index": index, "file": file, "failed": True, "said": "", "faults": [fault], "seconds": _PATIENCE},
            )
            done += 1


def run(
    cases: int,
    commands: int,
    seed: int,
    folder: Path,
    chosen: list[str] | None = None,
    only: list[int] | None = None,
    say: Callable[[dict], None] = lambda account: None,
) -> None:
    """Says an account of each subject: cases, how many were refused, faults, seconds."""
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    from kills import build_command

    import ofa_transformers.cli
    import ofa_transformers.evaluation
    import ofa_transformers.initialization.initializer
    import ofa_transformers.report
    import ofa_transformers.training
    import ofa_transformers.vectors  # noqa: F401

    build_command()
    inputs, work = folder / "inputs", folder / "work"
    for path in (inputs, work):
        path.mkdir()
    if os.waitpid(forked(partial(make_inputs, inputs)), 0)[1]:
        raise RuntimeError("the inputs could not be made")
    plan = [
        (subject, index)
        for subject in SUBJECTS
        if chosen is None or any(name in subject.name for name in chosen)
        if all((inputs / file).exists() for file in subject.files)  # gensim isn't installed
        for index in (only or range(max(1, round(subject.weight * (commands if subject.is_command else cases)))))
    ]
    accounts: dict[str, dict[str, Any]] = {}
    left = Counter(subject.name for subject, _ in plan)
    for subject, answer in _examine(plan, inputs, work, seed):
        empty = {"subject": subject.name, "cases": 0, "refused": 0, "faults": [], "slowest": 0.0, "seconds": 0.0}
        account = accounts.setdefault(subject.name, empty)
        account["cases"] += 1
        account["refused"] += answer["failed"]
        account["faults"] += [answer] * bool(answer["faults"])
        account["slowest"] = max(account["slowest"], answer["seconds"])
        account["seconds"] += answer["seconds"]
        left[subject.name] -= 1
        if not left[subject.name]:
            say(account)


def _show(account: dict[str, Any]) -> None:
    print(
        f"{account['subject']:45} {account['cases']:6} cases, {account['refused']:6} refused, "
        f"{len(account['faults']):4} faults, {account['seconds']:6.1f} s of processor time (slowest case {account['slowest']:.2f} s)",
        flush=True,
    )
    of_kind: dict[str, list[dict]] = {}
    for fault in account["faults"]:
        of_kind.setdefault("; ".join(fault["faults"]), []).append(fault)
    for kind, faults in list(of_kind.items())[:6]:
        first = faults[0]
        print(
            f"  FAULT {first['index']} ({len(faults)} such): {first['file']}: {kind}\n    {first['said'][-700:]}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000, help="of each reader; of slow ones a part")
    parser.add_argument("--commands", type=int, help="of each command, likewise; default: a tenth of that")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--subject", action="append", help="only those with this in their name; may repeat")
    parser.add_argument("--only", type=int, action="append", help="only this case; may repeat")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    accounts: list[dict] = []

    def say(account: dict[str, Any]) -> None:
        _show(account)
        accounts.append(account)
        if args.json:  # as far as it goes, so that an interrupted run isn't lost
            args.json.write_text(json.dumps(accounts, indent=1))

    commands = max(1, args.cases // 10) if args.commands is None else args.commands
    with tempfile.TemporaryDirectory() as folder:
        run(args.cases, commands, args.seed, Path(folder), args.subject, args.only, say)
    print(f"{sum(a['cases'] for a in accounts)} cases, {sum(len(a['faults']) for a in accounts)} faults")
    sys.exit(any(account["faults"] for account in accounts))


if __name__ == "__main__":
    main()
