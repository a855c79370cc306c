"""Translations with a pivot language, from the files that corpora come in and from data sets of the Hub."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..utils.provenance import named_with_checksum
from .file_names import named_dataset, pair_of, unpacked_name
from .language_groups import is_called
from .lines import numbered_lines
from .segments import Paths, read_ids, segment_files, text_by_id


@dataclass(frozen=True)
class ParallelText:
    """Sentences of one language and their translations into the pivot, line by line.

    Attributes:
        language: as the data names it, deu or deu_Latn.
        texts: N sentences.
        translations: N sentences in the pivot language.
        data: where they come from, with checksums.

    Raises:
        ValueError: there are none, or more on one side than on the other.
    """

    language: str
    texts: list[str]
    translations: list[str]
    data: str

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.translations):
            raise ValueError(
                f"{self.data}: {len(self.texts):,} sentences of {self.language}, but {len(self.translations):,} "
                "translations; line i of one must translate line i of the other."
            )
        if not self.texts:
            raise ValueError(f"{self.data} has no sentence of {self.language}; name other files, or leave it out.")

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, part: slice) -> ParallelText:
        """Some of the pairs, as of lists."""
        return ParallelText(self.language, self.texts[part], self.translations[part], self.data)

    def spread(self, number: int | None) -> ParallelText:
        """So many of the pairs, evenly spaced; all if there are no more, or with None."""
        if number is None:
            return self
        return ParallelText(self.language, evenly(self.texts, number), evenly(self.translations, number), self.data)


def read_pairs(
    paths: Paths,
    *,
    pivot: str = "eng",
    languages: Sequence[str] | None = None,
    max_sentences: int | None = None,
) -> list[ParallelText]:
    """Sentence pairs, as of Tatoeba: files named by both languages, plain, gzip or zstd.

    Either `deu-eng.tsv` with `sentence<TAB>translation` (more columns are passed over), the sides in the name's order;
    or two files with a sentence a line, `NAME.deu-eng.deu` and `NAME.deu-eng.eng`.

    Args:
        paths: files, or folders of them.
        pivot: the language that all others are paired with, as it is called in the names.
        languages: those to read, as the names have them or by the code before "_"; default: all.
        max_sentences: of each language, evenly spaced.

    Returns:
        A text for each language, sorted.

    Raises:
        FileNotFoundError: a path that isn't there, or the file of one side.
        ValueError: no pair of files, a line without tab, sides of unequal length.
    """
    found: dict[str, ParallelText] = {}
    for path in _files(paths):
        pair = pair_of(path)
        if pair is None or not (pair.side or pair.whole) or _same(pair.one, pivot) == _same(pair.other, pivot):
            continue
        language, in_pivot = (pair.other, pair.one) if _same(pair.one, pivot) else (pair.one, pair.other)
        if not _wanted(language, languages):
            continue
        if pair.side is None:
            columns = list(map(list, zip(*_tab_separated(path)))) or [[], []]
            texts, translations = columns if language == pair.one else columns[::-1]
            data = named_with_checksum(path)
        elif pair.side != language:
            continue  # read with the other side
        else:
            packing = path.name.removeprefix(unpacked_name(path))
            other = path.with_name(f"{pair.stem}.{in_pivot}{packing}")
            if not other.is_file():
                raise FileNotFoundError(f"{path} has no counterpart {other.name} beside it; both sides are needed.")
            texts, translations = _sentences(path), _sentences(other)
            _check_aligned(path, texts, other, translations)
            data = f"{named_with_checksum(path)} and {named_with_checksum(other)}"
        if language in found:
            raise ValueError(f"{found[language].data} and {path} are both of {language}; name one of them.")
        found[language] = ParallelText(language, texts, translations, data).spread(max_sentences)
    return _sorted(found, languages, f"sentence pairs with {pivot}, named like deu-{pivot}.tsv", paths)


def read_segments_by_id(
    paths: Paths,
    *,
    pivot: str = "eng",
    ids: str | os.PathLike | Sequence[str] | None = None,
    languages: Sequence[str] | None = None,
    max_sentences: int | None = None,
) -> list[ParallelText]:
    """Texts that are parallel by an id, as Bibles are by verse: files of `id<TAB>text` lines, plain, gzip or zstd.

    Args:
        paths: files named by their language (`deu_Latn.tsv.gz`), or folders of them. Of several of one language that
            with the shortest name is read.
        pivot: the language that the others are paired with.
        ids: to use, or a file of them, one a line up to the first tab; default: all that a language shares with the
            pivot.
        languages: those to read; default: all.
        max_sentences: of each language, evenly spaced among `ids`.

    Raises:
        FileNotFoundError: a path that isn't there.
        ValueError: no text of the pivot, no other, no shared id, or a line that isn't one.
    """
    wanted = None if ids is None else read_ids(ids)
    files = segment_files(paths, ids, languages or ())
    pivots = [language for language in files if _same(language, pivot)]
    if not pivots:
        raise ValueError(f"There is no text of {pivot}, the pivot, in {_shown(paths)}; its name begins with the code.")
    pivot_file = files.pop(pivots[0])
    pivot_text = text_by_id(pivot_file, wanted)
    order = list(pivot_text)
    if max_sentences is not None:
        order = evenly(order, max_sentences)
    shared_data = named_with_checksum(pivot_file)  # hashed once for all languages
    if isinstance(ids, (str, os.PathLike)):
        shared_data += f", ids of {named_with_checksum(Path(ids))}"
    found = {}
    for language, path in files.items():
        if _wanted(language, languages):
            texts = text_by_id(path, wanted)
            shared = [name for name in order if name in texts]
            if not shared:
                raise ValueError(f"{path} shares no id with {pivot_file}; leave it out, or name other ids.")
            data = f"{named_with_checksum(path)} and {shared_data}"
            found[language] = ParallelText(
                language, [texts[name] for name in shared], [pivot_text[name] for name in shared], data
            )
    return _sorted(found, languages, "texts with ids, named like deu_Latn.tsv", paths)


def read_pair_datasets(
    datasets: Mapping[str, str],
    *,
    columns: tuple[str, str] = ("sentence1", "sentence2"),
    split: str = "test",
    max_sentences: int | None = None,
) -> list[ParallelText]:
    """Sentence pairs of data sets of the Hub (extra `datasets`), such as `mteb/tatoeba-bitext-mining`.

    Args:
        datasets: language -> ID or ID:CONFIG.
        columns: of the sentence and of its translation.
        split: of the data sets.
        max_sentences: of each language, evenly spaced.

    Raises:
        ImportError: the package `datasets` is missing.
        ValueError: a column that isn't there.
    """
    from .corpus import require_datasets

    require_datasets()
    from datasets import load_dataset

    found = {}
    for language, value in datasets.items():
        _, name, config = named_dataset(f"{language}={value}")
        rows = load_dataset(name, config, split=split)
        if missing := [column for column in columns if column not in rows.column_names]:
            raise ValueError(
                f"The data set {value} has no column {missing[0]!r}, but {', '.join(rows.column_names)}; name one of "
                "these."
            )
        data = f"{value}, split {split}" + (f", {rows._fingerprint}" if rows._fingerprint else "")
        sides = [list(rows[column]) for column in columns]
        found[language] = ParallelText(language, *sides, data).spread(max_sentences)
    return [found[language] for language in sorted(found)]


def _files(paths: Paths) -> Iterator[Path]:
    for path in map(Path, [paths] if isinstance(paths, (str, os.PathLike)) else paths):
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        elif path.is_file():
            yield path
        else:
            raise FileNotFoundError(f"{path} is neither a file nor a folder.")


def _same(code: str, other: str) -> bool:
    """eng and eng_Latn are."""
    return code.partition("_")[0] == other.partition("_")[0]


def _wanted(language: str, languages: Sequence[str] | None) -> bool:
    return languages is None or any(is_called(language, name) for name in languages)


def _tab_separated(path: Path) -> list[tuple[str, str]]:
    pairs = []
    for number, line in numbered_lines(path):
        columns = line.split("\t")
        if len(columns) < 2 or not columns[0].strip() or not columns[1].strip():
            raise ValueError(
                f"{path}, line {number}: expected `sentence<TAB>translation`, but found {line[:80]!r}; correct or "
                "remove the line."
            )
        pairs.append((columns[0], columns[1]))
    return pairs


def _sentences(path: Path) -> list[str]:
    """A sentence a line; a blank line would shift all that follow, unless the other side has one, too."""
    lines = []
    for number, line in numbered_lines(path):
        if number != len(lines) + 1:
            raise ValueError(
                f"{path}, line {len(lines) + 1} is blank; write a sentence, or remove it from both sides."
            )
        lines.append(line)
    return lines


def _check_aligned(path: Path, texts: list[str], other: Path, translations: list[str]) -> None:
    """Raises ValueError for two files of unlike numbers of lines; names the first line without counterpart."""
    if len(texts) == len(translations):
        return
    longer, lines, shorter = (path, texts, other) if len(texts) > len(translations) else (other, translations, path)
    first = min(len(texts), len(translations))
    raise ValueError(
        f"{longer} has {len(lines):,} lines, {shorter} {first:,}: line {first + 1:,} of {longer.name}, "
        f"{lines[first][:60]!r}, has no translation. Line i of one must translate line i of the other; find where they part "
        "and mend it there, or cut the end off."
    )


def evenly(items: list[str], number: int) -> list[str]:
    """So many of the items, evenly spaced; all if there are no more."""
    if number >= len(items):
        return items
    return [items[i * len(items) // number] for i in range(number)]


def _sorted(
    found: Mapping[str, ParallelText],
    languages: Sequence[str] | None,
    what: str,
    paths: Paths,
) -> list[ParallelText]:
    missing = [name for name in languages or () if not any(_wanted(language, [name]) for language in found)]
    if missing or not found:
        of = f" of {', '.join(missing)}" if missing else ""
        raise ValueError(f"There are no {what}{of} in {_shown(paths)}.")
    return [found[language] for language in sorted(found)]


def _shown(paths: Paths) -> str:
    names = [str(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    return ", ".join(itertools.islice(names, 3)) + (" and others" if len(names) > 3 else "")
