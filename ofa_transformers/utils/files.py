"""Outputs that appear whole or not at all; checksums of files."""

import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging


_BLOCK_BYTES = 1 << 22


def check_output_folder(path: str | os.PathLike, overwrite: bool = False) -> Path:
    """The folder as a path, once it is sure that nothing would be lost by writing there.

    Raises:
        FileExistsError: a file, or a folder with content while `overwrite` is False.
    """
    folder = Path(path)
    if folder.is_dir() and not folder.is_symlink():
        occupied = any(folder.iterdir())
    else:
        occupied = folder.exists() or folder.is_symlink()
    if occupied and not (overwrite and folder.is_dir()):
        remedy = (
            "name another folder, or pass overwrite=True (--overwrite) to replace it"
            if folder.is_dir()
            else "name a folder"
        )
        raise FileExistsError(f"The output folder {folder} exists and is not empty; {remedy}.")
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


# Temporary files and folders that are being written.
_unfinished: set[Path] = set()


def remove_unfinished() -> None:
    """Removes what is being written, for a process that ends without leaving the blocks that write."""
    for path in list(_unfinished):
        path.unlink(missing_ok=True) if path.is_file() else shutil.rmtree(path, ignore_errors=True)


@contextmanager
def new_folder(path: str | os.PathLike, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends well.

    Where the block fails (a full disk, an interrupt), the temporary folder is removed and what was at `path` survives.

    Raises:
        FileExistsError: see `check_output_folder`.
    """
    folder = check_output_folder(path, overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.new.", dir=folder.parent))
    _unfinished.add(temporary)
    try:
        temporary.chmod(0o755)  # mkdtemp keeps others out
        yield temporary
        if not folder.exists():
            os.replace(temporary, folder)
            return
        retired = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent)) / folder.name
        os.replace(folder, retired)
        try:
            os.replace(temporary, folder)
        except OSError:
            os.replace(retired, folder)
            retired.parent.rmdir()
            raise
        # Only now, with the new one in its place, the old one may go.
        shutil.rmtree(retired.parent, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _unfinished.discard(temporary)


@contextmanager
def new_file(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, and is removed otherwise."""
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; name a file.")
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.new.", dir=file.parent)
    os.close(handle)
    temporary = Path(name)
    _unfinished.add(temporary)
    try:
        temporary.chmod(0o644)  # mkstemp keeps others out
        yield temporary
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)


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
