"""Labels of segments, as verses, onto their texts in many languages."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers.utils import logging

from ...utils.provenance import named_with_checksum
from ..corpus import language_of
from ..lines import numbered_lines
from ..parallel import read_segments
from .examples import Examples, LabelledData
from .files import SPLITS, find_languages
from .formats import stem_and_ending


logger = logging.get_logger(__name__)


def project_labels(
    labels: str | os.PathLike,
    parallel: str | os.PathLike | Mapping[str, str | os.PathLike],
    *,
    languages: Sequence[str] | None = None,
    label_column: str = "label",
    split_column: str = "split",
) -> LabelledData:
    """Labels of segments (verses) onto their texts in many languages, as Taxi1500 does (Ma et al., 2023).

    Args:
        labels: a .tsv file whose first line names the columns; the first one is the segment's id.
        parallel: language -> file of `id<TAB>text` lines; or a folder of such files (.tsv, optionally packed) whose names
            begin with the language. Where it has `eng_Latn.tsv` beside `eng_Latn-KJV.tsv`, the latter, a second text of
            that language, is only read if `languages` names it (`eng_Latn-KJV`).
        languages: read only these, by name (deu_Latn) or code (deu); default: all that have a labelled text in each split.
        label_column, split_column: in `labels`. The splits are train, dev (or validation) and test.

    Returns:
        The texts with their labels. A segment that a language lacks is left out there.

    Raises:
        FileNotFoundError: a file or folder that isn't there.
        ValueError: a malformed line, a segment with two labels, a split of another name, a language that isn't there or
            (if it was named) lacks a split.
    """
    segments = _read_segment_labels(Path(labels), label_column, split_column)
    wanted_splits = {split for _, split, _ in segments.values()}
    if isinstance(parallel, Mapping):
        files = {language: Path(file) for language, file in parallel.items()}
    else:
        files = _parallel_files(Path(parallel), languages)
    name, labels_data = Path(labels).resolve().parent.name, named_with_checksum(Path(labels))
    chosen = find_languages(languages, files, name)
    examples: dict[str, dict[str, Examples]] = {}
    left_out = []
    for language in chosen:
        file = files[language]
        if not file.is_file():
            raise FileNotFoundError(f"The text of {language!r}, {file}, is not a file.")
        columns: dict[str, tuple[list, list, list]] = {}
        for identifier, text in read_segments(file):
            if identifier in segments and text.strip():
                label, split, line = segments[identifier]
                for column, value in zip(columns.setdefault(split, ([], [], [])), (text, label, line)):
                    column.append(value)
        if missing := wanted_splits - set(columns):
            if languages is not None:
                raise ValueError(
                    f"{file} has no text for any of the {', '.join(sorted(missing))} segments of {labels}; leave "
                    f"{language!r} out."
                )
            left_out.append(language)
            continue
        data = f"{labels_data} on {named_with_checksum(file)}"
        examples[language] = {
            split: Examples(texts, tags, str(labels), lines, f"{data}, {split}")
            for split, (texts, tags, lines) in columns.items()
        }
    if left_out:
        logger.warning(f"Without labelled texts in each split, and left out: {', '.join(left_out)}")
    if not examples:
        raise ValueError(f"No text in {parallel} has the ids of {labels}; are they of the same text?")
    return LabelledData("classification", name, examples)


def _read_segment_labels(path: Path, label_column: str, split_column: str) -> dict[str, tuple[str, str, int]]:
    """Segment id -> label, split, line."""
    if not path.is_file():
        raise FileNotFoundError(f"The labels {path} are not there.")
    segments: dict[str, tuple[str, str, int]] = {}
    names: list[str] | None = None
    for number, line in numbered_lines(path):
        fields = line.split("\t")
        if names is None:
            names = fields
            if missing := {label_column, split_column} - set(names[1:]):
                raise ValueError(
                    f"{path}: the first line must name the columns, after the id's {label_column!r} and "
                    f"{split_column!r}, but {', '.join(sorted(missing))} is missing in {line[:80]!r}."
                )
            continue
        row = dict(zip(names, fields))
        if len(fields) != len(names) or not all(row[name].strip() for name in (names[0], label_column)):
            raise ValueError(f"{path}, line {number}: expected {', '.join(names)}, but found {line[:80]!r}.")
        identifier, label, split = fields[0], row[label_column].strip(), row[split_column].strip()
        if split not in SPLITS:
            raise ValueError(f"{path}, line {number}: {split!r} is none of the splits {', '.join(SPLITS)}.")
        if identifier in segments:
            raise ValueError(
                f"{path}, line {number}: {identifier!r} has a label already, in line {segments[identifier][2]}."
            )
        segments[identifier] = (label, SPLITS[split], number)
    if not segments:
        raise ValueError(f"{path} has no labels.")
    return segments


def _parallel_files(folder: Path, languages: Sequence[str] | None) -> dict[str, Path]:
    """Language -> file of a folder; second texts of a language (eng_Latn-KJV) only where they are named."""
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder of parallel text {folder} is not there.")
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        stem, ending = stem_and_ending(file)
        if file.is_file() and ending == ".tsv" and _begins_with_language(stem):
            if stem in files:
                raise ValueError(f"{files[stem]} and {file} are both of {stem!r}; keep one of them.")
            files[stem] = file
    if not files:
        raise ValueError(f"No file in {folder} is named like deu_Latn.tsv.gz, of `id<TAB>text` lines.")
    return {
        stem: file
        for stem, file in files.items()
        if stem in (languages or ()) or stem == language_of(stem) or language_of(stem) not in files
    }


def _begins_with_language(stem: str) -> bool:
    try:
        language_of(stem)
    except ValueError:
        return False
    return True
