"""The arguments of an initialisation that a comparison (`ofa compare`) has found to be the best."""

import json
import os
from pathlib import Path
from typing import Any

from ..text.held_out import read_held_out
from ..text.parallel import read_segments_by_id


def arguments_of(board: str | os.PathLike, candidate: str) -> tuple[str, dict[str, Any]]:
    """The source, and the other arguments of `OfaInitializer.from_pretrained`.

    Raises:
        FileNotFoundError: the folder holds no board.json.
        ValueError: no candidate of that name, or a board whose text didn't come from files.
    """
    file = Path(board) / "board.json"
    if not file.is_file():
        raise FileNotFoundError(f"{board} holds no board.json; name a folder that `ofa compare` finished.")
    found = json.loads(file.read_text(encoding="utf-8"))
    name = found["best"] if candidate == "best" else candidate
    if name not in found["candidates"]:
        raise ValueError(f"candidate is {candidate!r}, but must be 'best' or one of {', '.join(found['candidates'])}.")
    inputs = found["inputs"]
    files = inputs["files"]
    if not files.get("text"):
        raise ValueError(f"{board} was made of text without files; pass its settings to from_pretrained yourself.")
    options = {key: inputs[key] for key in ("target_tokenizer", "word_vectors", "donor", "source_languages")}
    options["target_text"] = [line for lines in read_held_out(files["text"])[0].values() for line in lines]
    if files["parallel"]:
        texts = read_segments_by_id(files["parallel"], pivot=files["pivot"])
        options["parallel_text"] = [pair for text in texts for pair in zip(text.translations, text.texts)]
    return inputs["source"], {**options, **found["candidates"][name]}
