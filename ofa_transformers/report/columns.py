"""The table of tokens and the map as columns that a page can hold: one safetensors file, packed into text."""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy

from ..initialization.mapping.token_mapping import TokenKind, TokenMapping
from ..text.languages import language_name
from ..text.scripts import scripts_of
from ..tokenization.vocabulary import Vocabulary
from ..utils.strict_json import dumps
from .map import EmbeddingMap
from .measures import nearest_cosines


# Source tokens and words that are listed, over all tokens: what keeps the page of 400,000 tokens under 15 MB.
_MOST_SOURCES, _MOST_WORDS = 950_000, 450_000
_WORDS_OF_A_TOKEN = 4
_LONGEST_TEXT = 200
NO_LANGUAGE = 65_535


@dataclass(frozen=True, eq=False)
class PageColumns:
    """What a page knows of each token.

    Texts are UTF-8 in one piece (`*_text`) with the length of each in UTF-16 code units (`*_length`), as scripts in a
    page count them. Lists are one after another (`sources`, `weights`, `words`) with the number of each token
    (`source_count`, `word_count`).

    Attributes:
        arrays: by name; one-dimensional.
        facts: `languages`, `scripts`: what the numbers in `language` and `script` mean; `names` of the languages;
            `neighbors`: how many source tokens are listed of how many; `map`: of the map.
    """

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]

    def pack(self) -> str:
        """Base64 of the gzipped safetensors file."""
        file = safetensors.numpy.save(self.arrays, metadata={"facts": dumps(self.facts, ensure_ascii=False)})
        return base64.b64encode(gzip.compress(file, compresslevel=6, mtime=0)).decode("ascii")

    @classmethod
    def unpack(cls, text: str) -> "PageColumns":
        """The opposite of `pack`."""
        file = gzip.decompress(base64.b64decode(text))
        header = json.loads(file[8 : 8 + int.from_bytes(file[:8], "little")])
        return cls(safetensors.numpy.load(file), json.loads(header["__metadata__"]["facts"]))

    def texts(self, name: str) -> list[str]:
        """The texts of `name`: "token", "source" or "word"."""
        units = self.arrays[f"{name}_text"].tobytes().decode("utf-8").encode("utf-16-le")
        ends = (2 * np.cumsum(self.arrays[f"{name}_length"], dtype=np.int64)).tolist()
        return [units[start:end].decode("utf-16-le") for start, end in zip([0, *ends], ends)]


def page_columns(mapping: TokenMapping, embedding_map: EmbeddingMap | None) -> PageColumns:
    """The columns of a mapping that was built, not loaded."""
    languages = np.unique(mapping.word_vectors.languages)
    language = np.searchsorted(languages, mapping.languages).astype(np.uint16)
    language[mapping.languages == ""] = NO_LANGUAGE
    scripts, script = np.unique(
        scripts_of([(form or b"").decode("utf-8", "ignore") for form in mapping.target.forms]), return_inverse=True
    )
    cosine = np.zeros(mapping.shape[0], dtype=np.uint8)
    cosine[mapping.kinds == TokenKind.COMPOSED] = np.rint(
        (np.nan_to_num(nearest_cosines(mapping), nan=-1) + 1) * 127.5
    )
    arrays = {
        **_pack_texts("token", readable_tokens(mapping.target)),
        **_pack_texts("source", readable_tokens(mapping.source)),
        "kind": mapping.kinds,
        "match": mapping.match_kinds,
        "language": language,
        "script": script.astype(np.uint8),
        "cosine": cosine,
    }
    sources, listed, most = _sources(mapping)
    arrays |= sources | _words(mapping, languages)
    facts: dict[str, Any] = {
        "languages": [str(code) for code in languages],
        "names": {str(code): language_name(str(code)) for code in languages},
        "scripts": [str(code) for code in scripts],
        "neighbors": [listed, most],
    }
    if embedding_map is not None:
        arrays["map_points"] = np.rint(embedding_map.points * 32_767).astype(np.int16).reshape(-1)
        arrays["map_ids"] = embedding_map.ids
        arrays["map_translations"] = embedding_map.translations.reshape(-1)
        facts["map"] = {
            "sources": embedding_map.num_source,
            "explained": embedding_map.explained,
            "method": embedding_map.method,
        }
    return PageColumns(arrays, facts)


