"""`ofa push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Message, Private, Repository, Revision, Token, gibibytes, note, quiet_unless_interactive


def push(
    folder: Annotated[
        Path, typer.Argument(help="A checkpoint: what ofa adapt or a training wrote.", show_default=False)
    ],
    repo_id: Repository,
    private: Private = None,
    revision: Revision = None,
    token: Token = None,
    message: Message = "Model adapted with OFA",
) -> None:
    """Upload a checkpoint to the Hub. Run it again to resume an upload that broke off.

    Example: ofa push adapted my-name/xlm-r-zulu --private
    """
    from ..report import card_of_folder
    from ..tokenization.saving import check_saved_tokenizer
    from ..utils.files import visible_files
    from ..utils.hub import CARD_FILE, files_to_push, push_folder

    quiet_unless_interactive()
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} is no checkpoint: it has no config.json. Name a folder that holds a model.")
    check_saved_tokenizer(folder)
    if not (folder / CARD_FILE).is_file():
        card_of_folder(folder).save(folder / CARD_FILE)
        note(f"{folder / CARD_FILE} is new: a training left no card. Say in it what the model was trained on.")
    files = files_to_push(folder)
    address = push_folder(folder, repo_id, private=private, token=token, revision=revision, commit_message=message)
    typer.echo(f"Pushed: {address}")
    for path in files:
        typer.echo(f"  {path.relative_to(folder)} ({gibibytes(path.stat().st_size)})")
    behind = [str(path.relative_to(folder)) for path in visible_files(folder) if path not in files]
    if behind:
        shown = ", ".join(behind[:10]) + (f" and {len(behind) - 10} more" if len(behind) > 10 else "")
        typer.echo(f"Left behind, as no part of a model: {shown}")
