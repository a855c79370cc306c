"""Held-out text by language, for measures of language models."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..utils.provenance import named_with_checksum
from .corpus import HubText, find_text
from .segments import read_ids, segment_files, text_by_id


def read_held_out(
    files: Sequence[str | os.PathLike] = (),
    datasets: Sequence[str] = (),
    *,
    ids: str | os.PathLike | Iterable[str] | None = None,
    column: str = "text",
    split: str = "test",
    max_texts: int | None = None,
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Texts of each language, and where they come from, for `evaluate_perplexity`.

    Args:
        files: as in `training.find_text`: text or Parquet files named by language, `LANGUAGE=FILE`, or folders of
            them. Each line is a text. With `ids`: files of `id<TAB>text` lines named by language, or folders of them.
        datasets: `LANGUAGE=ID` or `LANGUAGE=ID:CONFIG` of data sets on the Hub.
        ids: to use, or a file of them, one a line up to the first tab: the verses that were held out.
        column: of Parquet files, data sets and .jsonl files.
        split: of the data sets.
        max_texts: of each language, from the first.

    Returns:
        language -> texts, and language -> the exact data.

    Raises:
        FileNotFoundError: a path that isn't there.
        ValueError: a file that is empty or without language, ids together with data sets or without any text.
        ImportError: the package `datasets` is missing.
    """
    if ids is not None:
        return _by_id(files, datasets, ids, max_texts)
    found = find_text(files, datasets, column=column, split=split)
    texts = {language: list(itertools.islice(text.lines(), max_texts)) for language, text in found.items()}
    data = {}
    for language, text in found.items():
        parts = [
            f"{part.name}, split {part.split}" if isinstance(part, HubText) else named_with_checksum(part.path)
            for part in text.parts
        ]
        data[language] = " and ".join(parts)
    return texts, data


def _by_id(
    files: Sequence[str | os.PathLike],
    datasets: Sequence[str],
    ids: str | os.PathLike | Iterable[str],
    max_texts: int | None,
) -> tuple[dict[str, list[str]], dict[str, str]]:
    if datasets:
        raise ValueError("ids are of files with `id<TAB>text` lines; leave them out with data sets.")
    wanted = read_ids(ids)
    suffix = f", ids of {named_with_checksum(Path(ids))}" if isinstance(ids, (str, os.PathLike)) else ""
    texts, data = {}, {}
    for language, path in segment_files(files, ids).items():
        texts[language] = list(text_by_id(path, wanted).values())[:max_texts]
        if not texts[language]:
            raise ValueError(f"{path} has no text with one of the ids; leave it out, or name other ids.")
        data[language] = named_with_checksum(path) + suffix
    if not texts:
        raise ValueError(f"No file of {', '.join(map(str, files))} is named like deu_Latn.tsv.gz.")
    return texts, data
