"""Putting a finished output in its place at one stroke, and tidying up after processes that were killed meanwhile."""

import ctypes
import errno
import functools
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from transformers.utils import logging

from .locks import short


logger = logging.get_logger(__name__)

# What lies beside an output for a while: what is being written, and, where two names can't be exchanged, what was there.
NEW, OLD = "new", "old"
_TAG = "[0-9a-z_]{8}"
# Of Linux (fcntl.h, stdio.h).
_HERE, _EXCHANGE = -100, 2


def beside(target: Path, kind: str) -> Path:
    """A free hidden name beside a path."""
    return target.with_name(f".{short(target.name)}.{kind}.{secrets.token_hex(4)}")


def leftovers(target: Path, kind: str) -> list[Path]:
    """What lies beside a path under such names, the latest first. With its lock held, nobody is writing there."""
    pattern = re.compile(f"{re.escape(f'.{short(target.name)}.{kind}.')}{_TAG}")
    found = [Path(entry.path) for entry in os.scandir(target.parent) if pattern.fullmatch(entry.name)]
    return sorted(found, key=lambda path: path.lstat().st_mtime, reverse=True)


def tidy(target: Path) -> None:
    """Restores and removes what killed processes left beside a path, whose lock is held."""
    retired = leftovers(target, OLD)
    if retired and not os.path.lexists(target):
        os.rename(retired[0], target)
        logger.warning(f"{target} is there again: a run that was killed while it replaced it had left it aside.")
        retired = retired[1:]
    for path in (*retired, *leftovers(target, NEW)):
        remove(path)


def remove(path: Path) -> None:
    """Removes a file, link or folder; one that can't be removed stays."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.warning(f"{path} is no longer needed, but could not be removed: {error.strerror}.")


def claim(new: Path, target: Path) -> None:
    """Moves a folder to a path where there is nothing, or an empty folder.

    Raises:
        FileExistsError: something has come there meanwhile.
    """
    try:
        if os.name == "nt" and target.is_dir():
            target.rmdir()
        os.rename(new, target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise FileExistsError(f"{target} was filled by somebody else meanwhile") from error


def exchange(new: Path, target: Path) -> Path:
    """Puts a file or folder where another one is. Returns where that one lies now.

    At any moment one of them is at `target`, where the system can exchange names; elsewhere the old one is back there
    whatever interrupts this, and after the process was killed by the next `tidy`.
    """
    if (swap := _exchange_of_the_system()) is not None:
        try:
            swap(new, target)
            return new
        except OSError as error:
            # Not by this file system.
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM):
                raise
    retired = beside(target, OLD)
    try:
        os.rename(target, retired)
        os.rename(new, target)
    except BaseException:
        if os.path.lexists(target):
            remove(retired)
        else:
            os.rename(retired, target)
        raise
    return retired


@functools.cache
def _exchange_of_the_system() -> Callable[[Path, Path], None] | None:
    """Linux's renameat2 with RENAME_EXCHANGE."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return None
    renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]

    def swap(first: Path, second: Path) -> None:
        if renameat2(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(first), None, str(second))

    return swap
