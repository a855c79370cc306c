"""`ofa push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Message, Private, Repository, Revision, Token, quiet_unless_interactive


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
    from ..utils.hub import push_folder

    quiet_unless_interactive()
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} is no checkpoint: it has no config.json. Name a folder that holds a model.")
    address = push_folder(folder, repo_id, private=private, token=token, revision=revision, commit_message=message)
    typer.echo(f"Pushed: {address}")
