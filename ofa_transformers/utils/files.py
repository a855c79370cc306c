"""Outputs that appear whole or not at all; checksums of files."""

import hashlib
import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging

from .locks import locked, remove_lock_files
from .replacing import NEW, beside, claim, exchange, leftovers, remove, tidy
from .targets import (
    check_no_file,
    check_output_file,
    check_replaceable,
    check_target,
    follow_umask,
    located,
    writing_to,
)


_BLOCK_BYTES = 1 << 22
# Seconds to wait for another process that writes the same file.
_PATIENCE = 10.0


def check_output_folder(
    path: str | os.PathLike,
    overwrite: bool = False,
    *,
    inputs: Iterable[str | os.PathLike] = (),
    needed: int = 0,
) -> Path:
    """The folder as a path, once it is sure that it can be written, and that nothing would be lost by that.

    Args:
        path: of the folder.
        overwrite: whether what it holds may be replaced.
        inputs: what is read for it: files, folders, and names of the Hub, which are passed over.
        needed: bytes that are to be written, as far as that is known.

    Raises:
        FileExistsError: a file, or a folder with content while `overwrite` is False.
        ValueError: a name that can't be one, or a folder that holds one of `inputs`.
        OSError: it can't be written there, or the disk has too little room.
    """
    folder = check_target(path, needed)
    check_replaceable(path, inputs)
    check_no_file(folder)
    if folder.is_dir():
        occupied = folder.is_symlink() or any(folder.iterdir())
        if occupied and not overwrite:
            raise FileExistsError(
                f"The output folder {folder} exists and is not empty; name another folder, or pass overwrite=True "
                "(--overwrite) to replace it."
            )
    return folder


def free_name(path: str | os.PathLike) -> Path:
    """The path, or where something is there already, the first of path-2, path-3, ... that is free."""
    path = Path(path)
    names = itertools.chain([path], (path.with_name(f"{path.name}-{number}") for number in itertools.count(2)))
    return next(name for name in names if not os.path.lexists(name))


def visible_files(folder: str | os.PathLike) -> list[Path]:
    """The files in a folder and its folders, sorted, without hidden ones and the checkpoints of a training."""
    folder = Path(folder)
    found = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        passed_over = any(part.startswith(".") for part in parts) or parts[0].startswith("checkpoint-")
        if path.is_file() and not passed_over:
            found.append(path)
    return found


# What this process has begun: temporary files and folders -> their places, and folders made for them, inner ones first.
_unfinished: dict[Path, Path] = {}
_made: list[Path] = []


def remove_unfinished() -> None:
    """Removes what has been begun, for a process that ends without leaving the blocks that write."""
    for target in list(_unfinished.values()):
        tidy(target)
    remove_lock_files()
    _remove_empty(list(_made))


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # not empty
            break


@contextmanager
def reserved(path: str | os.PathLike) -> Iterator[None]:
    """Holds the lock of an output while the block runs, so that no other process writes there.

    The folders above it are made, and removed again where the block leaves nothing in them. What killed processes left
    beside it is tidied up.

    Raises:
        Busy: another process writes there.
    """
    target = located(path)
    missing = [folder for folder in target.parents if not folder.exists()]
    _made.extend(missing)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
            tidy(target)
            yield
    finally:
        _remove_empty(missing)
        _made[:] = [folder for folder in _made if folder not in missing]


@contextmanager
def new_folder(path: str | os.PathLike, overwrite: bool = False, *, needed: int = 0) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends well.

    Where the block fails (a full disk, an interrupt), the temporary folder is removed and what was at `path` survives.
    Its files get the permissions that new files have, by the umask. `path` is locked meanwhile.

    Raises:
        FileExistsError: see `check_output_folder`; or somebody else has filled the folder meanwhile, so that this one
            has gone to a free name beside it.
        Busy: another process writes there.
        OSError: the disk is full, or can't be written.
    """
    if located(path) in _unfinished:  # one in the other
        yield Path(path)
        return
    check_output_folder(path, overwrite, needed=needed)
    with reserved(path), writing_to(path):
        folder = check_output_folder(path, overwrite)  # under the lock, after what was left aside is back
        target = located(folder)
        temporary = beside(target, NEW)
        _unfinished[temporary] = target
        try:
            temporary.mkdir()
            yield temporary
            follow_umask(*temporary.iterdir())
            if overwrite and os.path.lexists(target):
                remove(exchange(temporary, target))
            else:
                _claim_or_keep(temporary, target)
        finally:
            remove(temporary)
            _unfinished.pop(temporary, None)


def _claim_or_keep(temporary: Path, target: Path) -> None:
    try:
        claim(temporary, target)
    except FileExistsError as error:
        kept = free_name(target)
        claim(temporary, kept)
        raise FileExistsError(f"{error}; what was made here is in {kept}.") from error


@contextmanager
def new_file(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, and is removed otherwise.

    What is no regular file (/dev/stdout, a named pipe) is written to instead; of a link, what it points to is replaced.

    Raises:
        FileNotFoundError, IsADirectoryError: its folder doesn't exist, or it is a folder.
        OSError: the disk is full, or can't be written.
    """
    file = check_output_file(path)
    if (file.exists() and not file.is_file()) or Path("/dev") in file.absolute().parents:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder, "content")
            with writing_to(file), open(Path(folder, "content"), "rb") as content, open(file, "wb") as stream:
                shutil.copyfileobj(content, stream)
        return
    target = Path(os.path.realpath(file))
    with locked(target, _PATIENCE), writing_to(file):
        for path in leftovers(target, NEW):
            remove(path)
        temporary = beside(target, NEW)
        _unfinished[temporary] = target
        try:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            mode = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            temporary.chmod(mode)
            os.replace(temporary, target)
        finally:
            remove(temporary)
            _unfinished.pop(temporary, None)


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal digits; read in blocks."""
    path = Path(path)
    checksum = hashlib.sha256()
    size = path.stat().st_size
    with (
        open(path, "rb") as file,
        logging.tqdm(
            total=size, unit="B", unit_scale=True, desc=f"Checksum of {path.name}", delay=2, leave=False
        ) as bar,
    ):
        while block := file.read(_BLOCK_BYTES):
            checksum.update(block)
            bar.update(len(block))
    return checksum.hexdigest()
