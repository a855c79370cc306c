"""Where word vectors lie: a file, a folder, several files by language, or a repository on the Hub."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from ..text.file_names import find_language, published_language, unpacked_name
from ..text.languages import iso639_3, to_iso639_3
from .readers import ReadOptions, VectorFile, dimension_of, has_known_ending, read_vectors
from .saved_format import FILES, is_saved_folder
from .words import CodedLanguages


# Files of models, tokenizers and repositories whose endings vector files have, too.
_OTHER_FILES = re.compile(
    r"(requirements|license|licence|readme|vocab|merges|dict|special_tokens)[^/]*\.txt|"
    r"(pytorch_model|tf_model|training_args|optimizer|scheduler|model-\d)[^/]*\.(bin|pt|pth)",
    re.IGNORECASE,
)


class Source(NamedTuple):
    """A file of word vectors, the language that the caller gives it, and where it comes from; or a saved folder."""

    path: Path
    language: str | None = None
    origin: str | None = None


def find_sources(
    place: str | os.PathLike | Mapping[str, str | os.PathLike],
    *,
    language: str | None = None,
    filename: str | None = None,
    **hub_kwargs: Any,
) -> list[Source]:
    """The files that `WordVectors.load` is to read, downloaded where they lie on the Hub: one saved folder, or files.

    Raises:
        FileNotFoundError: no such file, folder or repository.
        ValueError: nothing there that could be word vectors, more than one file with nothing to tell which, or a file
            of a folder whose name says no language.
    """
    if isinstance(place, Mapping):
        return _by_language(place, language, filename, hub_kwargs)
    path = Path(place)
    if path.is_file():
        if filename is not None:
            raise ValueError(f"{path} is a file; leave filename out, which names a file of a folder or repository.")
        return [Source(path, language)]
    if path.is_dir():
        if filename is None:
            return [Source(path)] if is_saved_folder(path) else _in_folder(path, language)
        if not (path / filename).is_file():
            raise FileNotFoundError(f"Word vectors: there is no file {filename!r} in the folder {path}.")
        return [Source(path / filename, language)]
    return [_on_hub(os.fspath(place), language, filename, hub_kwargs)]


def read_sources(
    sources: list[Source], options: ReadOptions, extra_words: Iterable[str] | Mapping[str, Iterable[str]] = ()
) -> VectorFile:
    """Reads files and puts their words one after the other.

    Raises:
        ValueError: see `WordVectors.load`.
    """
    by_language = _extra_words(sources, extra_words)
    if len(sources) > 1:
        _check_dimensions(sources, [dimension_of(source.path, options) for source in sources])
    read = []
    for source in sources:
        extra = by_language.get(source.language, ())
        read.append(
            read_vectors(source.path, options, language=source.language, extra_words=extra, origin=source.origin)
        )
    if len(read) == 1:
        return read[0]
    _check_dimensions(sources, [file.vectors.shape[1] for file in read])
    names, of_file = np.unique(np.concatenate([file.languages.names for file in read]), return_inverse=True)
    places = np.split(of_file.reshape(-1), np.cumsum([len(file.languages.names) for file in read])[:-1])
    ids = np.concatenate([place[file.languages.ids] for place, file in zip(places, read)]).astype(np.int32)
    complete = all(file.frequencies is not None for file in read)
    metadata = {key: _one_or_all([file.metadata.get(key) for file in read]) for key in read[0].metadata}
    if not complete:
        metadata.pop("frequencies", None)
    return VectorFile(
        [word for file in read for word in file.words],
        CodedLanguages(names, ids),
        np.concatenate([file.vectors for file in read]),
        np.concatenate([file.frequencies for file in read]) if complete else None,
        metadata,
    )


def _by_language(
    places: Mapping[str, str | os.PathLike], language: str | None, filename: str | None, hub_kwargs: dict[str, Any]
) -> list[Source]:
    if language is not None or filename is not None:
        raise ValueError("A dictionary names the languages and files itself; leave language and filename out.")
    if not places:
        raise ValueError("The dictionary of files is empty; give it at least one, as {'deu': 'wiki.de.vec'}.")
    found: dict[str, Source] = {}
    for name, place in places.items():
        code = to_iso639_3(name)
        if code in found:
            raise ValueError(f"Two files are given for the language {code!r}: {found[code].path} and {place}.")
        sources = find_sources(place, language=code, **hub_kwargs)
        if len(sources) != 1 or sources[0].path.is_dir():
            raise ValueError(f"{place}, given for the language {name!r}, is not one file of word vectors.")
        found[code] = sources[0]
    return list(found.values())


def _in_folder(folder: Path, language: str | None) -> list[Source]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and _could_be_vectors(path.name))
    if not files:
        raise ValueError(
            f"{folder} is not a folder written by WordVectors.save, for which {', '.join(FILES)} are missing, and no "
            "file in it ends like word vectors (.vec, .txt, .bin, .wv, .kv, .pt, plain or packed)."
        )
    if len(files) == 1:
        return [Source(files[0], language)]
    if language is not None:
        raise ValueError(
            f"language is {language!r}, but {folder} has {len(files)} files of word vectors, as {files[0].name} and "
            f"{files[1].name}; pass one of the files, or filename."
        )
    sources: dict[str, Source] = {}
    for path in files:
        code = published_language(unpacked_name(path)) or iso639_3(find_language(path))
        if code is None:
            raise ValueError(
                f"{path}: its name doesn't say its language, as wiki.de.vec or deu.vec would, and {folder} has "
                f"{len(files)} files. Pass filename to load one, or a dictionary {{language: path}}."
            )
        if code in sources:
            raise ValueError(
                f"{sources[code].path} and {path} are both of the language {code!r}; pass a dictionary "
                "{language: path}, or filename to load one."
            )
        sources[code] = Source(path, code)
    return list(sources.values())


def _could_be_vectors(name: str) -> bool:
    return has_known_ending(Path(name)) and not _OTHER_FILES.fullmatch(PurePosixPath(name).name)


def _on_hub(name: str, language: str | None, filename: str | None, hub_kwargs: dict[str, Any]) -> Source:
    parts = name.split("/")
    if len(parts) != 2 or not all(parts) or name.startswith((".", "~")):
        raise FileNotFoundError(
            f"Word vectors: there is no file or folder {name!r}, and it isn't `user/name` on the Hub."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        if filename is None:
            files = _list_files(name, hub_kwargs)
            if set(FILES) <= set(files):
                return Source(Path(snapshot_download(name, allow_patterns=list(FILES), **hub_kwargs)))
            filename = _only_candidate(name, files)
        # gensim keeps large arrays in files beside.
        folder = Path(snapshot_download(name, allow_patterns=[filename, f"{filename}.*.npy"], **hub_kwargs))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise FileNotFoundError(
            f"Word vectors: there is no file or folder {name!r}, and no such repository could be read from the Hub "
            f"({type(error).__name__}: {error})."
        ) from error
    if not (folder / filename).is_file():
        raise FileNotFoundError(f"Word vectors: there is no file {filename!r} in the repository {name}.")
    origin = f"{name}/{filename}"
    return Source(folder / filename, language, origin)


def _list_files(name: str, hub_kwargs: dict[str, Any]) -> list[str]:
    """The files of a repository; where the Hub isn't reached, those that have been downloaded before."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return HfApi(token=hub_kwargs.get("token")).list_repo_files(name, revision=hub_kwargs.get("revision"))
    except (HfHubHTTPError, HFValidationError):
        raise
    except Exception:  # of which kind depends on huggingface_hub's HTTP library
        folder = Path(snapshot_download(name, local_files_only=True, **hub_kwargs))
        return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _only_candidate(name: str, files: list[str]) -> str:
    candidates = sorted(file for file in files if _could_be_vectors(file))
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        shown = ", ".join(sorted(files)[:20]) or "nothing"
        raise ValueError(
            f"The repository {name} has no word vectors written by WordVectors.save, and no file that ends like word "
            f"vectors (.vec, .txt, .bin, .wv, .kv, .pt, plain or packed); it has {shown}. If one of them holds word "
            "vectors, pass filename and format."
        )
    shown = ", ".join(candidates[:20]) + (f", ... ({len(candidates)} in all)" if len(candidates) > 20 else "")
    raise ValueError(
        f"The repository {name} has {len(candidates)} files that could be word vectors; pass filename, one of {shown}."
    )


