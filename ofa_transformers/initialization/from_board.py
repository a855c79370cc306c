"""The arguments of an initialisation that a comparison (`ofa compare`) has found to be the best."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..text.held_out import read_held_out
from ..text.parallel import read_segments_by_id
from ..utils.reading import read_json, record_of


_REMEDY = "name a folder that `ofa compare` finished"


@dataclass(frozen=True)
class _Found:
    """What board.json holds of a comparison, as far as it is read here."""

    best: str
    candidates: dict[str, dict[str, Any]]
    inputs: dict[str, Any]


@dataclass(frozen=True)
class _Inputs:
    source: str
    target_tokenizer: str
    word_vectors: str | None
    donor: str | None
    source_languages: list[str] | None
    files: dict[str, Any]


@dataclass(frozen=True)
class _Files:
    text: list[str] = field(default_factory=list)
    parallel: list[str] = field(default_factory=list)
    pivot: str = "eng"


def arguments_of(board: str | os.PathLike, candidate: str) -> tuple[str, dict[str, Any]]:
    """The source, and the other arguments of `OfaInitializer.from_pretrained`.

    Raises:
        FileNotFoundError: the folder holds no board.json.
        ValueError: a board that is damaged, no candidate of that name, or a board whose text didn't come from files.
    """
    file = Path(board) / "board.json"
    if not file.is_file():
        raise FileNotFoundError(f"{board} holds no board.json; {_REMEDY}.")
    found = record_of(_Found, read_json(file, _REMEDY), str(file), _REMEDY)
    name = found.best if candidate == "best" else candidate
    if name not in found.candidates:
        names = ", ".join(name if len(name) <= 80 else f"{name[:80]}…" for name in found.candidates)
        raise ValueError(f"candidate is {candidate!r}, but must be 'best' or one of {names}, as {file} has them.")
    inputs = asdict(record_of(_Inputs, found.inputs, f"{file}, inputs", _REMEDY))
    files = asdict(record_of(_Files, inputs["files"], f"{file}, files", _REMEDY))
    if not files["text"]:
        raise ValueError(f"{board} was made of text without files; pass its settings to from_pretrained yourself.")
    options = {key: inputs[key] for key in ("target_tokenizer", "word_vectors", "donor", "source_languages")}
    options["target_text"] = [line for lines in read_held_out(files["text"])[0].values() for line in lines]
    if files["parallel"]:
        texts = read_segments_by_id(files["parallel"], pivot=files["pivot"])
        options["parallel_text"] = [pair for text in texts for pair in zip(text.translations, text.texts)]
    return inputs["source"], {**options, **found.candidates[name]}