def readable_tokens(vocabulary: Vocabulary) -> list[str]:
    """Tokens as spelled, but byte-level ones as the text that they stand for, where they are whole characters."""
    if vocabulary.kind != "byte_level":
        return [token or "" for token in vocabulary.tokens]
    return [_readable(token or "", form) for token, form in zip(vocabulary.tokens, vocabulary.forms)]


def _readable(token: str, form: bytes | None) -> str:
    if form is None or token.isascii():
        return token
    try:
        text = form.decode()
    except UnicodeDecodeError:
        return token
    return "Ġ" + text[1:] if text.startswith(" ") else text


def _pack_texts(name: str, texts: Sequence[str]) -> dict[str, np.ndarray]:
    if max(map(len, texts), default=0) > _LONGEST_TEXT:
        texts = [text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…" for text in texts]
    joined = "".join(texts)
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    # A character beyond the basic plane is two code units.
    wide = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32) > 0xFFFF
    before = np.concatenate([[0], np.cumsum(wide)])
    ends = np.cumsum(lengths)
    lengths += before[ends] - before[ends - lengths]
    return {
        f"{name}_text": np.frombuffer(joined.encode("utf-8", "replace"), dtype=np.uint8),
        f"{name}_length": lengths.astype(np.uint16),
    }


def _sources(mapping: TokenMapping) -> tuple[dict[str, np.ndarray], int, int]:
    """Source tokens of each token, those of most weight first; how many are listed at most, and how many there are."""
    weights = mapping.weights
    counts = np.diff(weights.indptr)
    most = int(counts.max(initial=1))
    composed = int((counts > 1).sum())
    room = _MOST_SOURCES - int((counts == 1).sum())
    listed = min(most, max(1, room // max(composed, 1)), 255)
    rows = np.repeat(np.arange(len(counts)), counts)
    # By row, and within it by weight; entries of a row are in order of their ids, which decides ties.
    order = np.argsort(rows - np.minimum(weights.data, 1) * 0.5, kind="stable")
    kept = order[(np.arange(len(order)) - weights.indptr[:-1][rows]) < listed]
    ids = weights.indices[kept]
    arrays = {
        "source_count": np.minimum(counts, listed).astype(np.uint8),
        # Bytes of like meaning next to each other pack better.
        "sources_low": (ids & 0xFFFF).astype(np.uint16),
        "sources_high": (ids >> 16).astype(np.uint8),
        "weights": np.rint(np.clip(weights.data[kept], 0, 1) * 255).astype(np.uint8),
    }
    return arrays, listed, most


def _words(mapping: TokenMapping, languages: np.ndarray) -> dict[str, np.ndarray]:
    """Some words of each token, most frequent first, and how many there are."""
    incidence, vectors = mapping.incidence, mapping.word_vectors
    totals = np.diff(incidence.indptr)
    filled = np.flatnonzero(totals)
    listed = max(1, min(_WORDS_OF_A_TOKEN, _MOST_WORDS // max(len(filled), 1)))
    # Word -> its place among all words, in file order where there are no frequencies.
    by_frequency = np.arange(len(vectors))
    if vectors.frequencies is not None:
        by_frequency = np.argsort(-vectors.frequencies, kind="stable")
    place = np.empty(len(vectors), dtype=np.int32)
    place[by_frequency] = np.arange(len(vectors), dtype=np.int32)
    places = place[incidence.indices]
    starts = incidence.indptr[:-1][filled]
    last = np.iinfo(np.int32).max
    found = np.full((len(filled), listed), last, dtype=np.int32)
    for column in range(listed if len(filled) else 0):
        found[:, column] = np.minimum.reduceat(places, starts)
        places[places == np.repeat(found[:, column], totals[filled])] = last
    present = found != last
    used, index = np.unique(found[present], return_inverse=True)
    words = by_frequency[used]
    counts = np.zeros(len(totals), dtype=np.uint8)
    counts[filled] = present.sum(axis=1)
    return {
        **_pack_texts("word", [vectors.words[i] for i in words.tolist()]),
        "word_language": np.searchsorted(languages, vectors.languages[words]).astype(np.uint16),
        "word_count": counts,
        "word_total": totals.astype(np.uint32),
        "words_low": (index & 0xFFFF).astype(np.uint16),
        "words_high": (index >> 16).astype(np.uint8),
    }
