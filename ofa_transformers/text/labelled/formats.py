"""The formats that labelled sentences come in: columns of words, CoNLL-U, tables, rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..file_names import kind_of, unpacked_name
from ..lines import Row, json_row, numbered_lines, parquet_rows
from .entities import ENTITY_TAG, to_iob2
from .examples import Examples, Kind


ENDINGS = {
    "classification": (".tsv", ".csv", ".jsonl", ".parquet"),
    "tagging": (".conll", ".conllu", ".iob", ".iob2", ".bio", ".tsv", ".txt", ".jsonl", ".parquet"),
}
_TEXT_COLUMNS = {"classification": ("text", "sentence"), "tagging": ("tokens", "words")}
_LABEL_COLUMNS = {"classification": ("label", "labels"), "tagging": ("ner_tags", "upos", "pos_tags", "tags")}
_CONLLU_COLUMNS = 10
_COMMENT = re.compile(r"# ?(?:[\w.]+ ?=|id\b|newdoc\b|newpar\b)")
_WIKIANN_PREFIX = re.compile(r"([a-z][a-z-]{1,11}):.")


def stem_and_ending(path: Path) -> tuple[str, str]:
    """The name of a file without endings, and the ending that isn't of a packer."""
    name, ending = unpacked_name(path), kind_of(path)
    known = ending in {*ENDINGS["tagging"], *ENDINGS["classification"]}
    return (name[: -len(ending)], ending) if known else (name, "")


def read_tagged(path: Path, text_column: str | None, label_column: str | None) -> Examples:
    """Sentences of words with tags, entities as IOB2: CoNLL, CoNLL-U or .jsonl; see `read_labelled_files`."""
    if stem_and_ending(path)[1] in (".jsonl", ".parquet"):
        return _from_table(_rows(path), "tagging", text_column, label_column, str(path))
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
                    raise ValueError(f"{path}, line {number}: {fields[0]!r:.80} is no ID of CoNLL-U.")
                continue
            word, tag = fields[1], fields[3]
            if tag == "_":
                raise ValueError(f"{path}, line {number}: the word {word!r:.80} has no UPOS; annotate or remove it.")
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


def read_classified(path: Path, text_column: str | None, label_column: str | None) -> Examples:
    """Texts with labels: .tsv, .csv or .jsonl; see `read_labelled_files`."""
    ending = stem_and_ending(path)[1]
    if ending not in ENDINGS["classification"]:
        raise ValueError(f"{path} must end in {', '.join(ENDINGS['classification'])}, optionally packed.")
    rows = _rows(path) if ending in (".jsonl", ".parquet") else _table_rows(path, ending, text_column, label_column)
    return _from_table(rows, "classification", text_column, label_column, str(path))


def _rows(path: Path) -> Iterator[Row]:
    if path.suffix == ".parquet":
        return parquet_rows(path)
    return ((number, json_row(path, number, line, "text and label")) for number, line in numbered_lines(path))


def _table_rows(path: Path, ending: str, text_column: str | None, label_column: str | None) -> Iterator[Row]:
    numbers = [0]  # of the lines of the row that is being read

    def lines() -> Iterator[str]:
        for number, line in numbered_lines(path):
            numbers.append(number)
            yield f"{line}\n"

    def rows() -> Iterator[list[str]]:
        if ending != ".csv":  # a quotation mark is one
            yield from (line.rstrip("\n").split("\t") for line in lines())
            return
        try:
            yield from csv.reader(lines())
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {numbers[-1]}: not valid CSV ({str(error).partition(' - ')[0]}); look for a quotation mark "
                "without its partner, a carriage return inside a line, or a field that is a whole document."
            ) from error

    names: list[str] | None = None
    for fields in rows():
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
                f"{path}, line {number}: {len(fields)} columns, but there should be {len(names)}: {', '.join(names):.200}."
            )
        yield number, dict(zip(names, fields))


def _from_table(
    rows: Iterable[Row], kind: Kind, text_column: str | None, label_column: str | None, origin: str
) -> Examples:
    rows = list(rows)
    if not rows:
        raise ValueError(f"{origin} has no labelled sentence; it is empty or of another format.")
    text, label = columns_of(list(rows[0][1]), kind, text_column, label_column, origin)
    return from_rows(rows, kind, text, label, origin)


def columns_of(
    names: Sequence[str], kind: Kind, text_column: str | None, label_column: str | None, origin: str
) -> tuple[str, str]:
    """The columns of text and labels: those named, or the usual ones.

    Raises:
        ValueError: one that isn't there, or several usual ones.
    """
    chosen = []
    for what, named, usual in (
        ("text_column", text_column, _TEXT_COLUMNS[kind]),
        ("label_column", label_column, _LABEL_COLUMNS[kind]),
    ):
        found = [name for name in ([named] if named else usual) if name in names]
        if len(found) != 1:
            problem = f"several of {', '.join(usual)}" if found else f"no column {named or ' or '.join(usual)}"
            raise ValueError(f"{origin} has {problem}; name one of {', '.join(names):.200} with {what}.")
        chosen.append(found[0])
    return chosen[0], chosen[1]


def from_rows(
    rows: Iterable[Row], kind: Kind, text: str, label: str, origin: str, classes: list[str] | None = None
) -> Examples:
    """Labelled sentences from rows of text or words and label or tags; numbers are `classes`, where these are given.

    Raises:
        ValueError: something else in a row; its number is named.
    """

    def name_of(value: Any, number: int) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            if classes is None:
                return str(value)
            if 0 <= value < len(classes):
                return classes[value]
        elif isinstance(value, str) and value.strip():
            return value.strip()
        raise ValueError(f"{origin}, line {number}: {value!r:.80} in {label!r} is no label.")

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
