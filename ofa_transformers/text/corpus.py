"""Running text by language, from files, folders, data sets and any iterable: checked first, then read as streams."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.compression import open_compressed
from .file_names import files_by_language, kind_of, named_dataset
from .lines import decoded_lines, json_row, lines_of, parquet_rows, reading_parquet
from .sizes import TextSize, size_from_sample, size_of_lines, size_of_rows


if TYPE_CHECKING:
    from datasets import IterableDataset

# Of the lines that the size of a part was seen from, at most.
_KEPT = 2000


@dataclass(frozen=True)
class TextFile:
    """The lines of a text file, read anew by each iteration; never all in memory.

    Plain, gzip or (with the package `zstandard`) zstd, told by the first bytes. Of `.tsv` the text is what follows the
    first tab (`id<TAB>text`); of `.jsonl` and `.parquet` it is the field `column`; of any other file, each line.

    Raises:
        FileNotFoundError, ValueError: the file is missing or empty, or a Parquet file has no text in that column.
        ValueError (while iterating): not UTF-8, binary content, a damaged archive, a line without tab or without the
            field; the message names file and line.
    """

    path: Path
    column: str = "text"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path} is not a file; give a text file, optionally .gz or .zst.")
        if self.path.stat().st_size == 0:
            raise ValueError(f"{self.path} is empty; give a text file with at least one line.")
        if self.is_parquet:
            import pyarrow.parquet

            with reading_parquet(self.path):
                schema = pyarrow.parquet.read_schema(self.path)
            if self.column not in schema.names:
                names = ", ".join(schema.names)
                raise ValueError(f"{self.path} has no column {self.column!r}, but {names}; name one of these.")
            kind = schema.field(self.column).type
            if not str(kind).removeprefix("dictionary<values=").startswith(("string", "large_string")):
                raise ValueError(f"{self.path}: the column {self.column!r} holds {kind}, not text; name another.")

    @property
    def is_parquet(self) -> bool:
        return self.path.suffix.lower() == ".parquet"

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def identity(self) -> str:
        """Changes when the file does."""
        status = self.path.stat()
        return f"{self.path.resolve()} {status.st_size} {status.st_mtime_ns} {self.column}"

    def __iter__(self) -> Iterator[str]:
        if self.is_parquet:
            for _, row in parquet_rows(self.path, [self.column]):
                yield from (row[self.column] or "").splitlines()
            return
        with open_compressed(self.path) as file:
            yield from self._texts(file.stream)

    def _texts(self, stream: Any) -> Iterator[str]:
        kind = kind_of(self.path)
        for number, line in decoded_lines(self.path, stream):
            where = f"{self.path}, line {number}"
            if not line or line.isspace():
                yield ""
            elif kind == ".jsonl":
                yield _field(json_row(self.path, number, line, f"the field {self.column!r}"), self.column, where)
            elif kind == ".tsv":
                _, tab, text = line.partition("\t")
                if not tab:
                    raise ValueError(f"{where}: a .tsv file needs `id<TAB>text`, but this line has no tab.")
                yield text
            else:
                yield line

    def size(self) -> TextSize:
        """About how large it is; from all of it where that is little, else from parts of its whole length."""
        return size_of_rows(self.path, self.column) if self.is_parquet else size_of_lines(self.path, self._texts)

    def dataset(self) -> IterableDataset:
        """As a data set with the column `text`."""
        import datasets

        if self.is_parquet:
            return _text_column(_streamed("parquet", data_files=[self.name]), self.column)
        features = datasets.Features({"text": datasets.Value("string")})
        return datasets.IterableDataset.from_generator(
            _rows, features=features, gen_kwargs={"paths": [self.name], "column": self.column}
        )


@dataclass(frozen=True)
class DatasetText:
    """The texts of one column of a data set of the library `datasets` (or any iterable of mappings).

    Raises (while iterating):
        ValueError: a row without the column, or not a string in it.
    """

    dataset: Iterable[Mapping[str, Any]]
    column: str = "text"

    def __iter__(self) -> Iterator[str]:
        for number, row in enumerate(self.dataset, 1):
            yield from _field(row, self.column, f"data set, row {number}").splitlines()

    @classmethod
    def from_hub(cls, name: str, *, config: str | None = None, split: str = "train", column: str = "text") -> HubText:
        """Streams a data set of the Hub; nothing is downloaded as a whole. Remote code is never run.

        Raises:
            ImportError: the package `datasets` is missing.
        """
        require_datasets()
        return HubText(name, config, split, column)


@dataclass(frozen=True)
class HubText:
    """The lines of a split of a data set of the Hub, streamed. Remote code is never run."""

    name: str
    config: str | None = None
    split: str = "train"
    column: str = "text"

    @property
    def identity(self) -> str:
        return f"{self.name} {self.config} {self.split} {self.column}"

    def __iter__(self) -> Iterator[str]:
        return lines_of(row["text"] for row in self.dataset())

    def size(self) -> TextSize:
        """Its number of rows times what the first ones hold.

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
        texts = [row["text"] or "" for row in dataset.take(100)]
        return size_from_sample(texts, rows.num_examples / max(len(texts), 1))

    def dataset(self) -> IterableDataset:
        """As a data set with the column `text`."""
        return _text_column(_streamed(self.name, self.config, split=self.split), self.column)


