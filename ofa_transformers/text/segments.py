"""Text whose segments (verses, sentences) have the same ids in all languages: files of `id<TAB>text` lines."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers.utils import logging

from .file_names import SEGMENT_KINDS, files_by_language, one_of_each
from .languages import to_iso639_3
from .lines import numbered_lines


logger = logging.get_logger(__name__)

# Below this share of lines with a translation, somebody should know.
_FEW = 0.1

Paths = str | os.PathLike | Sequence[str | os.PathLike]


def read_ids(ids: str | os.PathLike | Iterable[str] | None) -> frozenset[str]:
    """Segment ids from an iterable, or from a text file: one a line, up to the first tab."""
    if ids is None:
        return frozenset()
    if not isinstance(ids, (str, os.PathLike)):
        return frozenset(map(str, ids))
    if not Path(ids).is_file():
        raise FileNotFoundError(f"The file of segment ids, {ids}, is not there.")
    return frozenset(line.partition("\t")[0] for _, line in numbered_lines(Path(ids)))


def named_text(language: str, parts: Iterable[Any]) -> str:
    """A language with the files that its text is from, for errors."""
    files = [str(part) for part in parts if isinstance(part, Path)]
    return f"{language!r} ({', '.join(files[:3])}{', ...' if len(files) > 3 else ''})" if files else repr(language)


def read_segments(part: Any) -> Iterator[tuple[str, str]]:
    """(id, text) pairs of a path to a file of `id<TAB>text` lines, or of an iterable of such pairs."""
    if isinstance(part, Path):
        for number, line in numbered_lines(part):
            identifier, tab, text = line.partition("\t")
            if not tab or not identifier:
                raise ValueError(
                    f"{part}, line {number}: expected `id<TAB>text`, but found {line[:80]!r}; correct or remove the "
                    "line."
                )
            yield identifier, text
        return
    for item in part:
        if not isinstance(item, (tuple, list)) or len(item) != 2 or not isinstance(item[1], str):
            raise ValueError(f"Expected pairs of a segment's id and its text, but found {str(item)[:80]!r}.")
        yield str(item[0]), item[1]


def text_by_id(
    path: Path, wanted: Container[str] | None = None, *, without: Container[str] = frozenset()
) -> dict[str, str]:
    """id -> text of a file, in its order; of an id that is there twice the first text, and no blank ones.

    Args:
        path: of `id<TAB>text` lines.
        wanted: ids to read; default: all.
        without: ids to leave out.
    """
    texts: dict[str, str] = {}
    for identifier, text in read_segments(path):
        if (wanted is None or identifier in wanted) and identifier not in without and text.strip():
            texts.setdefault(identifier, text)
    return texts


def texts_by_language(texts: Mapping[str, Any] | Iterable[str | os.PathLike]) -> dict[str, list[Any]]:
    """ISO 639-3 code -> list of paths or of iterables of (id, text) pairs; every path exists.

    Args:
        texts: language -> path, paths or pairs; or files or folders, as for `files_by_language`, all files of a
            language together. Languages may have a script (deu_Latn).

    Raises:
        ValueError: no text, or a language code that isn't one.
        FileNotFoundError: a path that is no file.
    """
    sources: dict[str, list[Any]] = {}
    if isinstance(texts, Mapping):
        for language, text in texts.items():
            if isinstance(text, (str, os.PathLike)):
                parts = [Path(text)]
            elif isinstance(text, (list, tuple)) and text and all(isinstance(t, (str, os.PathLike)) for t in text):
                parts = [Path(t) for t in text]
            else:
                parts = [text]
            sources.setdefault(to_iso639_3(language, "the language of a text"), []).extend(parts)
    else:
        for language, paths in files_by_language(texts, kinds=SEGMENT_KINDS).items():
            code = to_iso639_3(language, f"the language in the file name {paths[0].name!r}")
            sources.setdefault(code, []).extend(paths)
    if not sources:
        raise ValueError("texts is empty; pass at least one language.")
    for language, parts in sources.items():
        for part in parts:
            if isinstance(part, Path) and not part.is_file():
                raise FileNotFoundError(f"The text of {language!r}, {part}, is not a file.")
    return sources


def segment_files(
    paths: Paths, ids: str | os.PathLike | Iterable[str] | None = None, also: Sequence[str] = ()
) -> dict[str, Path]:
    """language -> its file of `id<TAB>text` lines, of several that with the shortest name; the one of ids is none.

    Args:
        paths: files whose names begin with the language (`deu_Latn.tsv.gz`), LANGUAGE=FILE, or folders of them, in
            which other files are passed over.
        ids: the file of ids, or anything else.
        also: names of second texts to read, as `eng_Latn-KJV`.

    Raises:
        FileNotFoundError: a path that isn't there.
        ValueError: two files of one name, which differ in their endings only.
    """
    files = files_by_language(paths, kinds=SEGMENT_KINDS, strict=False)
    of_ids = Path(ids) if isinstance(ids, (str, os.PathLike)) else None
    texts = {
        language: [path for path in found if of_ids is None or not path.samefile(of_ids)]
        for language, found in files.items()
    }
    return one_of_each({language: found for language, found in texts.items() if found}, also)


def read_translations(
    paths: Sequence[str | os.PathLike], *, without: Container[str] = frozenset()
) -> dict[str, dict[str, str]]:
    """Lines with common ids, of files `id<TAB>text` by language, plain, gzip or zstd.

    Args:
        paths: files named by their language (`deu_Latn.tsv.gz`), LANGUAGE=FILE, or folders of them; of several files of
            one language in folders that with the shortest name is read.
        without: ids to leave out.

    Returns:
        ISO 639-3 code -> id -> line; of an id that a file has twice the first line, and no blank ones.

    Raises:
        FileNotFoundError: a path that isn't there.
        ValueError: a name without a code, a line without an id, one language alone, a file whose ids no other has, or no
            text at all.
    """
    files: dict[str, Path] = {}
    for path in paths:
        found = segment_files([path])
        if not found:
            raise ValueError(
                f"{path} has no file of translations: names begin with the language's code, as deu_Latn.tsv.gz; or "
                "pass LANGUAGE=FILE."
            )
        for name, file in found.items():
            files.setdefault(to_iso639_3(name, f"the language of {file}"), file)
    texts: dict[str, dict[str, str]] = {}
    for language, file in files.items():
        texts[language] = text_by_id(file, without=without)
        if not texts[language]:
            raise ValueError(f"{file} has no line that is not held out; leave {language} out, or give it more text.")
    if not texts:
        raise ValueError("There are no translations; name files by language, or folders of them.")
    _check_common_ids(texts, files)
    return texts


def _check_common_ids(texts: Mapping[str, Mapping[str, str]], files: Mapping[str, Path]) -> None:
    """Raises ValueError for one language alone, and for a file none of whose ids another one has; warns of few."""
    if len(texts) == 1:
        language = next(iter(texts))
        raise ValueError(
            f"{files[language]} is {language} only; give the file of at least one other language, too, with the same ids."
        )
    counts = Counter(key for lines in texts.values() for key in lines)
    for language, lines in texts.items():
        shared = sum(counts[key] > 1 for key in lines)
        if shared == len(lines):
            continue
        alone = next(key for key in lines if counts[key] == 1)
        if not shared:
            other = next(name for name in texts if name != language)
            raise ValueError(
                f"{files[language]}: none of its {len(lines):,} ids is in another file; they are like {alone!r}, those of "
                f"{files[other]} like {next(iter(texts[other]))!r}. Give lines that are translations the same id, or "
                "leave the file out."
            )
        if shared < _FEW * len(lines):
            logger.warning(
                f"{files[language]}: of its {len(lines):,} ids {shared:,} are in another file ({alone!r} isn't); the other "
                "lines aren't used."
            )


def pivot_of(sizes: Mapping[str, int]) -> str:
    """English, or else the largest of the languages, by their segments."""
    return "eng" if "eng" in sizes else max(sizes, key=lambda language: sizes[language])
