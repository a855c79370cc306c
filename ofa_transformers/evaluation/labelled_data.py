"""Labelled sentences of many languages: texts with a label each, or words with a tag each; from files and the Hub."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from transformers.utils import logging

from ..vectors.compression import COMPRESSED_SUFFIXES
from ..vectors.lines import numbered_lines
from .entities import ENTITY_TAG, to_iob2
from .provenance import named_with_checksum


logger = logging.get_logger(__name__)

Kind = Literal["classification", "tagging"]
Row = tuple[int, Mapping[str, Any]]

# How files and data sets call a split.
SPLITS = {name: name for name in ("train", "dev", "test")} | dict.fromkeys(("validation", "valid", "val"), "dev")
_SPLIT = "|".join(SPLITS)
# Languages and treebanks: swa, deu_Latn, en_ewt, zh-min-nan.
_LANGUAGE = r"[a-z]{2,3}(?:[_-]\w+?)*?"
_NAMES = (
    re.compile(rf"(?P<language>{_LANGUAGE})[._-](?:ud[._-])?(?P<split>{_SPLIT})"),
    re.compile(rf"(?P<split>{_SPLIT})[._-](?P<language>{_LANGUAGE})"),
    re.compile(rf"(?P<split>{_SPLIT})"),
)
_ENDINGS = {
    "classification": (".tsv", ".csv", ".jsonl"),
    "tagging": (".conll", ".conllu", ".iob", ".iob2", ".bio", ".tsv", ".txt", ".jsonl"),
}
_TEXT_COLUMNS = {"classification": ("text", "sentence"), "tagging": ("tokens", "words")}
_LABEL_COLUMNS = {"classification": ("label", "labels"), "tagging": ("ner_tags", "upos", "pos_tags", "tags")}
_CONLLU_COLUMNS = 10
_COMMENT = re.compile(r"# ?(?:[\w.]+ ?=|id\b|newdoc\b|newpar\b)")
_WIKIANN_PREFIX = re.compile(r"([a-z][a-z-]{1,11}):.")


@dataclass(frozen=True)
class Examples:
    """Labelled sentences of one language and split, in their order.

    Attributes:
        inputs: N texts; or N lists of words.
        labels: N labels; or N lists with the tag of each word, those of entities as IOB2.
        origin: the file or data set.
        lines: the line of the file, or row of the data set, of each label; nested like `labels`.
        data: for results: file names with checksums, or the data set.

    Raises:
        ValueError: there are none, or labels for more or fewer sentences or words than there are.
    """

    inputs: list[Any]
    labels: list[Any]
    origin: str
    lines: list[Any]
    data: str = ""

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError(f"{self.origin} has no labelled sentence; it is empty or of another format.")
        if not len(self.inputs) == len(self.labels) == len(self.lines):
            raise ValueError(
                f"{self.origin}: {len(self.inputs)} sentences, but {len(self.labels)} labels; each needs one."
            )
        for words, tags, lines in zip(self.inputs, self.labels, self.lines):
            if isinstance(words, list) and len(words) != len(tags):
                where = f"line {lines[0]}" if lines else "a sentence"
                raise ValueError(f"{self.origin}, {where}: {len(words)} words, but {len(tags)} tags; each needs one.")

    def __len__(self) -> int:
        return len(self.inputs)

    def select(self, numbers: Sequence[int]) -> Examples:
        """Those of the given numbers."""
        inputs, labels, lines = ([column[n] for n in numbers] for column in (self.inputs, self.labels, self.lines))
        return replace(self, inputs=inputs, labels=labels, lines=lines)

    def label_set(self) -> set[str]:
        """The labels that occur."""
        if self.labels and isinstance(self.labels[0], list):
            return {tag for tags in self.labels for tag in tags}
        return set(self.labels)

    def check_labels(self, known: Sequence[str], known_from: str) -> None:
        """That all labels are among the known ones.

        Raises:
            ValueError: one isn't; names file, line, label, and the known ones.
        """
        unknown = self.label_set() - set(known)
        if not unknown:
            return
        for labels, lines in zip(self.labels, self.lines):
            for label, line in zip(labels, lines) if isinstance(labels, list) else [(labels, lines)]:
                if label in unknown:
                    raise ValueError(
                        f"{self.origin}, line {line}: the label {label!r} is not one of {known_from}, which has "
                        f"{', '.join(known)}. Correct it, or leave this file out."
                    )


@dataclass(frozen=True)
class LabelledData:
    """Labelled sentences by language and split.

    Attributes:
        kind: "classification" or "tagging".
        name: of the whole, for results.
        examples: language -> split ("train", "dev", "test") -> sentences.
    """

    kind: Kind
    name: str
    examples: dict[str, dict[str, Examples]] = field(repr=False)

    @property
    def languages(self) -> list[str]:
        return list(self.examples)

    def get(self, language: str, split: str) -> Examples:
        """The sentences of a language and split.

        Raises:
            ValueError: no such language or split; says which there are.
        """
        if language not in self.examples:
            raise ValueError(f"{self.name} has no language {language!r}, but {', '.join(self.examples)}.")
        splits = self.examples[language]
        if split not in splits:
            raise ValueError(
                f"{self.name} has no {split!r} split of {language!r}, but {', '.join(splits)}; name one of these, or "
                "leave the language out."
            )
        return splits[split]


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
        languages: read only these.
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
    check_languages(languages, found, name)
    for file in (file for of in found.values() for file in of.values()):
        if not file.is_file():
            raise FileNotFoundError(f"The labelled sentences {file} are not there.")
    read = _read_tagged if kind == "tagging" else _read_classified
    return LabelledData(
        kind,
        name,
        {
            language: {
                split: replace(read(file, text_column, label_column), data=named_with_checksum(file))
                for split, file in found[language].items()
            }
            for language in languages or sorted(found)
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
    try:
        from datasets import get_dataset_split_names, load_dataset
    except ImportError as error:
        raise ImportError(
            "Data sets of the Hub need the package `datasets`: pip install 'ofa-transformers[datasets]'"
        ) from error

    examples: dict[str, dict[str, Examples]] = {}
    names = []
    for value in datasets:
        language, _, name = value.partition("=")
        if not language or not name:
            raise ValueError(f"The data set {value!r} has no language; write LANGUAGE=ID or LANGUAGE=ID:CONFIG.")
        if language in examples:
            raise ValueError(f"There are two data sets of {language!r}; name one of them.")
        identifier, config = (name, None) if Path(name).exists() else name.partition(":")[::2]
        names.append(Path(identifier).name if Path(identifier).exists() else identifier)
        splits = get_dataset_split_names(identifier, config or None, revision=revision)
        examples[language] = {}
        for split in (split for split in splits if split in SPLITS):
            dataset = load_dataset(identifier, config or None, split=split, revision=revision)
            origin = f"{identifier}{f' {config}' if config else ''}, split {split}"
            text, label = _columns(dataset.column_names, kind, text_column, label_column, origin)
            feature = dataset.features[label]
            classes = getattr(getattr(feature, "feature", feature), "names", None)
            rows = enumerate(dataset.select_columns([text, label]), 1)
            read = _from_rows(rows, kind, text, label, origin, classes)
            examples[language][SPLITS[split]] = replace(read, data=origin)
        if not examples[language]:
            raise ValueError(f"{identifier} has no train, validation or test split, but {', '.join(splits)}.")
    if not examples:
        raise ValueError("No data sets: name at least one, as LANGUAGE=ID.")
    return LabelledData(kind, ", ".join(dict.fromkeys(names)), examples)


def check_languages(languages: Sequence[str] | None, found: Mapping[str, Any], name: str) -> None:
    """That something was found, and all languages that were named.

    Raises:
        ValueError: not so.
    """
    if not found:
        raise ValueError(f"{name}: no labelled sentences; name files or folders.")
    if missing := [language for language in languages or () if language not in found]:
        raise ValueError(f"{name} has no file of {', '.join(missing)}; it has {', '.join(sorted(found))}.")


def _named_files(path: Path, kind: Kind) -> Iterator[tuple[str, str, Path]]:
    """(language, split, file) of a file, or of the files in a folder and its folders."""
    if path.is_file():
        named = _language_and_split(path, kind)
        if named is None:
            raise ValueError(
                f"The name of {path} doesn't tell language and split, as swa.train.conll or train-en.tsv would, with "
                f"one of the endings {', '.join(_ENDINGS[kind])}; rename it, or pass language -> split -> file."
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
    if unnamed := [file.name for file, found in named if not found and stem_and_ending(file)[1] in _ENDINGS[kind]]:
        logger.warning(f"{path}: passed over {', '.join(unnamed)}, whose names don't tell language and split")
    yield from ((*found, file) for file, found in named if found)


def stem_and_ending(path: Path) -> tuple[str, str]:
    """The name of a file without endings, and the ending that isn't of a packer."""
    name = path.name
    for suffix in COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    stem, ending = os.path.splitext(name)
    return (stem, ending) if ending in {*_ENDINGS["tagging"], *_ENDINGS["classification"]} else (name, "")