@dataclass(frozen=True)
class LanguageText:
    """The text of one language, of one or several parts. Iteration gives its lines, without blank ones."""

    language: str
    parts: tuple[TextFile | HubText, ...]

    @property
    def identity(self) -> str:
        """A hash that changes when the text does (a data set of the Hub goes by its name)."""
        return hashlib.sha256("\n".join(part.identity for part in self.parts).encode()).hexdigest()

    def characters(self) -> int:
        """About how many characters there are.

        Raises:
            ValueError: none.
        """
        return sum(size.characters for size in self.sizes())

    def sizes(self) -> list[TextSize]:
        """About how large each part is, with a sample of its lines; looked at once.

        Raises:
            ValueError: there is no text.
        """
        if not any(size.characters for size in self._sizes):
            raise ValueError(f"{self.language} has no text: {', '.join(self.names)}.")
        return self._sizes

    @cached_property
    def _sizes(self) -> list[TextSize]:
        sizes = [part.size() for part in self.parts]
        return [size._replace(sample=size.sample[:: len(size.sample) // _KEPT + 1]) for size in sizes]

    @property
    def names(self) -> list[str]:
        return [part.name for part in self.parts]

    def dataset(self) -> IterableDataset:
        """An iterable data set with the column `text`."""
        import datasets

        parts = [part.dataset() for part in self.parts]
        return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)

    def __iter__(self) -> Iterator[str]:
        return self.lines()

    def lines(self) -> Iterator[str]:
        """Its lines, without blank ones.

        Raises:
            ValueError: text that can't be read; the message names file and line.
        """
        for part in self.parts:
            yield from lines_of(part)


class Chain:
    """Several texts one after the other, read anew by each iteration."""

    def __init__(self, parts: Iterable[Iterable[str]]) -> None:
        self.parts = list(parts)

    def __iter__(self) -> Iterator[str]:
        for part in self.parts:
            yield from part


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
        ImportError: there are data sets, and the package `datasets` is missing.
    """
    parts: dict[str, list[TextFile | HubText]] = {
        language: [TextFile(path, column) for path in paths] for language, paths in files_by_language(files).items()
    }
    for value in datasets:
        language, name, config = named_dataset(value)
        parts.setdefault(language, []).append(DatasetText.from_hub(name, config=config, split=split, column=column))
    if not parts:
        raise ValueError("No text: name files or folders, or data sets of the Hub.")
    return {language: LanguageText(language, tuple(parts[language])) for language in sorted(parts)}


def by_language(texts: Any) -> dict[str, Iterable[str]]:
    """language -> lines, from what users have.

    Args:
        texts: a mapping from a language to lines, a path, a list of paths, or a data set with a column `text`; or a
            list of paths whose names begin with the language, as for `find_text`.

    Raises:
        ValueError: nothing given; a string for lines; a file name without a language; a file that is empty.
        FileNotFoundError: a path that is no file.
    """
    if isinstance(texts, os.PathLike):
        texts = [texts]
    if not isinstance(texts, Mapping):
        paths = list(texts) if isinstance(texts, (list, tuple)) else None
        if paths is None or not all(isinstance(path, os.PathLike) for path in paths):
            raise ValueError(
                f"texts must map each language to its lines of text, or be a list of pathlib.Path; got {type(texts).__name__}"
            )
        texts = files_by_language(paths)
    if not texts:
        raise ValueError("texts is empty: give at least one language")
    return {language: _lines(language, text) for language, text in texts.items()}


def _lines(language: str, text: Any) -> Iterable[str]:
    if isinstance(text, os.PathLike):
        return TextFile(Path(text))
    if isinstance(text, (str, bytes)):
        raise ValueError(f"texts[{language!r}] is one string; give an iterable of lines, or a pathlib.Path of a file")
    if isinstance(text, (list, tuple)) and text and all(isinstance(part, os.PathLike) for part in text):
        return Chain(TextFile(Path(part)) for part in text)
    if hasattr(text, "column_names") or hasattr(text, "features"):  # Dataset, IterableDataset
        return DatasetText(text)
    if not isinstance(text, Iterable):
        raise ValueError(f"texts[{language!r}] is a {type(text).__name__}; give an iterable of lines, or a path")
    return text


def checked(language: str, lines: Iterable[str]) -> Iterator[str]:
    """The lines, once each is sure to be a string."""
    for number, line in enumerate(lines, 1):
        if not isinstance(line, str):
            raise ValueError(f"texts[{language!r}] yielded {type(line).__name__} as line {number}; lines must be str")
        yield line


def require_datasets() -> None:
    try:
        import datasets  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Data sets, and training, need the package `datasets`: pip install 'ofa-transformers[datasets]'"
        ) from error


def _field(record: Any, column: str, where: str) -> str:
    if not isinstance(record, Mapping):
        raise ValueError(f"{where}: expected an object with the field {column!r}, but found {type(record).__name__}.")
    text = record.get(column)
    if not isinstance(text, str):
        found = (
            f"has the fields {', '.join(map(repr, record)):.200}" if column not in record else "holds no string there"
        )
        raise ValueError(f"{where}: needs text in the field {column!r}, but {found}; name another column.")
    return text


def _rows(paths: list[str], column: str) -> Iterator[dict[str, str]]:
    for path in paths:
        for line in TextFile(Path(path), column):
            yield {"text": line}


def _streamed(name: str, config: str | None = None, split: str = "train", **options: Any) -> IterableDataset:
    from datasets import load_dataset

    return load_dataset(name, config, split=split, streaming=True, **options)


def _text_column(dataset: IterableDataset, column: str) -> IterableDataset:
    dataset = dataset.select_columns([column])
    return dataset if column == "text" else dataset.rename_column(column, "text")
