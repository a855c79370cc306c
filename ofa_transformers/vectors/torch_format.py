"""Torch files (.pt, .pth) with words and a matrix, read with `weights_only`: nothing in them can run."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..utils.reading import in_one_line, reading


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
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read by torch ({in_one_line(error)}); it is damaged or not a torch file, download it again."
        ) from error
    with reading(f"{path} does not hold words and vectors as read_torch takes them; save them again", path):
        return _columns(path, content)


def _columns(path: Path, content: Any) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    if isinstance(content, Sequence) and len(content) == 4 and isinstance(content[1], dict):
        content = {"words": content[0], "vectors": content[2]}
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a dictionary with words and vectors.")
    words, matrix = _part(path, content, WORDS, "words"), _part(path, content, MATRICES, "vectors")
    if isinstance(words, dict):
        words = sorted(words, key=words.__getitem__)
    if not _are_strings(words):
        raise ValueError(f"{path}: the words are not a list of strings; save them as one.")
    "".join(words).encode()  # half a surrogate pair can't be saved
    if not _is_plain(matrix) or matrix.ndim != 2 or not matrix.is_floating_point():
        raise ValueError(
            f"{path}: the vectors are {_described(matrix)}, not a matrix of dense floating point numbers; convert them "
            "(to_dense, dequantize, float) and save them again."
        )
    if len(matrix) != len(words):
        raise ValueError(f"{path}: {len(words)} words, but vectors of shape {tuple(matrix.shape)}.")
    languages, counts = _part(path, content, LANGUAGES), _part(path, content, COUNTS)
    if languages is not None and not _are_strings(languages):
        raise ValueError(f"{path}: the languages are not a list of strings; save them as one, or leave them out.")
    if counts is not None:
        if isinstance(counts, torch.Tensor) and not _is_plain(counts):
            raise ValueError(f"{path}: the frequencies are {_described(counts)}; save them as a list of numbers.")
        counts = np.asarray(counts.tolist() if isinstance(counts, torch.Tensor) else counts, dtype=np.float32)
        if counts.ndim != 1:
            raise ValueError(f"{path}: the frequencies have the shape {counts.shape}; save them as a list of numbers.")
    for name, part in [("languages", languages), ("frequencies", counts)]:
        if part is not None and len(part) != len(words):
            raise ValueError(f"{path}: {len(words)} words, but {len(part)} {name}; each word needs one.")
    keys = list(words) if languages is None else [f"{code}:{word}" for code, word in zip(languages, words)]
    return keys, matrix.detach().to(torch.float32).numpy(), counts


def _are_strings(part: Any) -> bool:
    return isinstance(part, Sequence) and not isinstance(part, str) and all(isinstance(item, str) for item in part)


def _is_plain(tensor: Any) -> bool:
    """Whether it is a dense tensor whose numbers are there."""
    if not isinstance(tensor, torch.Tensor):
        return False
    return (
        tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_complex() and not tensor.is_meta
    )


def _described(part: Any) -> str:
    if not isinstance(part, torch.Tensor):
        return f"a {type(part).__name__}"
    layout = "" if part.layout is torch.strided else f"{str(part.layout).removeprefix('torch.')} "
    return f"a {layout}tensor of {str(part.dtype).removeprefix('torch.')} of shape {tuple(part.shape)}"


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
