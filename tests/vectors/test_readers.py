import gzip
import pickle

import numpy as np
import pytest

from ofa_transformers.vectors import WordVectors, readers


def write(path, text: str | bytes):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


GOOD = "5 3\nthe 0.1 -2 3e-1\ndeu:$die$ 1 2 3\ndeu:a:b 4 5 6\ndeu: 7 8 9\nfra:l'été 1.5 -1e3 .5\n"


@pytest.fixture(
    params=["plain", "gzip", "crlf", "trailing spaces", "tabs", "no last newline", "blank last lines", "bom"]
)
def good_file(request, tmp_path):
    text, path = GOOD, tmp_path / "vectors.txt"
    if request.param == "gzip":
        path = tmp_path / "vectors.txt.gz"
        path.write_bytes(gzip.compress(text.encode()))
        return path
    if request.param == "crlf":
        text = text.replace("\n", "\r\n")
    if request.param == "trailing spaces":
        text = text.replace("\n", " \n")
    if request.param == "tabs":
        text = text.replace(" ", "\t").replace("5\t3", "5 3")
    if request.param == "no last newline":
        text = text.removesuffix("\n")
    if request.param == "blank last lines":
        text += "\n \n\n"
    if request.param == "bom":
        text = "\ufeff" + text
    return write(path, text)


@pytest.mark.parametrize("block_bytes", [1, 7, 50, 1 << 24])
def test_word2vec_text(good_file, block_bytes, monkeypatch):
    monkeypatch.setattr(readers, "_BLOCK_BYTES", block_bytes)
    vectors = WordVectors.load(good_file)
    assert list(vectors.words) == ["the", "$die$", "a:b", "deu:", "l'été"]
    assert vectors.languages.tolist() == ["eng", "deu", "deu", "eng", "fra"]
    assert vectors.vectors.dtype == np.float32
    expected = [[0.1, -2, 0.3], [1, 2, 3], [4, 5, 6], [7, 8, 9], [1.5, -1000, 0.5]]
    np.testing.assert_array_equal(vectors.vectors, np.array(expected, dtype=np.float32))
    assert vectors.frequencies is None and vectors.dimension == 3 and len(vectors) == 5


def test_numbers_are_read_to_the_last_bit(tmp_path):
    values = np.random.default_rng(0).standard_normal((200, 7)).astype(np.float32)
    lines = "".join(f"w{i} " + " ".join(repr(float(v)) for v in row) + "\n" for i, row in enumerate(values))
    path = write(tmp_path / "vectors.txt", f"200 7\n{lines}")
    np.testing.assert_array_equal(WordVectors.load(path).vectors, values)


def test_default_language(tmp_path):
    path = write(tmp_path / "vectors.vec", "2 1\nhaus 1\nfra:maison 2\n")
    assert WordVectors.load(path, default_language="deu").languages.tolist() == ["deu", "fra"]


BAD = {
    "empty file": ("", ["is empty"]),
    "header only": ("3 2\n", ["3 words of 2", "no words"]),
    "header only, blank lines": ("3 2\n\n\n", ["no words"]),
    "no header": ("the 0.1 0.2\na 1 2\n", ["line 1", "'N d'", "'the 0.1 0.2'"]),
    "header of zero words": ("0 2\n", ["line 1", "at least 1"]),
    "header not a number": ("3 x\nthe 1 2\n", ["line 1", "'3 x'"]),
    "header far too large": ("999999999 300\nthe 1 2\n", ["line 1", "999999999", "size"]),
    "header says more": ("3 2\nthe 1 2\na 3 4\n", ["line 3", "after 2 words", "says 3"]),
    "header says fewer": ("1 2\nthe 1 2\na 3 4\n", ["line 3", "says 1", "'a 3 4'"]),
    "too few values": ("3 2\nthe 1 2\na 3\nof 1 2\n", ["line 3", "1 values", "says 2", "'a 3'"]),
    "too many values": ("3 2\nthe 1 2\na 3 4\nof 1 2 3\n", ["line 4", "3 values", "'of 1 2 3'"]),
    "short and long line": ("2 2\nthe 1\na 1 2 3\n", ["line 2", "1 values"]),
    "a blank line inside": ("2 2\nthe 1 2\n\na 1 2\n", ["line 3", "0 values"]),
    "NaN": ("2 2\nthe 1 2\na nan 3\n", ["line 3", "'nan'", "finite", "'a'"]),
    "infinity": ("2 2\nthe 1 2\na 3 -inf\n", ["line 3", "'-inf'", "finite"]),
    "too large for float32": ("2 2\nthe 1 2\na 3 1e39\n", ["line 3", "'1e39'", "finite"]),
    "not a number": ("2 2\nthe 1 2\na 3 vier\n", ["line 3", "'vier'", "not a number"]),
    "digits with underscore": ("2 2\nthe 1 2\na 3 1_0\n", ["line 3", "'1_0'", "not a number"]),
    "no word": ("2 2\nthe 1 2\n 3 4\n", ["line 3", "no word"]),
    "duplicate word": ("3 2\nthe 1 2\na 3 4\nthe 5 6\n", ["line 4", "'the'", "first in line 2"]),
    "broken UTF-8": (b"2 2\nthe 1 2\nd\xe9j\xe0 3 4\n", ["line 3", "UTF-8", "xe9"]),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("block_bytes", [5, 1 << 24])
def test_bad_files_are_named_by_line_and_content(case, packed, block_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "_BLOCK_BYTES", block_bytes)
    text, expected = BAD[case]
    content = text.encode() if isinstance(text, str) else text
    path = tmp_path / "vectors.txt"
    path.write_bytes(gzip.compress(content) if packed and content else content)
    with pytest.raises(ValueError) as error:
        WordVectors.load(path)
    for part in [str(path), *expected]:
        assert part in str(error.value)


def test_a_gzip_file_cut_short(tmp_path):
    rows = "".join(f"w{i} {i} {i / 7}\n" for i in range(1000))
    path = write(tmp_path / "vectors.txt.gz", gzip.compress(f"1000 2\n{rows}".encode())[:-2000])
    with pytest.raises(ValueError, match="cut short"):
        WordVectors.load(path)


@pytest.mark.parametrize("name", ["vectors.wv", "vectors.kv", "vectors.bin", "vectors.txt"])
def test_nothing_is_unpickled(name, tmp_path):
    ran = tmp_path / "ran"

    class Attack:
        def __reduce__(self):
            return open, (str(ran), "w")

    path = write(tmp_path / name, pickle.dumps(Attack()))
    with pytest.raises(ValueError, match=r"save_word2vec_format") as error:
        WordVectors.load(path)
    assert "code" in str(error.value) and not ran.exists()


def test_a_binary_file_is_refused_by_its_name(tmp_path):
    path = write(tmp_path / "vectors.bin", b"2 2\nthe \x00\x00\x80?\x00\x00\x80?\n")
    with pytest.raises(ValueError, match="binary"):
        WordVectors.load(path)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        WordVectors.load(tmp_path / "vectors.txt")
