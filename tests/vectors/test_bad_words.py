"""Words that can't be taken: an error, or passed over, counted and named."""

import numpy as np
import pytest

import ofa_transformers as ofa
from ofa_transformers.vectors import bad_words


GOOD = {"haus": [1.0, 2.0], "stadt": [3.0, 4.0]}
BAD_LINES = [b"zwei worte 1 2", b"stra\xdfe 1 2", b"haus 9 9", b"leer x 2"]


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(bad_words.logger, "warning", lambda text, *values: found.append(text % values))
    return found


def text_file(folder):
    lines = [b"haus 1 2", *BAD_LINES, b"stadt 3 4"]
    path = folder / "deu.vec"
    path.write_bytes(b"%d 2\n" % len(lines) + b"\n".join(lines) + b"\n")
    return path


def binary_file(folder):
    path = folder / "deu.bin"
    row = np.array([1, 2], dtype="<f4").tobytes()
    words = [b"haus", "straße".encode()[:5], b"stadt"]  # cut inside a character
    path.write_bytes(b"3 2\n" + b"".join(word + b" " + row for word in words))
    return path


def test_text_goes_on_and_names_them(tmp_path, warnings):
    path = text_file(tmp_path)
    with pytest.raises(ValueError, match=r"deu\.vec, line 3: "):
        ofa.WordVectors.load(path)
    vectors = ofa.WordVectors.load(path, on_bad_words="skip")
    assert list(vectors.words) == list(GOOD)
    assert np.array_equal(vectors.vectors, np.array(list(GOOD.values()), dtype=np.float32))
    assert "3 words of" in warnings[0]
    assert [warnings[0].index(f"line {number}") for number in (3, 4, 6)] == sorted(
        warnings[0].index(f"line {number}") for number in (3, 4, 6)
    )


def test_binary_goes_on_and_names_them(tmp_path, warnings):
    path = binary_file(tmp_path)
    with pytest.raises(ValueError, match=r"word 2: .* is not valid UTF-8"):
        ofa.WordVectors.load(path)
    vectors = ofa.WordVectors.load(path, on_bad_words="skip")
    assert list(vectors.words) == ["haus", "stadt"] and vectors.vectors.shape == (2, 2)
    assert "1 words of" in warnings[0] and "word 2" in warnings[0]


def test_another_choice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="on_bad_words is 'ignore', but must be 'error' or 'skip'"):
        ofa.WordVectors.load(text_file(tmp_path), on_bad_words="ignore")
