"""The direction that composed rows get for their language."""

import numpy as np
import pytest
import torch
from conftest import word_tokenizer

import ofa_transformers as ofa
from ofa_transformers.initialization.mapping.language_offset import language_directions
from ofa_transformers.mapping import TokenKind, TokenMapping, build_mapping


# Every German and Swahili word but "radio" is composed of English ones; "ni" is mostly Swahili.
WORDS = {
    "eng": {"the": 900, "house": 50, "water": 40, "radio": 100},
    "deu": {"das": 800, "haus": 60, "ni": 1},
    "swh": {"nyumba": 70, "maji": 30, "ni": 500},
}


@pytest.fixture(scope="module")
def vectors() -> ofa.WordVectors:
    words = [(f"${word}$", language, count) for language, counts in WORDS.items() for word, count in counts.items()]
    names, languages, frequencies = zip(*words)
    matrix = np.random.default_rng(0).standard_normal((len(words), 6)).astype(np.float32)
    return ofa.WordVectors(list(names), np.array(languages), matrix, frequencies=np.array(frequencies))


def build(vectors: ofa.WordVectors, **options) -> TokenMapping:
    source = word_tokenizer(*WORDS["eng"])
    target = word_tokenizer("radio", "das", "haus", "ni", "nyumba", "maji", "house's", "nothing")
    return build_mapping(source, target, vectors, num_neighbors=2, **options)


@pytest.fixture(scope="module")
def mapping(vectors) -> TokenMapping:
    return build(vectors, source_languages=["eng"])


def source_rows(size: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((5, size)).astype(np.float32) + 1


def offsets(mapping: TokenMapping, rows: np.ndarray, **options) -> dict[str, np.ndarray]:
    """What the offset adds to each target token's row."""
    with_offset, without = (mapping.apply(rows, language_offset=g, **options) for g in (0.4, 0))
    added = with_offset - without
    return {token: added[index] for token, index in mapping.target.ids.items()}


def test_composed_rows_get_the_direction_of_their_language(mapping):
    rows = source_rows(8)
    added = offsets(mapping, rows)
    norm = 0.4 * np.linalg.norm(rows, axis=1).mean()
    deu, swh = language_directions(["deu", "swh"], 8, seed=114514)
    for token, direction in {"das": deu, "haus": deu, "ni": swh, "nyumba": swh, "maji": swh}.items():
        assert mapping.explain(f"▁{token}").language == ("deu" if direction is deu else "swh")
        np.testing.assert_allclose(added[f"▁{token}"], norm * direction, atol=1e-5)
    for token in ("<unk>", "▁radio", "▁nothing"):  # special, copied, drawn
        assert mapping.kinds[mapping.target.ids[token]] != TokenKind.COMPOSED
        assert not added[token].any()


def test_a_language_of_the_source_gets_none(vectors):
    added = offsets(build(vectors, source_languages=["eng", "swh"]), source_rows(8))
    assert added["▁das"].any() and not added["▁ni"].any() and not added["▁maji"].any()
    # Where the source's languages are not known, every language gets its own.
    added = offsets(build(vectors), source_rows(8))
    assert added["▁das"].any() and added["▁ni"].any()


def test_directions_depend_on_code_and_seed_alone():
    many = language_directions(["deu", "eng", "swh"], 16, seed=3)
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1)
    np.testing.assert_array_equal(language_directions(["swh"], 16, seed=3)[0], many[2])
    assert abs(many[0] @ many[2]) < 0.9
    assert not np.array_equal(language_directions(["swh"], 16, seed=4)[0], many[2])


def test_factorized_the_norm_holds_after_the_primitives(mapping):
    coordinates, primitives = ofa.factorize(torch.from_numpy(source_rows(8)), 3)
    for scale in (1, 50):  # whichever of the two factors holds the size
        factors = coordinates * scale, primitives / scale
        added = offsets(mapping, factors[0].numpy(), primitives=factors[1])
        norm = 0.4 * torch.linalg.vector_norm(coordinates @ primitives, dim=1).mean().item()
        for token in ("▁das", "▁ni", "▁maji"):
            in_space = added[token] @ factors[1].numpy()
            np.testing.assert_allclose(np.linalg.norm(in_space), norm, rtol=1e-4)
        # The same direction as at full size, as far as it lies in the space of the primitives.
        (swh,) = language_directions(["swh"], 8, seed=114514)
        basis = np.linalg.qr(primitives.numpy().T)[0]
        projected = basis @ (basis.T @ swh)
        np.testing.assert_allclose(in_space / norm, projected / np.linalg.norm(projected), atol=1e-4)


def test_types_are_kept_and_zero_changes_nothing(mapping):
    rows = torch.from_numpy(source_rows(8)).to(torch.bfloat16)
    assert mapping.apply(rows, language_offset=0.4).dtype == torch.bfloat16
    np.testing.assert_array_equal(
        mapping.apply(rows, language_offset=0.0).float().numpy(), mapping.apply(rows).float().numpy()
    )


def test_what_an_offset_cannot_be(mapping, tmp_path):
    with pytest.raises(ValueError, match="language_offset is -1, but must be 0"):
        mapping.apply(source_rows(8), language_offset=-1)
    with pytest.raises(ValueError, match=r"language_offset is 0\.4, but a bias takes none"):
        mapping.apply(source_rows(8)[:, 0], language_offset=0.4)
    loaded = TokenMapping.load(mapping.save(tmp_path / "mapping.safetensors"))
    with pytest.raises(ValueError, match="loaded from a file and has no words; build it"):
        loaded.apply(source_rows(8), language_offset=0.4)


def test_without_frequencies_every_word_counts_once(vectors):
    bare = ofa.WordVectors(vectors.words, vectors.languages, vectors.vectors)
    languages = dict(zip(build(bare).target.tokens, build(bare).languages.tolist()))
    assert languages["▁haus"] == "deu" and languages["▁maji"] == "swh" and languages["▁nothing"] == ""