def _language_and_split(path: Path, kind: Kind) -> tuple[str, str] | None:
    stem, ending = stem_and_ending(path)
    if ending not in (*_ENDINGS[kind], "") or (kind == "classification" and not ending):
        return None
    for pattern in _NAMES:
        if match := pattern.fullmatch(stem):
            found = match.groupdict()
            return found.get("language", path.resolve().parent.name), SPLITS[found["split"]]
    return None


def _read_tagged(path: Path, text_column: str | None, label_column: str | None) -> Examples:
    if stem_and_ending(path)[1] == ".jsonl":
        return _from_table(_json_rows(path), "tagging", text_column, label_column, str(path))
    sentences: list[list[str]] = []
    tags: list[list[str]] = []
    lines: list[list[int]] = []
    columns, last = None, -1
    commented = stem_and_ending(path)[1] == ".conllu"
    for number, line in numbered_lines(path):
        begins, last = number != last + 1, number
        if line.startswith("-DOCSTART-"):
            last = -1
            continue
        if begins:
            sentences.append([])
            tags.append([])
            lines.append([])
        if not lines[-1] and line.startswith("#") and (commented or _COMMENT.match(line)):
            continue
        fields = line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))
        columns = len(fields) if columns is None else columns
        if len(fields) != columns or columns < 2 or not fields[0].strip() or not fields[-1].strip():
            expected = "a word and its tag" if columns in (1, 2) else f"{columns} columns, as in the first line"
            raise ValueError(
                f"{path}, line {number}: expected {expected}, but found {line[:80]!r}; correct or remove the sentence."
            )
        word, tag = fields[0], fields[-1]
        if columns == _CONLLU_COLUMNS:
            if not fields[0].isdigit():  # 3-4 is a surface token, of which 3 and 4 are the words; 5.1 an empty node
                if not re.fullmatch(r"\d+[-.]\d+", fields[0]):
                    raise ValueError(f"{path}, line {number}: {fields[0]!r} is no ID of CoNLL-U.")
                continue
            word, tag = fields[1], fields[3]
            if tag == "_":
                raise ValueError(f"{path}, line {number}: the word {word!r} has no UPOS; annotate or remove it.")
        sentences[-1].append(word)
        tags[-1].append(tag.strip())
        lines[-1].append(number)
    kept = [n for n, words in enumerate(sentences) if words]
    sentences, tags, lines = ([column[n] for n in kept] for column in (sentences, tags, lines))
    prefixes = {match and match[1] for words in sentences for match in map(_WIKIANN_PREFIX.match, words)}
    if len(prefixes) == 1 and None not in prefixes:
        cut = len(prefixes.pop()) + 1
        sentences = [[word[cut:] for word in words] for words in sentences]
    return _tagged(sentences, tags, str(path), lines)


