"""Labelled sentences of many languages, from files and the Hub."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers.utils import logging

from ...utils.provenance import named_with_checksum
from ..corpus import require_datasets
from ..file_names import SPLITS, language_and_split, named_dataset
from ..language_groups import called
from .examples import Examples, Kind, LabelledData
from .formats import ENDINGS, columns_of, from_rows, read_classified, read_tagged, stem_and_ending


logger = logging.get_logger(__name__)


def read_labelled_files(
    paths: Sequence[str | os.PathLike] | Mapping[str, Mapping[str, str | os.PathLike]],
    kind: Kind,
    *,
    languages: Sequence[str] | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
) -> LabelledData:
    """Reads files, plain, gzip or zstd (extra `zstd`), each of one language and split.

    Words with tags are

    - CoNLL: a word a line, with spaces or tabs between its columns, the word first and the tag last; a blank line
      after each sentence. Words like `en:word` throughout a file (WikiANN's) lose the language;
    - CoNLL-U, told by its ten columns: FORM and UPOS of the syntactic words;
    - .jsonl: one sentence a line, with a list of words and one of tags.

    Tags of entities may be IOB1, IOB2, IOBES or BILOU, and come out as IOB2. Texts with labels are

    - .tsv or .csv with a first line that names the columns; or .tsv of three columns without it, which are id, label and
      text (as in Taxi1500);
    - .jsonl: one text a line.

    Args:
        paths: files whose names tell language and split (`swa.train.conll.gz`, `en_ewt-ud-test.conllu`,
            `deu_Latn_dev.tsv`, `train-en.tsv`, `en/test`), folders of such files or of folders of them; or
            language -> split -> file.
        kind: "classification" or "tagging".
        languages: read only these, by name (deu_Latn) or code (deu).
        text_column: with the text, or the words; default: text or sentence, or tokens or words.
        label_column: with the label, or the tags; default: label or labels, or ner_tags, upos, pos_tags or tags.

    Raises:
        FileNotFoundError: a path that doesn't exist.
        ValueError: a name without language or split, two files of the same, an empty or malformed file (file and line
            are named), a tag without word or label without text, tags of several schemes, a language that isn't there.
    """
    found: dict[str, dict[str, Path]] = {}
    if isinstance(paths, Mapping):
        found = {language: {split: Path(file) for split, file in of.items()} for language, of in paths.items()}
        folders = [file.parent for of in found.values() for file in of.values()]
    else:
        paths = [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(path) for path in paths]
        for path in paths:
            for language, split, file in _named_files(path, kind):
                other = found.setdefault(language, {}).setdefault(split, file)
                if other != file:
                    raise ValueError(f"{other} and {file} are both {split} of {language!r}; name one of them.")
        folders = [path if path.is_dir() else path.parent for path in paths]
    name = ", ".join(dict.fromkeys(folder.resolve().name for folder in folders))
    chosen = find_languages(languages, found, name)
    for file in (file for of in found.values() for file in of.values()):
        if not file.is_file():
            raise FileNotFoundError(f"The labelled sentences {file} are not there.")
    read = read_tagged if kind == "tagging" else read_classified
    return LabelledData(
        kind,
        name,
        {
            language: {
                split: replace(read(file, text_column, label_column), data=named_with_checksum(file))
                for split, file in found[language].items()
            }
            for language in chosen
        },
    )


def read_labelled_datasets(
    datasets: Sequence[str],
    kind: Kind,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    revision: str | None = None,
) -> LabelledData:
    """Reads data sets of the Hub, or folders that `datasets` loads. Remote code is never run.

    Args:
        datasets: `LANGUAGE=ID` or `LANGUAGE=ID:CONFIG` for each language, as `swa=masakhane/masakhaner2:swa`.
        kind: "classification" or "tagging".
        text_column, label_column: as in `read_labelled_files`. Numbers become the names that the data set's features
            have for them.
        revision: of the data sets.

    Raises:
        ImportError: the package `datasets` is missing.
        ValueError: as in `read_labelled_files`.
    """
    require_datasets()
    from datasets import get_dataset_split_names, load_dataset

    examples: dict[str, dict[str, Examples]] = {}
    names = []
    for value in datasets:
        language, identifier, config = named_dataset(value)
        if language in examples:
            raise ValueError(f"There are two data sets of {language!r}; name one of them.")
        names.append(Path(identifier).name if Path(identifier).exists() else identifier)
        splits = get_dataset_split_names(identifier, config, revision=revision)
        examples[language] = {}
        for split in (split for split in splits if split in SPLITS):
            dataset = load_dataset(identifier, config, split=split, revision=revision)
            origin = f"{identifier}{f' {config}' if config else ''}, split {split}"
            text, label = columns_of(dataset.column_names, kind, text_column, label_column, origin)
            feature = dataset.features[label]
            classes = getattr(getattr(feature, "feature", feature), "names", None)
            rows = enumerate(dataset.select_columns([text, label]), 1)
            read = from_rows(rows, kind, text, label, origin, classes)
            examples[language][SPLITS[split]] = replace(read, data=origin)
        if not examples[language]:
            raise ValueError(f"{identifier} has no train, validation or test split, but {', '.join(splits)}.")
    if not examples:
        raise ValueError("No data sets: name at least one, as LANGUAGE=ID.")
    return LabelledData(kind, ", ".join(dict.fromkeys(names)), examples)


def find_languages(languages: Sequence[str] | None, found: Mapping[str, Any], name: str) -> list[str]:
    """Of what was found, the languages that were named, by name or code; all by default, sorted.

    Raises:
        ValueError: nothing was found, or one that was named wasn't.
    """
    if not found:
        raise ValueError(f"{name}: no labelled sentences; name files or folders.")
    if languages is None:
        return sorted(found)
    if missing := [language for language in languages if not called(language, found)]:
        raise ValueError(f"{name} has no file of {', '.join(missing)}; it has {', '.join(sorted(found))}.")
    return list(dict.fromkeys(match for language in languages for match in called(language, sorted(found))))


def _named_files(path: Path, kind: Kind) -> Iterator[tuple[str, str, Path]]:
    """(language, split, file) of a file, or of the files in a folder and its folders."""
    if path.is_file():
        named = _language_and_split(path, kind)
        if named is None:
            raise ValueError(
                f"The name of {path} doesn't tell language and split, as swa.train.conll or train-en.tsv would, with "
                f"one of the endings {', '.join(ENDINGS[kind])}; rename it, or pass language -> split -> file."
            )
        yield *named, path
        return
    if not path.is_dir():
        raise FileNotFoundError(f"The labelled sentences {path} are not there.")
    files = [file for file in sorted([*path.glob("*"), *path.glob("*/*")]) if file.is_file()]
    named = [(file, _language_and_split(file, kind)) for file in files if not file.name.startswith(".")]
    if not any(found for _, found in named):
        raise ValueError(
            f"No file in {path} has a name that tells language and split, as swa.train.conll or train-en.tsv would."
        )
    if unnamed := [file.name for file, found in named if not found and stem_and_ending(file)[1] in ENDINGS[kind]]:
        logger.warning(f"{path}: passed over {', '.join(unnamed)}, whose names don't tell language and split")
    yield from ((*found, file) for file, found in named if found)


def _language_and_split(path: Path, kind: Kind) -> tuple[str, str] | None:
    stem, ending = stem_and_ending(path)
    if ending not in (*ENDINGS[kind], "") or (kind == "classification" and not ending):
        return None
    found = language_and_split(stem)
    return None if found is None else (found[0] or path.resolve().parent.name, found[1])
