"""Translations in any number of languages: language -> id -> line."""

import os
from collections.abc import Container, Sequence
from pathlib import Path

from .languages import to_iso639_3
from .parallel import read_segments
from .parallel_text import segment_files


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
        ValueError: a name without a code, a line without an id, or no text at all.
    """
    files: dict[str, Path] = {}
    for path in paths:
        language, mark, file = str(path).partition("=")
        if mark and not Path(path).exists():
            if not Path(file).is_file():
                raise FileNotFoundError(f"The translations of {language!r}, {file}, are not a file.")
            named = {language: Path(file)}
        else:
            named = segment_files([path])
            if not named:
                raise ValueError(
                    f"{path} has no file of translations: names begin with the language's code, as deu_Latn.tsv.gz; or "
                    "pass LANGUAGE=FILE."
                )
        for name, found in named.items():
            files.setdefault(to_iso639_3(name.partition("_")[0], f"the language of {found}"), found)
    texts: dict[str, dict[str, str]] = {}
    for language, file in files.items():
        lines: dict[str, str] = {}
        for key, line in read_segments(file):
            if key not in without and line.strip():
                lines.setdefault(key, line)
        if not lines:
            raise ValueError(f"{file} has no line that is not held out; leave {language} out, or give it more text.")
        texts[language] = lines
    if not texts:
        raise ValueError("There are no translations; name files by language, or folders of them.")
    return texts
