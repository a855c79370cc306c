"""Where an output shall go: what stands in its way is found before the work; what breaks its writing is said plainly."""

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


# Beside an output's own name a temporary one has this many bytes.
_EXTRA_NAME_BYTES = 16
# No output is smaller than what a full disk has left.
_LEAST_FREE = 1 << 20
_MAKE_ROOM = "make room, or name a place on another disk"
_REMEDIES = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EFBIG: "raise the limit on files (ulimit -f)",
    errno.EROFS: "name a place that can be written",
    errno.EIO: "the disk is damaged; name a place on another one",
}
# How libraries in Rust say what the system's error was; and what numpy's `tofile` says, of whatever error.
_NUMBER = re.compile(r"(?:os error |code: )(\d+)")
_CUT_SHORT = re.compile(r"requested and \d+ written")


def located(path: str | os.PathLike) -> Path:
    """The absolute path without links on the way to it; a link at its end stays one."""
    path = Path(path)
    if path.name in ("", ".."):
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent), path.name)


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder; false on a file system that is mounted read-only, for root, too."""
    return os.access(folder, os.W_OK | os.X_OK)


def check_target(path: str | os.PathLike, needed: int = 0) -> Path:
    """The path, once it is sure that something can be written there, and be moved into place.

    Folders above it that don't exist are made when it is written.

    Args:
        path: of a file or folder.
        needed: bytes that are to be written, as far as that is known.

    Raises:
        ValueError: a name that can't be one: too long, or not UTF-8.
        NotADirectoryError: something above it is a file.
        PermissionError: its folder can't be written.
        OSError: too little room on the disk.
    """
    above = _folder_above(path)
    _check_writable(path, above)
    check_space(path, needed)
    return Path(path)


def check_workspace(path: str | os.PathLike, needed: int = 0) -> Path:
    """The path of a folder that a command writes into and may go on in, once it is sure that it can.

    Args:
        path: of the folder; it needn't exist.
        needed: bytes that are to be written, as far as that is known.

    Raises:
        FileExistsError: it is a file, or a link to nothing.
        PermissionError: it can't be written.
        ValueError, OSError: as `check_target`.
    """
    above, folder = _folder_above(path), Path(path)
    check_no_file(folder)
    _check_writable(path, folder if folder.is_dir() else above)
    check_space(path, needed)
    return folder


def check_no_file(folder: Path) -> None:
    """That a path is free, or a folder's.

    Raises:
        FileExistsError: it isn't.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        kind = "a link to nothing" if folder.is_symlink() else "a file"
        raise FileExistsError(f"The output folder {folder} is {kind}; name a folder.")


def _folder_above(path: str | os.PathLike) -> Path:
    """The nearest folder above a path that exists, once it is sure that names can lie there."""
    path = Path(path)
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    if any("\ud800" <= character <= "\udfff" for character in str(path)):
        raise ValueError(f"The output {shown} has a name that is not UTF-8; name another.")
    try:
        target = located(path)
        above = next(folder for folder in target.parents if os.path.lexists(folder))
        longest = os.pathconf(above, "PC_NAME_MAX") if above.is_dir() and hasattr(os, "pathconf") else 255
    except OSError as error:
        raise type(error)(f"The output {shown} can't be written: {error.strerror}.") from error
    too_long = [part for part in target.relative_to(above).parts if len(os.fsencode(part)) > longest]
    if too_long or len(os.fsencode(target)) + _EXTRA_NAME_BYTES >= 4096:
        raise ValueError(f"The output {shown:.60}... has too long a name (at most {longest} bytes); name another.")
    if not above.is_dir():
        raise NotADirectoryError(
            f"The output {shown} can't be written: {above} is a file, not a folder; name another."
        )
    return above


def _check_writable(path: str | os.PathLike, folder: Path) -> None:
    if not is_writable(folder):
        raise PermissionError(
            f"The output {path} can't be written: the folder {folder} is read-only for you; name another place, or get "
            "write access."
        )


