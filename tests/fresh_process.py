"""Processes as fresh as new ones to Transformers and to the package, but with PyTorch imported, which takes the longest.

They fork from a server that imports PyTorch once for all tests of a pytest process.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path


CONTEXT = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
# What Transformers imports first; none of it reads the environment for the Hub.
_IMPORTED = ["torch", "torch._dynamo", "torch.distributed.tensor", "scipy.optimize", "scipy.sparse"]


def start(
    code: str, *arguments: object, output: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> BaseProcess:
    """Starts `python -c CODE ARGUMENTS`; what it says is in the files OUTPUT.out and OUTPUT.err."""
    given = (code, list(map(str, arguments)), dict(os.environ if env is None else env), cwd, output)
    return start_function(_execute, *given)


def start_function(function, *arguments: object) -> BaseProcess:
    """Starts a function of a module."""
    if os.name == "posix":
        CONTEXT.set_forkserver_preload(_IMPORTED)
    process = CONTEXT.Process(target=_fresh, args=(_remote_code(), function, *arguments))
    process.start()
    return process


def _remote_code() -> str | None:
    """The folder that Transformers puts on the path of a process that loads remote code."""
    module = sys.modules.get("transformers.dynamic_module_utils")
    return getattr(module, "HF_MODULES_CACHE", None)


def run(
    code: str, *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess:
    """Runs `python -c CODE ARGUMENTS`, with what it says as text."""
    with tempfile.TemporaryDirectory() as folder:
        process = start(code, *arguments, output=Path(folder, "said"), env=env, cwd=cwd)
        process.join(300)
        process.kill()
        process.join()
        said = [Path(folder, f"said.{end}").read_text() for end in ("out", "err")]
    return subprocess.CompletedProcess(code, process.exitcode, *said)


def _fresh(remote_code: str | None, function, *arguments: object) -> None:
    # multiprocessing hands on the path, where that folder would hide this process' own.
    sys.path[:] = [folder for folder in sys.path if folder != remote_code]
    assert not {"transformers", "huggingface_hub", "ofa_transformers"} & sys.modules.keys()
    function(*arguments)


def _execute(code: str, arguments: list[str], environment: dict[str, str], cwd: Path | None, output: Path) -> None:
    enter(environment, output)
    if cwd is not None:
        os.chdir(cwd)
    sys.argv = ["-c", *arguments]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(code, vars(main))


def enter(environment: Mapping[str, str], output: Path | str) -> None:
    """Gives this process the environment, and files for what it says."""
    os.environ.clear()
    os.environ.update(environment)
    for number, end in ((1, "out"), (2, "err")):
        file = os.open(f"{output}.{end}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)


def serve(pipe: Connection, environment: dict[str, str], output: Path, hidden: str | None = None) -> None:
    """Runs the pieces of code that come through the pipe, and answers with {"result": ...} or {"error": [type, message]}.

    Names stay from one piece to the next; a piece says its result by setting `result`. An import of `hidden` fails as
    if it were not installed.
    """
    enter(environment, output)
    if hidden:
        sys.modules[hidden] = None
    names: dict = {}
    while (code := pipe.recv()) is not None:
        names["result"] = None
        try:
            exec(code, names)
            answer = {"result": names["result"]}
        except BaseException as error:
            answer = {"error": [type(error).__name__, str(error)]}
        pipe.send(answer)
