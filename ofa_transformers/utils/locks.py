"""One writer at a time: a lock file beside an output, held while the process works on it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .targets import is_writable, located


# Locks that this process holds: path -> (thread, how often it has entered).
_held: dict[Path, tuple[int, int]] = {}
_files: set[Path] = set()
_guard = threading.Lock()


class Busy(BlockingIOError):
    """Another process, or another thread of this one, writes there."""


@contextmanager
def locked(path: str | os.PathLike, wait: float = 0) -> Iterator[None]:
    """Keeps others from writing `path` while the block runs. The thread that has it may enter again.

    The lock ends with the process, however that ends. Its file is `.NAME.lock` beside `path`, or in the folder `path`
    where the one above can't be written.

    Args:
        path: of a file or folder, which needn't exist; the folder above it must.
        wait: seconds until it is given up.

    Raises:
        Busy: somebody else has it.
    """
    target, thread = located(path), threading.get_ident()
    with _guard:
        owner, entered = _held.get(target, (thread, 0))
        if owner == thread:
            _held[target] = (thread, entered + 1)
    busy = Busy(f"The output {path} is being written by another process; wait until it ends, or name another output.")
    if owner != thread:
        raise busy
    try:
        if entered:
            yield
            return
        import filelock

        file = lock_file(target)
        lock = filelock.FileLock(file, timeout=wait, thread_local=False)
        existed = file.exists()
        try:
            try:
                lock.acquire()
            except filelock.Timeout:
                raise busy from None
            except BaseException:  # an interrupt, maybe between the making of the file and the lock
                if not existed and not lock.is_locked:
                    _remove(file)
                raise
            _files.add(file)
            yield
        finally:
            if lock.is_locked:
                # While it is held: whoever waits for this file sees that it is no longer there, and makes one anew.
                _remove(file)
                lock.release()
    finally:
        with _guard:
            if entered:
                _held[target] = (thread, entered)
            else:
                _held.pop(target, None)


def remove_lock_files() -> None:
    """Removes the files of all locks of this process, which ends now."""
    for file in list(_files):
        _remove(file)


def _remove(file: Path) -> None:
    _files.discard(file)
    with suppress(OSError):
        file.unlink()


def lock_file(target: Path) -> Path:
    """Where the lock of a path lies."""
    if not is_writable(target.parent) and target.is_dir():
        return target / ".ofa.lock"
    return target.with_name(f".{short(target.name)}.lock")


def short(name: str) -> str:
    """A name, shortened where one that is made of it would be too long."""
    if len(os.fsencode(name)) <= 200:
        return name
    import hashlib

    return name[:40] + hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
