"""Labels of segments, as verses, onto their texts in many languages."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers.utils import logging

from ...utils.provenance import named_with_checksum
from ..file_names import SPLITS
from ..lines import numbered_lines
from ..segments import segment_files, text_by_id
from .examples import Examples, LabelledData
from .files import find_languages


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
        parallel: language -> file of `id<TAB>text` lines; or a folder of such files (optionally packed) whose names
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
        if not Path(parallel).is_dir():
            raise FileNotFoundError(f"The folder of parallel text {parallel} is not there.")
        files = segment_files(parallel, also=languages or ())
        if not files:
            raise ValueError(f"No file in {parallel} is named like deu_Latn.tsv.gz, of `id<TAB>text` lines.")
    name, labels_data = Path(labels).resolve().parent.name, named_with_checksum(Path(labels))
    chosen = find_languages(languages, files, name)
    examples: dict[str, dict[str, Examples]] = {}
    left_out = []
    for language in chosen:
        file = files[language]
        if not file.is_file():
            raise FileNotFoundError(f"The text of {language!r}, {file}, is not a file.")
        columns: dict[str, tuple[list, list, list]] = {}
        for identifier, text in text_by_id(file, segments).items():
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
            raise ValueError(f"{path}, line {number}: {split!r:.80} is none of the splits {', '.join(SPLITS)}.")
        if identifier in segments:
            raise ValueError(
                f"{path}, line {number}: {identifier!r:.80} has a label already, in line {segments[identifier][2]}."
            )
        segments[identifier] = (label, SPLITS[split], number)
    if not segments:
        raise ValueError(f"{path} has no labels.")
    return segments
