"""What the published OFA code returns, run unchanged, against this library with `authors_compatible=True`.

One case lies in tests/goldens; all three, with their provenance, in ../shared/golden (see its QUIRKS.md).
"""

import ast
import gzip
import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from conftest import GOLDENS
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ofa_transformers.initialization.mapping.subword_vectors import subword_vectors
from ofa_transformers.mapping import TokenKind, TokenMapping, Vocabulary, build_mapping
from ofa_transformers.models.factorization import factorize
from ofa_transformers.vectors import WordVectors


SPECIALS = {
    "bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>",
    "unk_token": "<unk>", "mask_token": "<mask>",
}  # fmt: skip


@dataclass
class Golden:
    """`targets`: embedding size -> full-size target rows F P; only `compared` rows are determined by the input."""

    source: PreTrainedTokenizerFast
    target: PreTrainedTokenizerFast
    vectors: WordVectors
    options: dict
    source_embeddings: np.ndarray
    source_vectors: np.ndarray
    target_vectors: np.ndarray
    overlap: dict[int, int]
    kinds: np.ndarray
    compared: np.ndarray
    targets: dict[int, np.ndarray]
    fallback: np.ndarray | None = None
    mapping: TokenMapping = None


def from_repository(folder) -> Golden:
    def tokenizer(side):
        content = gzip.decompress((folder / f"{side}_tokenizer.json.gz").read_bytes()).decode()
        return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(content), **SPECIALS)

    with np.load(folder / "expected.npz") as file:
        data = dict(file)
    overlap = dict(data["overlap"].tolist())
    targets = {}
    for size in (8, 32):
        composed = data[f"target_{size}"]
        rows = np.zeros((len(data["token_kind"]), 32), dtype=np.float32)
        rows[data["compared_rows"]] = composed @ data["primitives_8"] if size == 8 else composed
        targets[size] = rows
    return Golden(
        source=tokenizer("source"),
        target=tokenizer("target"),
        vectors=WordVectors.load(folder / "vectors.txt.gz"),
        options={},
        source_embeddings=data["source_embeddings"],
        source_vectors=data["U_s"],
        target_vectors=data["U_t"],
        overlap=overlap,
        kinds=data["token_kind"],
        compared=data["compared_rows"],
        targets=targets,
    )


def from_shared(folder) -> Golden:
    case = json.loads((folder / "case.json").read_text())["params"]
    target = AutoTokenizer.from_pretrained(folder / "target_tokenizer")
    kinds, gaps = np.load(folder / "token_kind.npy"), np.load(folder / "neighbor_gap.npy")
    targets = {32: np.load(folder / "keep_32" / "target_matrix.npy")}
    for size in (8, 16):
        parts = [
            np.load(folder / f"keep_{size}" / f"{name}.npy") for name in ("target_matrix", "primitive_embeddings")
        ]
        targets[size] = parts[0] @ parts[1]
    return Golden(
        source=AutoTokenizer.from_pretrained(folder / "source_tokenizer"),
        target=target,
        vectors=WordVectors.load(folder / "vectors.txt"),
        options={
            "source_languages": ast.literal_eval(case["source_language_set"]),
            "target_languages": ast.literal_eval(case["target_language_set"]),
            "max_words": case["max_n_word_vectors"],
        },
        source_embeddings=np.load(folder / "source_embeddings.npy"),
        source_vectors=np.load(folder / "U_s.npy"),
        target_vectors=np.load(folder / "U_t.npy"),
        overlap=dict(json.loads((folder / "overlap.json").read_text()).values()),
        kinds=kinds,
        compared=np.flatnonzero((kinds == 0) | ((kinds == 1) & (gaps >= 1e-9))),
        targets=targets,
        fallback=targets[32],
    )


@pytest.fixture(
    scope="module", params=["repository/init_roberta", "shared/xlmr", "shared/roberta", "shared/restricted"]
)
def golden(request) -> Golden:
    place, name = request.param.split("/")
    if place == "repository":
        golden = from_repository(GOLDENS / name)
    else:
        golden = from_shared(request.getfixturevalue("shared") / "golden" / "init" / name)
    golden.mapping = build_mapping(
        golden.source, golden.target, golden.vectors, authors_compatible=True, **golden.options
    )
    return golden


@pytest.mark.parametrize("side", ["source", "target"])
def test_subword_vectors(golden, side):
    words = np.arange(len(golden.vectors))[: golden.options.get("max_words")]
    languages = golden.options.get(f"{side}_languages")
    if languages is not None:
        words = words[np.isin(golden.vectors.languages[words], list(languages))]
    vocabulary = Vocabulary.from_tokenizer(getattr(golden, side))
    found = subword_vectors(vocabulary, golden.vectors, words, authors_compatible=True)
    expected = getattr(golden, f"{side}_vectors")
    np.testing.assert_allclose(found.vectors, expected, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(found.covered, expected.any(axis=1))


def test_overlap(golden):
    weights = golden.mapping.weights
    copied = np.flatnonzero(golden.mapping.kinds == TokenKind.COPIED)
    found = {int(row): int(weights.indices[weights.indptr[row]]) for row in copied}
    assert found == golden.overlap
    assert (weights.data[weights.indptr[copied]] == 1).all()


def test_kinds(golden):
    np.testing.assert_array_equal(golden.mapping.kinds, golden.kinds)


def test_target_matrix(golden):
    source = torch.from_numpy(golden.source_embeddings)
    rows = golden.compared
    for size, expected in golden.targets.items():
        if size == source.shape[1]:
            found = golden.mapping.apply(source)
        else:
            coordinates, primitives = factorize(source, size)
            found = golden.mapping.apply(coordinates) @ primitives
        np.testing.assert_allclose(found[rows].numpy(), expected[rows], atol=1e-5, rtol=0, err_msg=f"size {size}")


def test_fallback_rows_are_the_published_draws(golden):
    source, rows = golden.source_embeddings, golden.kinds == 2
    draws = np.random.RandomState(114514).normal(source.mean(axis=0), source.std(axis=0), (len(rows), source.shape[1]))
    found = golden.mapping.apply(source)[rows]
    np.testing.assert_array_equal(found, draws[rows].astype(np.float32))
    if golden.fallback is not None:
        np.testing.assert_array_equal(found, golden.fallback[rows])


def test_the_default_differs_where_it_should(golden):
    mapping = build_mapping(golden.source, golden.target, golden.vectors, **golden.options)
    assert mapping.counts()[TokenKind.SPECIAL] == 5
    unk = golden.source.unk_token_id
    composed = np.flatnonzero(mapping.kinds == TokenKind.COMPOSED)
    assert len(composed) > 100
    neighbors = mapping.weights[composed].indices
    tokens = {golden.source.convert_ids_to_tokens(int(i)) for i in np.unique(neighbors)}
    assert unk not in neighbors and not tokens & {"▁", "Ġ", *golden.source.all_special_tokens}
