"""`ofa push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def push(
    folder: Annotated[
        Path, typer.Argument(help="A checkpoint: what ofa adapt or a training wrote.", show_default=False)
    ],
    repo_id: Annotated[str, typer.Argument(help="USER/NAME on the Hub, created if need be.", show_default=False)],
    private: Annotated[
        bool | None,
        typer.Option("--private/--public", help="Of a new repository.", show_default="as the account is set"),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, created if need be.", show_default="main")] = None,
    token: Annotated[
        str | None,
        typer.Option(help="Of the Hub, with write access.", envvar="HF_TOKEN", show_default="that of hf auth login"),
    ] = None,
    message: Annotated[str, typer.Option("--message", "-m", help="Of the commit.")] = "Model adapted with OFA",
) -> None:
    """Upload a checkpoint to the Hub. Run it again to resume an upload that broke off.

    Example: ofa push adapted my-name/xlm-r-zulu --private
    """
    from ..hub import push_folder
    from .options import quiet_unless_interactive

    quiet_unless_interactive()
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} is no checkpoint: it has no config.json. Name a folder that holds a model.")
    address = push_folder(folder, repo_id, private=private, token=token, revision=revision, commit_message=message)
    typer.echo(f"Pushed: {address}")