def check_space(path: str | os.PathLike, needed: int, what: str = "The output") -> None:
    """That a disk has room for so many bytes.

    Args:
        path: of what is to be written.
        needed: bytes.
        what: it is, for the error.

    Raises:
        OSError: it hasn't; says how much is needed and how much is free.
    """
    target = located(path)
    folder = next(folder for folder in target.parents if folder.is_dir())
    free = shutil.disk_usage(folder).free
    if free < max(needed, _LEAST_FREE):
        about = f"about {_bytes(needed)} are needed, but " if needed >= _LEAST_FREE else ""
        raise _os_error(
            errno.ENOSPC,
            f"{what} {path} can't be written: {about}the disk has {_bytes(free)} free; {_MAKE_ROOM}.",
        )


def check_replaceable(output: str | os.PathLike, inputs: Iterable[str | os.PathLike]) -> None:
    """That a folder can give its place to a new one without loss.

    Raises:
        ValueError: it is the working folder or holds it, or an input is the output or lies in it.
    """
    target = Path(os.path.realpath(output))
    here = _working_folder()
    if here is not None and (target == here or target in here.parents):
        what = "the folder that the command runs in" if target == here else "a folder above the working folder"
        raise ValueError(f"The output {str(output)!r} is {what}, which can't be replaced; name a new folder.")
    for name in inputs:
        if not os.path.exists(name):  # a Hub id
            continue
        place = Path(os.path.realpath(name))
        if place == target or target in place.parents:
            where = "is also read" if place == target else f"holds {name}, which is read"
            raise ValueError(
                f"The output {output} {where}; what lies there would be lost. Name another output folder."
            )


def check_output_file(path: str | os.PathLike) -> Path:
    """The path of a file to write or replace, once it is sure that it can be written.

    Raises:
        FileNotFoundError: its folder doesn't exist.
        IsADirectoryError: it is a folder.
        ValueError, OSError: as `check_target`.
    """
    file = check_target(path)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; name a file.")
    if not file.absolute().parent.is_dir():
        raise FileNotFoundError(f"The folder {file.absolute().parent} does not exist; create it first.")
    return file


@contextmanager
def writing_to(path: str | os.PathLike) -> Iterator[None]:
    """Makes one kind of error of those that a full or failing disk gives, with the output's name rather than a hidden one.

    Raises:
        OSError: what is written to `path` can't be; says why, and what to do.
    """
    try:
        yield
    except Exception as error:
        number, remedy = _why(error)
        if remedy is None:
            raise
        raise _os_error(
            number,
            f"{path} could not be written: {os.strerror(number)}; {remedy}. What was there before is as it was.",
        ) from error


def remedy_of(error: BaseException) -> str | None:
    """What to do about a full or failing disk, whatever library met it; None for other errors, and those that say it."""
    remedy = _why(error)[1]
    return None if remedy is None or remedy in str(error) else remedy


def _why(error: BaseException) -> tuple[int | None, str | None]:
    """The system's number of an error and what to do about it, of those that a full or failing disk gives."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (said := _NUMBER.search(str(error))):
        number = int(said[1])
    elif number is None and _CUT_SHORT.search(str(error)):
        number = errno.ENOSPC
    return number, _REMEDIES.get(number)


def _os_error(number: int, message: str) -> OSError:
    """One whose text is the message alone."""
    error = OSError(message)
    error.errno = number
    return error


def follow_umask(*paths: Path) -> None:
    """Gives files, folders and all in them the permissions that new ones have, links left alone.

    Libraries make some files for the owner only, whatever the umask says.
    """
    hidden = os.umask(0o077)
    os.umask(hidden)
    for path in paths:
        found = os.lstat(path).st_mode
        wanted = (0o777 if stat.S_ISDIR(found) else 0o666) & ~hidden
        if not stat.S_ISLNK(found) and found & 0o777 != wanted:
            os.chmod(path, wanted | stat.S_IMODE(found) & ~0o777)
        if stat.S_ISDIR(found):
            follow_umask(*path.iterdir())


def _working_folder() -> Path | None:
    try:
        return Path(os.path.realpath(os.getcwd()))
    except FileNotFoundError:  # removed meanwhile
        return None


def _bytes(size: float) -> str:
    for unit, length in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= length:
            return f"{size / length:,.1f} {unit}"
    return f"{size:,.0f} bytes"