def _extra_words(
    sources: list[Source], extra_words: Iterable[str] | Mapping[str, Iterable[str]]
) -> dict[str | None, list[str]]:
    """The extra words by the language that a source was given; one file may get them without."""
    if isinstance(extra_words, str):
        extra_words = [extra_words]
    if not isinstance(extra_words, Mapping):
        words = list(extra_words)
        if words and len(sources) > 1:
            raise ValueError(
                f"There are {len(sources)} files, so that extra_words has to be a dictionary {{language: words}}."
            )
        return {sources[0].language: words}
    by_language = {to_iso639_3(code, "a language of extra_words"): list(words) for code, words in extra_words.items()}
    given = {None if source.language is None else to_iso639_3(source.language) for source in sources}
    unused = [code for code in by_language if code not in given]
    if unused:
        raise ValueError(
            f"extra_words has words of {unused[0]!r}, but no file was given for that language; pass language, or a "
            "dictionary {language: path}."
        )
    return by_language


def _check_dimensions(sources: list[Source], dimensions: list[int | None]) -> None:
    first = next((i for i, dimension in enumerate(dimensions) if dimension is not None), 0)
    for source, dimension in zip(sources, dimensions):
        if dimension is not None and dimension != dimensions[first]:
            raise ValueError(
                f"{source.path} has vectors of {dimension} dimensions, but {sources[first].path} of "
                f"{dimensions[first]}; vectors in one space have the same."
            )


def _one_or_all(values: list[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else values