def _tagged(sentences: list[list[str]], tags: list[list[str]], origin: str, lines: list[list[int]]) -> Examples:
    examples = Examples(sentences, tags, origin, lines)
    found = examples.label_set()
    if not any(map(ENTITY_TAG.fullmatch, found)):
        return examples
    return Examples(sentences, to_iob2(tags, origin, lines), origin, lines)


def _read_classified(path: Path, text_column: str | None, label_column: str | None) -> Examples:
    ending = stem_and_ending(path)[1]
    if ending not in _ENDINGS["classification"]:
        raise ValueError(f"{path} must end in {', '.join(_ENDINGS['classification'])}, optionally packed.")
    rows = _json_rows(path) if ending == ".jsonl" else _table_rows(path, ending, text_column, label_column)
    return _from_table(rows, "classification", text_column, label_column, str(path))


def _json_rows(path: Path) -> Iterator[Row]:
    for number, line in numbered_lines(path):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not valid JSON ({error}).") from error
        if not isinstance(row, dict):
            raise ValueError(
                f"{path}, line {number}: expected an object with text and label, but found {line[:80]!r}."
            )
        yield number, row


def _table_rows(path: Path, ending: str, text_column: str | None, label_column: str | None) -> Iterator[Row]:
    numbers = [0]  # of the lines of the row that is being read

    def lines() -> Iterator[str]:
        for number, line in numbered_lines(path):
            numbers.append(number)
            yield f"{line}\n"

    # Only .csv quotes: in .tsv, a quotation mark is one.
    options = {"delimiter": ","} if ending == ".csv" else {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    names: list[str] | None = None
    for fields in csv.reader(lines(), **options):
        number = numbers[-1]
        if names is None:
            texts = (text_column,) if text_column else _TEXT_COLUMNS["classification"]
            if set(texts) & set(fields):
                names = fields
                continue
            if ending != ".tsv" or len(fields) != 3 or text_column or label_column:
                raise ValueError(
                    f"{path}, line {number}: the first line must name the columns, {texts[0]!r} and "
                    f"{label_column or 'label'!r} among them, but it is {','.join(fields)[:80]!r}."
                )
            names = ["id", "label", "text"]
        if len(fields) != len(names):
            raise ValueError(
                f"{path}, line {number}: {len(fields)} columns, but there should be {len(names)}: {', '.join(names)}."
            )
        yield number, dict(zip(names, fields))


def _from_table(
    rows: Iterator[Row], kind: Kind, text_column: str | None, label_column: str | None, origin: str
) -> Examples:
    rows = list(rows)
    if not rows:
        raise ValueError(f"{origin} has no labelled sentence; it is empty or of another format.")
    text, label = _columns(list(rows[0][1]), kind, text_column, label_column, origin)
    return _from_rows(iter(rows), kind, text, label, origin)


def _columns(
    names: Sequence[str], kind: Kind, text_column: str | None, label_column: str | None, origin: str
) -> tuple[str, str]:
    chosen = []
    for what, named, usual in (
        ("text_column", text_column, _TEXT_COLUMNS[kind]),
        ("label_column", label_column, _LABEL_COLUMNS[kind]),
    ):
        found = [name for name in ([named] if named else usual) if name in names]
        if len(found) != 1:
            problem = f"several of {', '.join(usual)}" if found else f"no column {named or ' or '.join(usual)}"
            raise ValueError(f"{origin} has {problem}; name one of {', '.join(names)} with {what}.")
        chosen.append(found[0])
    return chosen[0], chosen[1]


def _from_rows(
    rows: Iterator[Row], kind: Kind, text: str, label: str, origin: str, classes: list[str] | None = None
) -> Examples:
    def name_of(value: Any, number: int) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            if classes is None:
                return str(value)
            if 0 <= value < len(classes):
                return classes[value]
        elif isinstance(value, str) and value.strip():
            return value.strip()
        raise ValueError(f"{origin}, line {number}: {value!r} in {label!r} is no label.")

    inputs, labels, lines = [], [], []
    for number, row in rows:
        value, target = row.get(text), row.get(label)
        if kind == "tagging":
            if not (isinstance(value, list) and all(isinstance(word, str) for word in value)):
                raise ValueError(
                    f"{origin}, line {number}: expected a list of words in {text!r}, found {value!r:.80}."
                )
            if not isinstance(target, list) or len(target) != len(value):
                count = len(target) if isinstance(target, list) else "no"
                raise ValueError(f"{origin}, line {number}: {len(value)} words, but {count} tags; each needs one.")
            if value:
                inputs.append(value)
                labels.append([name_of(tag, number) for tag in target])
                lines.append([number] * len(value))
        else:
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{origin}, line {number}: expected text in {text!r}, but found {value!r:.80}.")
            inputs.append(value)
            labels.append(name_of(target, number))
            lines.append(number)
    return _tagged(inputs, labels, origin, lines) if kind == "tagging" else Examples(inputs, labels, origin, lines)
