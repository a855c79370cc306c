"""`WordVectors`: words of many languages with vectors in one space."""

import difflib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from transformers.utils import logging

from ..files import check_output_folder, new_folder
from .readers import read_vectors


logger = logging.get_logger(__name__)

FORMAT = "ofa_transformers.word_vectors"
FORMAT_VERSION = 1
_VECTORS, _WORDS, _METADATA = "vectors.safetensors", "words.txt", "metadata.json"


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words of one or many languages with vectors in one space, as OFA needs them (section 3.2).

    Attributes:
        words: N words without language prefix. A `$` in a word marks a word boundary and stands for a space, as in
            ColexNet+ (`$haus$`); words without it are whole words or parts of words, as their maker meant.
        languages: (N,) the language of each word, ISO 639-3 codes as a numpy string array.
        vectors: (N, d) float32.
        frequencies: (N,) float32 counts of the words, or None where the origin has none.
        metadata: where the vectors come from; anything that JSON can hold.

    Raises:
        ValueError: lengths that differ, no words, or vectors with NaN or infinite values.
    """

    words: Sequence[str]
    languages: np.ndarray
    vectors: np.ndarray
    frequencies: np.ndarray | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "languages", np.asarray(self.languages, dtype=np.str_))
        object.__setattr__(self, "vectors", np.asarray(self.vectors, dtype=np.float32))
        if self.vectors.ndim != 2:
            raise ValueError(f"vectors must be a matrix (N, d), but has the shape {self.vectors.shape}.")
        lengths = {"words": len(self.words), "languages": len(self.languages), "vectors": len(self.vectors)}
        if self.frequencies is not None:
            object.__setattr__(self, "frequencies", np.asarray(self.frequencies, dtype=np.float32))
            lengths["frequencies"] = len(self.frequencies)
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{count} {name}" for name, count in lengths.items())
            raise ValueError(f"Each word needs one language and one vector, but there are {found}.")
        if self.vectors.size == 0:
            raise ValueError(f"Word vectors need at least one word and one dimension, but have {self.vectors.shape}.")
        for start in range(0, len(self.vectors), 65_536):
            finite = np.isfinite(self.vectors[start : start + 65_536]).all(axis=1)
            if not finite.all():
                row = start + int(np.argmin(finite))
                raise ValueError(
                    f"The vector of word {row}, {self.words[row]!r} ({self.languages[row]}), has NaN or infinite "
                    "values; remove the word or repair its vector."
                )

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        counts = self.language_counts()
        shown = ", ".join(list(counts)[:8]) + (", ..." if len(counts) > 8 else "")
        return f"WordVectors({len(self):,} words x {self.dimension}, {len(counts)} languages: {shown})"

    @property
    def dimension(self) -> int:
        return self.vectors.shape[1]

    def language_counts(self) -> dict[str, int]:
        """Words per language, the largest first."""
        names, counts = np.unique(self.languages, return_counts=True)
        order = np.lexsort((names, -counts))
        return {str(names[i]): int(counts[i]) for i in order}

    def select(self, languages: Iterable[str] | None = None, max_words: int | None = None) -> np.ndarray:
        """The indices of the words of `languages` (all if None), of these the first `max_words`, in their order.

        Raises:
            ValueError: a language that no word has (the nearest available ones are named), or max_words < 1.
        """
        if max_words is not None and max_words < 1:
            raise ValueError(f"max_words is {max_words}, but at least one word is needed; pass None for all words.")
        if languages is None:
            return np.arange(len(self))[:max_words]
        wanted = [languages] if isinstance(languages, str) else sorted(set(languages))
        available = [str(name) for name in np.unique(self.languages)]
        missing = [code for code in wanted if code not in available]
        if missing or not wanted:
            raise ValueError(_missing_languages(missing, available))
        return np.flatnonzero(np.isin(self.languages, wanted))[:max_words]

    def subset(self, indices: np.ndarray) -> "WordVectors":
        """The words at `indices`, an integer or boolean array over the words, in that order."""
        indices = np.arange(len(self))[indices]
        return WordVectors(
            words=[self.words[i] for i in indices.tolist()],
            languages=self.languages[indices],
            vectors=self.vectors[indices],
            frequencies=None if self.frequencies is None else self.frequencies[indices],
            metadata=self.metadata,
        )

    @classmethod
    def load(
        cls,
        path_or_hub_id: str | os.PathLike,
        *,
        language: str | None = None,
        format: str | None = None,
        default_language: str = "eng",
        allow_pickle: bool = False,
        revision: str | None = None,
        cache_dir: str | None = None,
        token: str | bool | None = None,
    ) -> "WordVectors":
        """Word vectors from a file, a folder written by `save`, or a repository on the Hub that holds such a folder.

        Files, plain or packed with gzip or zstd (extra `zstd`), are

        - "word2vec": text with a header `N d`, then one line a word, fastText's .vec and MUSE among it;
        - "glove": the same without a header; a word that is there twice counts once, with a warning;
        - "word2vec-binary": the binary format of word2vec (GoogleNews), .bin;
        - "gensim": KeyedVectors as gensim saves them (.wv, .kv, with .npy files beside), or a model with such as its
          `.wv`; a pickle, read only with `allow_pickle=True` (extra `gensim`), with counts where they are real ones.

        Where pyarrow is installed (extra `arrow`), text is parsed about twice as fast a core and on several cores.
        A file has many languages, its words keyed `lng:word` with an ISO 639-3 code, or one.

        Args:
            path_or_hub_id: a file, a folder, or `user/name` on the Hub.
            language: the language of all words of a file of one language, whose keys are then taken whole; an ISO 639
                code of three letters, or two, which become ISO 639-3 (`de` is `deu`; `sw` the macrolanguage `swa`).
                If None and keys have no prefix, names such as `wiki.multi.de.vec`, `wiki.de.align.vec`,
                `cc.de.300.vec.gz` and `numberbatch-de.txt` tell.
            format: one of the above; None to see it from the content, which has to agree with the ending if that is
                .txt, .vec, .bin, .wv or .kv.
            default_language: the language of words without a `lng:` prefix where neither `language` nor the name of
                the file says it.
            allow_pickle: unpickle the file if its format needs it. A pickle can run any code when it is loaded: say
                True only for files from a source that you trust.
            revision, cache_dir, token: as in Transformers' `from_pretrained`, for the Hub.

        Raises:
            FileNotFoundError: no such file or folder, and not the name of a repository.
            ImportError: the extra that the file needs isn't installed.
            ValueError: anything in the file that is not as it should be, with file, line or byte and content, or
                arguments that don't fit it.
        """
        path = Path(path_or_hub_id)
        if not path.exists():
            path = _download(str(path_or_hub_id), revision=revision, cache_dir=cache_dir, token=token)
        if path.is_dir():
            if language is not None or format is not None:
                raise ValueError(f"{path} is a folder, which knows its languages; leave language and format out.")
            return cls._load_folder(path)
        return cls(
            *read_vectors(
                path, language=language, format=format, default_language=default_language, allow_pickle=allow_pickle
            )
        )

    @classmethod
    def _load_folder(cls, folder: Path) -> "WordVectors":
        absent = [name for name in (_VECTORS, _WORDS, _METADATA) if not (folder / name).is_file()]
        if absent:
            raise ValueError(
                f"{folder} is not a folder written by WordVectors.save: {', '.join(absent)} missing. For vectors in "
                "another format pass the file itself."
            )
        try:
            metadata = json.loads((folder / _METADATA).read_text(encoding="utf-8"))
            tensors = load_file(folder / _VECTORS)
            words = (folder / _WORDS).read_bytes().decode("utf-8").split("\n")
        except (json.JSONDecodeError, UnicodeDecodeError, SafetensorError) as error:
            raise ValueError(f"{folder} is damaged: {error}. Save or download the word vectors again.") from error
        if metadata.get("format") != FORMAT or metadata.get("format_version", 0) > FORMAT_VERSION:
            raise ValueError(
                f"{folder / _METADATA} says {metadata.get('format')!r}, version {metadata.get('format_version')!r}; "
                f"this library reads {FORMAT!r} up to version {FORMAT_VERSION}. Upgrade ofa-transformers."
            )
        words = words[:-1]  # the last line ends in a newline, too
        codes = np.asarray(metadata["languages"], dtype=np.str_)
        vectors, language_ids = tensors["vectors"], tensors["language_ids"]
        if not len(words) == len(vectors) == len(language_ids) == metadata["num_words"]:
            raise ValueError(
                f"{folder} is damaged: {len(words)} words, {len(vectors)} vectors and {len(language_ids)} languages, "
                f"where the metadata says {metadata['num_words']}. Save or download the word vectors again."
            )
        return cls(words, codes[language_ids], vectors, tensors.get("frequencies"), metadata.get("metadata", {}))

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Writes a folder with `vectors.safetensors`, `words.txt` (UTF-8, one a line) and `metadata.json`.

        The folder appears only when complete; until then the data lies in a temporary folder beside it.

        Raises:
            FileExistsError: `path` exists, isn't an empty folder, and `overwrite` is False.
            ValueError: a word has a line break.
        """
        target = check_output_folder(path, overwrite)
        broken = next((word for word in self.words if "\n" in word), None)
        if broken is not None:
            raise ValueError(f"The word {broken!r} has a line break and cannot be saved; remove or change the word.")
        codes, language_ids = np.unique(self.languages, return_inverse=True)
        tensors = {
            "vectors": np.ascontiguousarray(self.vectors),
            "language_ids": language_ids.reshape(-1).astype(np.int32),
        }
        if self.frequencies is not None:
            tensors["frequencies"] = np.ascontiguousarray(self.frequencies)
        description = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "num_words": len(self),
            "dimension": self.dimension,
            "languages": codes.tolist(),
            "metadata": dict(self.metadata),
        }

        with new_folder(target, overwrite) as folder:
            save_file(tensors, folder / _VECTORS)
            with open(folder / _WORDS, "w", encoding="utf-8", newline="") as file:
                file.writelines(word + "\n" for word in self.words)
            text = json.dumps(description, ensure_ascii=False, indent=1)
            (folder / _METADATA).write_text(text + "\n", encoding="utf-8")
        logger.info("Word vectors saved to %s.", target)
        return target

    @classmethod
    def from_parallel(
        cls,
        texts: Mapping[str, Any] | Iterable[str | os.PathLike],
        *,
        dim: int = 200,
        min_count: int = 2,
        lowercase: bool = True,
        tokenize: Callable[[str], list[str]] | None = None,
        seed: int = 0,
    ) -> "WordVectors":
        """Word vectors from text whose segments (verses, sentences, articles) have the same ids in all languages.

        Two words are near if they occur in segments with the same ids (Levy et al., 2017, "A strong baseline for
        learning cross-lingual word embeddings from sentence alignments"): the word x segment counts of all languages
        together, positive pointwise mutual information, truncated SVD. Segments may be missing in any language.

        Args:
            texts: language -> its text, or file paths whose names begin with the language (`deu_Latn.tsv.gz`). A text
                is a path or several paths to files with `id<TAB>text` lines, plain or gzipped, or an iterable of (id,
                text) pairs. Language names are ISO 639-3 codes; several texts of one language are added up.
            dim: the dimension d; below the number of segments and of words.
            min_count: rarer words (occurrences in their language) are left out.
            lowercase: count words in lower case; the subword step capitalises by itself.
            tokenize: text -> words. By default runs of letters, marks and digits, and where the script has no spaces
                (Han, Kana, Thai, Lao, Khmer, Myanmar, Tibetan) its character 1- and 2-grams.
            seed: of the starting vector of the SVD.

        Returns:
            Unit-length vectors, with the words' counts as frequencies, the most frequent words first.

        Raises:
            ValueError: no segments, no segment id that two languages share, no word left, a dim that is too large, or
                a line that is not `id<TAB>text` (file, line and content are named).
        """
        from .parallel import build_from_parallel

        words, languages, vectors, frequencies, metadata = build_from_parallel(
            texts, dim=dim, min_count=min_count, lowercase=lowercase, tokenize=tokenize, seed=seed
        )
        return cls(words, languages, vectors, frequencies, metadata)


def _missing_languages(missing: list[str], available: list[str]) -> str:
    if not missing:
        return "The list of languages is empty; name at least one, or pass None for all."
    hints = []
    for code in missing:
        # First letters count most in language codes, and difflib ranks any common letters.
        near = difflib.get_close_matches(code.lower(), available, n=3, cutoff=0.5)
        hints.append(f"{code!r}" + (f" (nearest: {', '.join(near)})" if near else ""))
    shown = ", ".join(available[:30]) + (f", ... ({len(available)} in all)" if len(available) > 30 else "")
    return f"No word vector has the language {', '.join(hints)}. Languages are ISO 639-3 codes; available: {shown}."


def _download(name: str, **kwargs: Any) -> Path:
    parts = name.split("/")
    if len(parts) != 2 or not all(parts) or name.startswith(("/", ".", "~")):
        raise FileNotFoundError(
            f"Word vectors: there is no file or folder {name!r}, and it isn't `user/name` on the Hub."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=[_VECTORS, _WORDS, _METADATA], **kwargs))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise FileNotFoundError(
            f"Word vectors: there is no file or folder {name!r}, and no such repository could be read from the Hub "
            f"({type(error).__name__}: {error})."
        ) from error
