from pathlib import Path

import numpy as np
import pytest
import torch

from ofa_transformers.vectors import WordVectors


VALUES = torch.arange(6, dtype=torch.float32).reshape(3, 2)
WORDS = ["haus", "a:b", "maison"]


@pytest.mark.parametrize(
    "content",
    [
        {"words": WORDS, "vectors": VALUES},
        {"keys": WORDS, "matrix": VALUES.to(torch.float64), "more": 3},
        {"vocab": {"maison": 2, "haus": 0, "a:b": 1}, "embeddings": VALUES.to(torch.bfloat16)},
        (WORDS, {"haus": 0, "a:b": 1, "maison": 2}, VALUES, 2),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files(content, zipped, tmp_path):
    path = tmp_path / "vectors-de.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    vectors = WordVectors.load(path)
    assert vectors.words == WORDS and vectors.languages.tolist() == ["deu"] * 3
    np.testing.assert_array_equal(vectors.vectors, VALUES.numpy())
    assert vectors.metadata["format"] == "torch"


def test_torch_files_with_languages_and_counts(tmp_path):
    content = {"words": WORDS, "vectors": VALUES, "languages": ["deu", "de", "fra"], "counts": torch.tensor([7, 5, 3])}
    torch.save(content, tmp_path / "vectors.pt")
    vectors = WordVectors.load(tmp_path / "vectors.pt")
    assert vectors.words == WORDS and vectors.languages.tolist() == ["deu", "deu", "fra"]
    assert vectors.frequencies.tolist() == [7, 5, 3] and vectors.metadata["frequencies"] == "counts"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1, 2], ["a list", "dictionary"]),
        ({"vectors": VALUES}, ["no words", "'words', 'keys'", "'vectors'"]),
        ({"words": WORDS}, ["no vectors", "'vectors', 'matrix'"]),
        ({"words": WORDS[:2], "vectors": VALUES}, ["2 words", "(3, 2)"]),
        ({"words": [1, 2, 3], "vectors": VALUES}, ["not a list of strings"]),
        ({"words": ["a", "\ud800", "c"], "vectors": VALUES}, ["surrogates not allowed"]),
        ({"words": WORDS, "vectors": VALUES[0]}, ["not a matrix"]),
        ({"words": WORDS, "vectors": VALUES, "languages": ["deu"]}, ["3 words", "1 languages"]),
        ({"words": WORDS, "vectors": VALUES / 0}, ["word 1, 'haus'", "NaN"]),
        ({"words": WORDS, "vectors": VALUES, "made by": Path}, ["could run code", "words"]),
    ],
)
def test_torch_files_of_something_else(content, expected, tmp_path):
    path = tmp_path / "vectors.pt"
    torch.save(content, path)
    with pytest.raises(ValueError) as error:
        WordVectors.load(path)
    for part in [str(path), *expected]:
        assert part in str(error.value)


class Attack:
    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("allow_pickle", [True, False])
def test_nothing_in_a_torch_file_runs(zipped, allow_pickle, tmp_path):
    ran, path = tmp_path / "ran", tmp_path / "vectors.pt"
    torch.save({"words": WORDS, "vectors": VALUES, "x": Attack(ran)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="could run code"):
        WordVectors.load(path, allow_pickle=allow_pickle)
    assert not ran.exists()
    torch.load(path, weights_only=False)["x"].close()
    assert ran.exists()  # the attack is one


@pytest.mark.parametrize(("at", "value"), [(6, b"\x7f\0\0\0"), (8, b"\0\x08")])
def test_a_damaged_list_of_a_torch_files_parts(at, value, tmp_path):
    """Another version of zip; names said to be UTF-8, of which one isn't."""
    path = tmp_path / "vectors.pt"
    torch.save({"words": WORDS, "vectors": VALUES}, path)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + at : entry + at + len(value)] = value
    data[entry + 46] = 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"vectors\.pt"):
        WordVectors.load(path)
