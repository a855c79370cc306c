"""Word vectors from parallel text by segment identity (Levy et al., 2017)."""

import itertools
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import svds
from transformers.utils import logging

from .readers import open_text


logger = logging.get_logger(__name__)

# Scripts written without spaces between words: Thai, Lao, Tibetan, Myanmar (and extensions), Khmer, Kana, Han.
_UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)

# Up to this many segments or words, a dense eigendecomposition is exact, quick, and not bound to dim < both.
_DENSE_SIDE = 2048


def build_from_parallel(
    texts: Mapping[str, Any] | Iterable[str | os.PathLike],
    *,
    dim: int,
    min_count: int,
    lowercase: bool,
    tokenize: Callable[[str], list[str]] | None,
    seed: int,
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """See `WordVectors.from_parallel`. Returns words, languages, vectors, frequencies, metadata."""
    for name, value in (("dim", dim), ("min_count", min_count)):
        if value < 1:
            raise ValueError(f"{name} is {value}, but must be at least 1.")
    sources = _by_language(texts)
    tokenize = tokenize or split_words

    segment_ids: dict[str, int] = {}
    words: list[str] = []
    languages: list[np.ndarray] = []
    blocks: list[scipy.sparse.csr_array] = []
    frequencies: list[np.ndarray] = []
    segments_of: dict[str, int] = {}
    for language in logging.tqdm(sorted(sources), desc="Counting words", unit="language", delay=2, leave=False):
        counts, language_words = _count(language, sources[language], segment_ids, tokenize, lowercase)
        totals = counts.sum(axis=1)
        kept = np.flatnonzero(totals >= min_count)
        if not len(kept):
            raise ValueError(
                f"No word of {language!r} occurs {min_count} times or more in its {counts.nnz} words; pass a smaller "
                "min_count or more text."
            )
        segments_of[language] = len(np.unique(counts.indices))
        words.extend(language_words[i] for i in kept.tolist())
        languages.append(np.full(len(kept), language))
        blocks.append(counts[kept])
        frequencies.append(totals[kept])
    if len(sources) > 1 and sum(segments_of.values()) == len(segment_ids):
        raise ValueError(
            f"The texts of {', '.join(sorted(sources))} share no segment id, so nothing aligns them; give the same id "
            "to segments that are translations of each other."
        )
    for block in blocks:  # later languages brought more segments
        block.resize(block.shape[0], len(segment_ids))
    counts = scipy.sparse.vstack(blocks, format="csr")
    del blocks
    vectors = _factorize_ppmi(counts, dim, seed)

    frequency = np.concatenate(frequencies)
    language = np.concatenate(languages)
    norms = np.linalg.norm(vectors, axis=1)
    informative = norms > 1e-6 * norms.max()
    order = np.lexsort((np.arange(len(frequency)), -frequency))
    order = order[informative[order]]
    if not informative.all():
        logger.info("%d words occur evenly in all segments and were left out.", int((~informative).sum()))
    metadata = {
        "origin": "parallel text",
        "method": "segment identity, PPMI, truncated SVD",
        "segments": segments_of,
        "dim": dim,
        "min_count": min_count,
        "lowercase": lowercase,
        "seed": seed,
    }
    vectors = (vectors[order] / norms[order, None]).astype(np.float32)
    return [words[i] for i in order.tolist()], language[order], vectors, frequency[order].astype(np.float32), metadata


def split_words(text: str) -> list[str]:
    """Runs of letters, marks and digits; in scripts without spaces the 1- and 2-grams of their characters.

    A character there is a base with the combining marks that follow it.
    """
    words: list[str] = []
    for spaced, unspaced in _word_pattern().findall(text):
        if spaced:
            words.append(spaced)
        else:
            clusters = _clusters(unspaced)
            words.extend(clusters)
            words.extend(a + b for a, b in itertools.pairwise(clusters))
    return words


@lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern:
    # `\w` lacks the combining marks, without which words of Indic scripts fall apart.
    unspaced = re.compile(f"[{_UNSPACED}]")
    marks = (char for char in map(chr, range(0x300, 0x20000)) if unicodedata.category(char)[0] == "M")
    mark = "".join(char for char in marks if not unspaced.match(char))
    letters = rf"[^\W_{_UNSPACED}]"
    return re.compile(rf"({letters}+(?:[{mark}]+{letters}*)*)|([{_UNSPACED}]+)")


def _clusters(run: str) -> list[str]:
    clusters: list[str] = []
    for char in run:
        category = unicodedata.category(char)[0]
        if category == "M" and clusters:
            clusters[-1] += char
        elif category in "LMN":
            clusters.append(char)
    return clusters


def _by_language(texts: Mapping[str, Any] | Iterable[str | os.PathLike]) -> dict[str, list[Any]]:
    """language -> list of paths or of iterables of (id, text) pairs; every path exists."""
    sources: dict[str, list[Any]] = {}
    if isinstance(texts, Mapping):
        for language, text in texts.items():
            if isinstance(text, (str, os.PathLike)):
                sources[language] = [Path(text)]
            elif isinstance(text, (list, tuple)) and text and all(isinstance(t, (str, os.PathLike)) for t in text):
                sources[language] = [Path(t) for t in text]
            else:
                sources[language] = [text]
    else:
        if isinstance(texts, (str, os.PathLike)):
            texts = [texts]
        for path in map(Path, texts):
            match = re.match(r"([a-z]{3})(?![a-z])", path.name)
            if match is None:
                raise ValueError(
                    f"The file name {path.name!r} doesn't begin with an ISO 639-3 code (like deu_Latn.tsv.gz); pass "
                    "a dict language -> path instead."
                )
            sources.setdefault(match[1], []).append(path)
    if not sources:
        raise ValueError("texts is empty; pass at least one language.")
    for language, parts in sources.items():
        for part in parts:
            if isinstance(part, Path) and not part.is_file():
                raise FileNotFoundError(f"The text of {language!r}, {part}, is not a file.")
    return sources


def _segments(part: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(part, Path):
        for item in part:
            identifier, text = item
            yield str(identifier), text
        return
    with open_text(part) as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{part}, line {number}: not valid UTF-8 ({error.reason}), in {line[:60]!r}; convert the file to "
                    "UTF-8."
                ) from error
            if not text.strip():
                continue
            identifier, tab, segment = text.partition("\t")
            if not tab or not identifier:
                raise ValueError(
                    f"{part}, line {number}: expected `id<TAB>text`, but found {text[:80]!r}; correct or remove the "
                    "line."
                )
            yield identifier, segment


def _count(language, parts, segment_ids, tokenize, lowercase) -> tuple[scipy.sparse.csr_array, list[str]]:
    """The word x segment counts of one language; new segment ids are added to `segment_ids`."""
    vocabulary: dict[str, int] = {}
    rows: list[int] = []
    columns: list[int] = []
    lengths: list[int] = []
    for part in parts:
        for identifier, text in _segments(part):
            found = tokenize(text.lower() if lowercase else text)
            columns.append(segment_ids.setdefault(identifier, len(segment_ids)))
            lengths.append(len(found))
            rows.extend(vocabulary.setdefault(word, len(vocabulary)) for word in found)
    if not rows:
        raise ValueError(f"The text of {language!r} has no words; pass a text, or leave the language out.")
    counts = scipy.sparse.coo_array(
        (np.ones(len(rows), dtype=np.float64), (np.asarray(rows), np.repeat(columns, lengths))),
        shape=(len(vocabulary), len(segment_ids)),
    ).tocsr()
    return counts, list(vocabulary)


def _factorize_ppmi(counts: scipy.sparse.csr_array, dim: int, seed: int) -> np.ndarray:
    """U sqrt(S) of the PPMI of `counts` (words x segments), float64.

    The square root of the singular values is what Levy et al. (2015, "Improving distributional similarity with lessons
    learned from word embeddings", section 3.3) found best for SVD of PPMI.
    """
    row_sums, column_sums, total = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    ppmi = counts
    row_of = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    ppmi.data = np.maximum(np.log(counts.data * total / (row_sums[row_of] * column_sums[counts.indices])), 0)
    ppmi.eliminate_zeros()

    side = min(ppmi.shape)
    limit = side if side <= _DENSE_SIDE else side - 1
    if dim > limit:
        raise ValueError(
            f"dim is {dim}, but {ppmi.shape[0]} words in {ppmi.shape[1]} segments give at most {limit} dimensions; "
            f"pass dim={limit} or less, or more text."
        )
    if side <= _DENSE_SIDE:
        tall = ppmi if ppmi.shape[0] >= ppmi.shape[1] else ppmi.T.tocsr()
        eigenvalues, eigenvectors = np.linalg.eigh((tall.T @ tall).toarray())
        values = np.sqrt(np.maximum(eigenvalues[::-1][:dim], 0))
        small = eigenvectors[:, ::-1][:, :dim]
        if tall is ppmi:
            # X v = u s; a direction without weight stays zero.
            projected = ppmi @ small
            scale = np.where(values > 1e-7 * values[0], 1 / np.sqrt(np.maximum(values, 1e-300)), 0)
            left = projected * scale
        else:
            left = small * np.sqrt(values)
    else:
        start = np.random.default_rng(seed).standard_normal(side)
        u, values, _ = svds(ppmi, k=dim, v0=start, solver="arpack")
        order = np.argsort(-values)
        left = u[:, order] * np.sqrt(values[order])
    largest = np.abs(left).argmax(axis=0)
    return left * np.where(left[largest, np.arange(left.shape[1])] < 0, -1.0, 1.0)
