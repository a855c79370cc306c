"""Torch files (.pt, .pth) with words and a matrix, read with `weights_only`: nothing in them can run."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch


# By which names the parts go, the first that is there.
WORDS = ("words", "keys", "index_to_key", "itos", "vocab", "tokens")
MATRICES = ("vectors", "matrix", "embeddings", "weight")
LANGUAGES = ("languages",)
COUNTS = ("frequencies", "counts")


def read_torch(path: Path) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """Keys, vectors (N, d) float32 and counts (or None) of a file that `torch.save` wrote.

    It holds a dictionary with a list of N words (or a dictionary from words to their rows) and a matrix (N, d), and
    can have a list of N languages and N frequencies; or torchtext's tuple (itos, stoi, vectors, dim).

    Raises:
        ValueError: it holds something else, or anything but tensors, numbers, strings and their lists and
            dictionaries.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors, numbers, strings, and lists and dictionaries of them, which could run "
            "code when it is loaded. Where you trust it, load it with the code that wrote it, and save "
            "{'words': [...], 'vectors': tensor} with torch.save, or build WordVectors(words, languages, vectors)."
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read by torch ({error}); it is damaged or not a torch file.") from error
    if isinstance(content, Sequence) and len(content) == 4 and isinstance(content[1], dict):
        content = {"words": content[0], "vectors": content[2]}
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a dictionary with words and vectors.")
    words, matrix = _part(path, content, WORDS, "words"), _part(path, content, MATRICES, "vectors")
    if isinstance(words, dict):
        words = sorted(words, key=words.__getitem__)
    if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{path}: the words are not a list of strings.")
    if not isinstance(matrix, torch.Tensor) or matrix.ndim != 2 or not matrix.is_floating_point():
        raise ValueError(f"{path}: the vectors are not a matrix of floating point numbers.")
    if len(matrix) != len(words):
        raise ValueError(f"{path}: {len(words)} words, but vectors of shape {tuple(matrix.shape)}.")
    languages, counts = _part(path, content, LANGUAGES), _part(path, content, COUNTS)
    for name, part in [("languages", languages), ("frequencies", counts)]:
        if part is not None and len(part) != len(words):
            raise ValueError(f"{path}: {len(words)} words, but {len(part)} {name}.")
    keys = list(words) if languages is None else [f"{code}:{word}" for code, word in zip(languages, words)]
    counts = None if counts is None else np.asarray(counts, dtype=np.float32)
    return keys, matrix.detach().to(torch.float32).numpy(), counts


def _part(path: Path, content: dict[Any, Any], names: tuple[str, ...], needed: str | None = None) -> Any:
    for name in names:
        if name in content:
            return content[name]
    if needed is None:
        return None
    found = ", ".join(map(repr, list(content)[:8])) or "nothing"
    raise ValueError(
        f"{path} has no {needed} under any of the names {', '.join(map(repr, names))}, but {found}; save "
        "{'words': [...], 'vectors': tensor} with torch.save."
    )
