"""Text by language, from files, folders and data sets of the Hub: checked first, then read as streams."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.compression import open_compressed
from .corpus import TextFile, language_of


if TYPE_CHECKING:
    from datasets import IterableDataset

TEXT_KINDS = (".txt", ".tsv", ".jsonl")
COMPRESSIONS = (".gz", ".zst")
_SAMPLE_BYTES = 1 << 22
_SAMPLE_ROWS = 1000


@dataclass(frozen=True)
class File:
    """A text file (see `TextFile`: .txt, .tsv, .jsonl, optionally .gz or .zst) or a Parquet file.

    Raises:
        FileNotFoundError, ValueError: the file is missing or empty, or a Parquet file has no text in that column.
    """

    path: Path
    column: str = "text"

    def __post_init__(self) -> None:
        TextFile(self.path, self.column)  # there, and not empty
        if self.is_parquet:
            import pyarrow.parquet

            schema = pyarrow.parquet.read_schema(self.path)
            if self.column not in schema.names:
                names = ", ".join(schema.names)
                raise ValueError(f"{self.path} has no column {self.column!r}, but {names}; name one of these.")
            kind = schema.field(self.column).type
            if "string" not in str(kind):
                raise ValueError(f"{self.path}: the column {self.column!r} holds {kind}, not text; name another.")

    @property
    def is_parquet(self) -> bool:
        return self.path.suffix == ".parquet"

    @property
    def identity(self) -> str:
        """Changes when the file does."""
        status = self.path.stat()
        return f"{self.path.resolve()} {status.st_size} {status.st_mtime_ns} {self.column}"

    def characters(self) -> int:
        """About how many it holds, from its first four megabytes (ids and markup of a text file included)."""
        if self.is_parquet:
            import pyarrow.parquet

            file = pyarrow.parquet.ParquetFile(self.path)
            rows = next(file.iter_batches(_SAMPLE_ROWS, columns=[self.column]), None)
            if rows is None or not len(rows):
                return 0
            sample = sum(len(text or "") for text in rows.column(0).to_pylist())
            return round(sample * file.metadata.num_rows / len(rows))
        with open_compressed(self.path) as file:
            sample = file.stream.read(_SAMPLE_BYTES)
            characters = len(sample.decode("utf-8", "ignore").strip())
            if len(sample) < _SAMPLE_BYTES:
                return characters
            return round(characters * self.path.stat().st_size / file.raw.tell())

    def dataset(self) -> IterableDataset:
        import datasets

        if self.is_parquet:
            return _text_column(_streamed("parquet", data_files=[str(self.path)]), self.column)
        features = datasets.Features({"text": datasets.Value("string")})
        return datasets.IterableDataset.from_generator(
            _lines, features=features, gen_kwargs={"paths": [str(self.path)], "column": self.column}
        )


@dataclass(frozen=True)
class HubText:
    """A split of a data set of the Hub, streamed. Remote code is never run."""

    name: str
    config: str | None = None
    split: str = "train"
    column: str = "text"

    @property
    def identity(self) -> str:
        return f"{self.name} {self.config} {self.split} {self.column}"

    def characters(self) -> int:
        """Its number of rows times the mean length of the first ones.

        Raises:
            ValueError: the data set doesn't say how many rows it has.
        """
        dataset = self.dataset()
        rows = (dataset.info.splits or {}).get(self.split)
        if rows is None or not rows.num_examples:
            raise ValueError(
                f"The data set {self.name} doesn't say how many rows its split {self.split!r} has; give the sizes of "
                f"the languages with sampling_sizes."
            )
        sample = [len(row["text"] or "") for row in dataset.take(100)]
        return round(sum(sample) / max(len(sample), 1) * rows.num_examples)

    def dataset(self) -> IterableDataset:
        return _text_column(_streamed(self.name, self.config, split=self.split), self.column)


Part = File | HubText


@dataclass(frozen=True)
class LanguageText:
    """The text of one language, of one or several parts."""

    language: str
    parts: tuple[Part, ...]

    @property
    def identity(self) -> str:
        """A hash that changes when the text does (a data set of the Hub goes by its name)."""
        return hashlib.sha256("\n".join(part.identity for part in self.parts).encode()).hexdigest()

    def characters(self) -> int:
        """About how many characters there are.

        Raises:
            ValueError: none.
        """
        characters = sum(part.characters() for part in self.parts)
        if not characters:
            raise ValueError(f"{self.language} has no text: {', '.join(map(str, self.names))}.")
        return characters

    @property
    def names(self) -> list[str]:
        return [str(part.path) if isinstance(part, File) else part.name for part in self.parts]

    def dataset(self) -> IterableDataset:
        """An iterable data set with the column `text`."""
        import datasets

        parts = [part.dataset() for part in self.parts]
        return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)

    def lines(self) -> Iterator[str]:
        """Its lines, without blank ones.

        Raises:
            ValueError: text that can't be read; the message names file and line.
        """
        for row in self.dataset():
            yield from lines_of([row["text"]])


def lines_of(texts: Iterable[str | None]) -> Iterator[str]:
    """Their lines, without blank ones.

    Raises:
        ValueError: something that is no text.
    """
    for text in texts:
        if text is not None and not isinstance(text, str):
            raise ValueError(f"Found {type(text).__name__} {text!r:.50} for text; name the column that holds text.")
        yield from (line for line in (text or "").splitlines() if line.strip())


def find_text(
    files: Sequence[str | os.PathLike] = (),
    datasets: Sequence[str] = (),
    *,
    column: str = "text",
    split: str = "train",
) -> dict[str, LanguageText]:
    """language -> text, sorted; all files are looked at first, and one language may have several.

    Args:
        files: text or Parquet files whose names begin with the language (`deu_Latn.tsv.gz`), or `LANGUAGE=FILE`, or
            folders of such files, or of folders that are named by languages.
        datasets: `LANGUAGE=ID` or `LANGUAGE=ID:CONFIG` of data sets on the Hub.
        column: of Parquet files, data sets, and the field of .jsonl files.
        split: of the data sets.

    Raises:
        FileNotFoundError: a path that doesn't exist.
        ValueError: an empty file, a name without language, a folder without text, nothing given.
        ImportError: the package `datasets` is missing.
    """
    require_datasets()
    parts: dict[str, list[Part]] = {}
    for value in map(str, files):
        language, path = _named(value)
        if path.is_dir():
            for found, file in _folder(path, language):
                parts.setdefault(found, []).append(File(file, column))
        else:
            file = File(path, column)
            parts.setdefault(language or language_of(path), []).append(file)
    for value in datasets:
        language, _, name = value.partition("=")
        if not language or not name:
            raise ValueError(f"The data set {value!r} has no language; write LANGUAGE=ID or LANGUAGE=ID:CONFIG.")
        name, _, config = name.partition(":")
        parts.setdefault(language, []).append(HubText(name, config or None, split, column))
    if not parts:
        raise ValueError("No text: name files or folders, or data sets of the Hub.")
    return {language: LanguageText(language, tuple(parts[language])) for language in sorted(parts)}


def require_datasets() -> None:
    try:
        import datasets  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Reading text by language needs the package `datasets`: pip install 'ofa-transformers[datasets]'"
        ) from error


def _named(value: str) -> tuple[str | None, Path]:
    match = re.fullmatch(r"([A-Za-z][\w-]*)=(.+)", value)
    if match and not Path(value).exists():
        return match[1], Path(match[2])
    return None, Path(value)


def _folder(folder: Path, language: str | None) -> Iterator[tuple[str, Path]]:
    """(language, file) of a folder's text files, and of those of its folders."""
    found = False
    for path in sorted(folder.iterdir()):
        if path.is_dir() and language is None and not path.name.startswith("."):
            yield from _folder(path, language_of(path))
            found = True
        elif _is_text(path):
            yield language or language_of(path), path
            found = True
    if not found:
        raise ValueError(
            f"The folder {folder} has no text: files must end in {', '.join(TEXT_KINDS)} or .parquet, text ones "
            f"optionally followed by {' or '.join(COMPRESSIONS)}."
        )


def _is_text(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return (
        path.is_file()
        and not path.name.startswith(".")
        and bool(suffixes)
        and suffixes[-1] in (*TEXT_KINDS, ".parquet")
    )


def _lines(paths: list[str], column: str) -> Iterator[dict[str, str]]:
    for path in paths:
        for line in TextFile(Path(path), column):
            yield {"text": line}


def _streamed(name: str, config: str | None = None, split: str = "train", **options: Any) -> IterableDataset:
    from datasets import load_dataset

    return load_dataset(name, config, split=split, streaming=True, **options)


def _text_column(dataset: IterableDataset, column: str) -> IterableDataset:
    dataset = dataset.select_columns([column])
    return dataset if column == "text" else dataset.rename_column(column, "text")
