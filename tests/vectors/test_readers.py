import gzip
import pickle
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from transformers.utils import logging

from ofa_transformers.text.languages import is_iso639_3, to_iso639_3
from ofa_transformers.vectors import WordVectors, binary_format, readers, text_format


def write(path, text: str | bytes):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


GOOD = "5 3\nthe 0.1 -2 3e-1\ndeu:$die$ 1 2 3\ndeu:a:b 4 5 6\ndeu: 7 8 9\nfra:l'été 1.5 -1e3 .5\n"


@pytest.fixture(
    params=[
        "plain",
        "gzip",
        "zstd",
        "zstd in frames",
        "crlf",
        "trailing spaces",
        "tabs",
        "no last newline",
        "blank last lines",
        "bom",
    ]
)
def good_file(request, tmp_path):
    text, path = GOOD, tmp_path / "vectors.txt"
    if request.param == "gzip":
        path = tmp_path / "vectors.txt.gz"
        path.write_bytes(gzip.compress(text.encode()))
        return path
    if request.param.startswith("zstd"):
        zstandard = pytest.importorskip("zstandard")
        parts = [text] if request.param == "zstd" else [text[:30], text[30:]]
        return write(tmp_path / "vectors.vec.zst", b"".join(zstandard.compress(part.encode()) for part in parts))
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
    monkeypatch.setattr(text_format, "_BLOCK_BYTES", block_bytes)
    vectors = WordVectors.load(good_file)
    assert list(vectors.words) == ["the", "$die$", "a:b", "deu:", "l'été"]
    assert vectors.languages.tolist() == ["eng", "deu", "deu", "eng", "fra"]
    assert vectors.vectors.dtype == np.float32
    expected = [[0.1, -2, 0.3], [1, 2, 3], [4, 5, 6], [7, 8, 9], [1.5, -1000, 0.5]]
    np.testing.assert_array_equal(vectors.vectors, np.array(expected, dtype=np.float32))
    assert vectors.dimension == 3 and len(vectors) == 5


def test_numbers_are_read_to_the_last_bit(tmp_path):
    values = np.random.default_rng(0).standard_normal((200, 7)).astype(np.float32)
    lines = "".join(f"w{i} " + " ".join(repr(float(v)) for v in row) + "\n" for i, row in enumerate(values))
    path = write(tmp_path / "vectors.txt", f"200 7\n{lines}")
    np.testing.assert_array_equal(WordVectors.load(path).vectors, values)


@pytest.mark.parametrize("odd", ["+1", "1.", ".5", "-.5e-3", "1e+05", "1E5", "007", "-0", "1e-60", "3.4e38"])
@pytest.mark.parametrize("spaces", [False, True])
def test_numbers_in_other_forms(odd, spaces, tmp_path):
    """Alike in the fast way and in the way line by line, which a word with a space needs."""
    text = f"the 0.1 {odd}\n{'a b' if spaces else 'a'} {odd} 0.1234567890123\n"
    found = WordVectors.load(write(tmp_path / "glove.txt", text)).vectors
    np.testing.assert_array_equal(found, np.array([[0.1, odd], [odd, 0.1234567890123]], dtype=np.float64).astype("f4"))


def test_blocks_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(text_format, "_BLOCK_BYTES", 1000)
    lines = "".join(f"w{i} {i} {i / 8}\n" for i in range(5000))
    vectors = WordVectors.load(write(tmp_path / "vectors.txt", f"5000 2\n{lines}"))
    assert vectors.words == [f"w{i}" for i in range(5000)]
    np.testing.assert_array_equal(vectors.vectors, np.arange(5000)[:, None] / [1, 8])


def test_default_language(tmp_path):
    path = write(tmp_path / "vectors.vec", "2 1\nhaus 1\nfra:maison 2\n")
    assert WordVectors.load(path, default_language="deu").languages.tolist() == ["deu", "fra"]


BAD = {
    "empty file": ("", ["is empty"]),
    "header only": ("3 2\n", ["line 2", "3 words of 2", "no words", "download"]),
    "header only, blank lines": ("3 2\n\n\n", ["no words"]),
    "neither header nor vector": ("the of a\nto in is\n", ["line 1", "'N d'", "'the of a'"]),
    "GloVe, too few values": ("the 1 2\na 3\n", ["line 2", "1 values", "line 1 has 2", "'a 3'"]),
    "GloVe, too many values": ("the 1 2\na 3 4 5\n", ["line 2", "3 values", "line 1 has 2", "'a 3 4 5'"]),
    "GloVe, not a number": ("the 1 2\na x 5\n", ["line 2", "'x'", "not a number", "'a'"]),
    "GloVe, broken UTF-8": (b"the 1 2\nd\xe9j\xe0 3 4\n", ["line 2", "UTF-8", "xe9"]),
    "header of zero words": ("0 2\n", ["line 1", "at least 1"]),
    "header not a number": ("3 x\nthe 1 2\n", ["line 1", "'3 x'"]),
    "header far too large": ("999999999 300\nthe 1 2\n", ["line 1", "999999999", "size"]),
    "header with a number of thousands of digits": (f"3 {'9' * 5000}\nthe 1 2\n", ["line 1", "not a finite float32"]),
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
    monkeypatch.setattr(text_format, "_BLOCK_BYTES", block_bytes)
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


def test_a_zstd_file_cut_short_or_damaged(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    rows = "".join(f"w{i} {i} {i / 7}\n" for i in range(1000))
    packed = zstandard.compress(rows.encode())
    with pytest.raises(ValueError, match="cut short"):
        WordVectors.load(write(tmp_path / "short.txt.zst", packed[:-2000]))
    damaged = packed[:100] + bytes(byte ^ 0xFF for byte in packed[100:200]) + packed[200:]
    with pytest.raises(ValueError, match="damaged"):
        WordVectors.load(write(tmp_path / "damaged.txt.zst", damaged))


def test_zstd_without_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ImportError, match=r"ofa-transformers\[zstd\]"):
        WordVectors.load(write(tmp_path / "vectors.txt.zst", b"\x28\xb5\x2f\xfd" + bytes(10)))


@pytest.mark.parametrize("block_bytes", [1, 16, 1 << 24])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_glove_text(block_bytes, bom, tmp_path, monkeypatch):
    monkeypatch.setattr(text_format, "_BLOCK_BYTES", block_bytes)
    text = bom + ", 0.1 -2 3e-1\n. . . 1 2 3\n7 7 8 9\nat name@domain.com 4 5 6\nl'été 1.5 -1e3 .5\n"
    vectors = WordVectors.load(write(tmp_path / "glove.840B.300d.txt", text))
    assert list(vectors.words) == [",", ". . .", "7", "at name@domain.com", "l'été"]
    assert set(vectors.languages) == {"eng"}
    expected = [[0.1, -2, 0.3], [1, 2, 3], [7, 8, 9], [4, 5, 6], [1.5, -1000, 0.5]]
    np.testing.assert_array_equal(vectors.vectors, np.array(expected, dtype=np.float32))
    expected = {"origin": "glove.840B.300d.txt", "format": "glove", "frequencies": "estimated from rank"}
    assert vectors.metadata == expected


def test_a_word_twice_in_glove_text_counts_once(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(readers.logger, "warning", lambda text, *args: warnings.append(text % args))
    vectors = WordVectors.load(write(tmp_path / "glove.txt", "the 1 2\na 3 4\nthe 5 6\nof 7 8\n"))
    assert list(vectors.words) == ["the", "a", "of"]
    assert vectors.vectors.tolist() == [[1, 2], [3, 4], [7, 8]]
    assert len(warnings) == 1 and "line 3" in warnings[0] and "first in line 1" in warnings[0]


def binary_file(path, words, values, line_breaks=False):
    rows = [word.encode() + b" " + row.tobytes() for word, row in zip(words, values.astype("<f4"))]
    end = b"\n" if line_breaks else b""
    return write(path, f"{len(words)} {values.shape[1]}\n".encode() + b"".join(row + end for row in rows))


@pytest.mark.parametrize("line_breaks", [True, False])
@pytest.mark.parametrize("block_bytes", [1, 30, 1 << 24])
@pytest.mark.parametrize("dimension", [1, 5, 300])
def test_word2vec_binary(line_breaks, block_bytes, dimension, tmp_path, monkeypatch):
    monkeypatch.setattr(binary_format, "_BLOCK_BYTES", block_bytes)
    values = np.random.default_rng(0).standard_normal((40, dimension)).astype(np.float32)
    words = [f"wörd{i}" for i in range(39)] + ["deu:haus"]
    vectors = WordVectors.load(binary_file(tmp_path / "vectors.bin", words, values, line_breaks))
    assert list(vectors.words) == [*words[:-1], "haus"]
    assert vectors.languages[-2:].tolist() == ["eng", "deu"]
    np.testing.assert_array_equal(vectors.vectors, values)
    packed = write(tmp_path / "vectors.bin.gz", gzip.compress((tmp_path / "vectors.bin").read_bytes()))
    np.testing.assert_array_equal(WordVectors.load(packed).vectors, values)


def test_word2vec_binary_as_gensim_writes_it(tmp_path):
    gensim = pytest.importorskip("gensim")
    values = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    vectors = gensim.models.KeyedVectors(6)
    vectors.add_vectors([f"w{i}" for i in range(40)], values)
    for binary, name in [(True, "vectors.bin"), (False, "vectors.txt"), (True, "vectors.bin.gz")]:
        vectors.save_word2vec_format(str(tmp_path / name), binary=binary)
        np.testing.assert_array_equal(WordVectors.load(tmp_path / name).vectors, values)


BAD_BINARY = {
    "cut short": (lambda data: data[:-5], ["byte 91", "after 3 words", "says 4"]),
    "more words than the header says": (lambda data: data.replace(b"4 5", b"3 5"), ["byte 73", "3 words", "more"]),
    "a header far too large": (lambda data: data.replace(b"4 5", b"4000 5"), ["line 1", "4000 words", "more than"]),
    "broken UTF-8": (lambda data: data.replace(b"w2", b"\xe92"), ["word 3", "UTF-8"]),
    "a line break in a word": (lambda data: data.replace(b"w2", b"w\n2"), ["word 3", "has a line break"]),
    "a word twice": (lambda data: data.replace(b"w2", b"w1"), ["word 3", "'w1'", "first in word 2"]),
    "NaN": (lambda data: data[:-4] + b"\0\0\xc0\x7f", ["word 4", "'w3'", "NaN"]),
    "no word": (lambda data: data[:30] + b"x" * 40_000, ["byte 50", "no word"]),
}


@pytest.mark.parametrize("case", BAD_BINARY)
def test_bad_binary_files(case, tmp_path):
    damage, expected = BAD_BINARY[case]
    path = binary_file(tmp_path / "vectors.bin", [f"w{i}" for i in range(4)], np.arange(1, 21).reshape(4, 5) / 7)
    write(path, damage(path.read_bytes()))
    with pytest.raises(ValueError) as error:
        WordVectors.load(path)
    for part in [str(path), *expected]:
        assert part in str(error.value)


TEXT, GLOVE, BINARY = b"2 2\nthe 1 2\na 3 4\n", b"the 1 2\na 3 4\n", b"1 2\nthe \0\0\x80?\0\0\x80?\n"


@pytest.mark.parametrize(
    ("name", "content", "arguments", "expected"),
    [
        ("v.bin", TEXT, {}, ["word2vec binary", "word2vec text", "format='word2vec'"]),
        ("v.bin.gz", gzip.compress(GLOVE), {}, ["word2vec binary", "GloVe", "format='glove'"]),
        ("v.vec", BINARY, {}, ["word2vec binary", "format='word2vec-binary'"]),
        ("v.wv", TEXT, {}, ["a pickle", "word2vec text", "format='word2vec'"]),
        ("v.txt", BINARY, {"format": "word2vec"}, ["format is 'word2vec'", "word2vec binary"]),
        ("v", GLOVE, {"format": "word2vec-binary"}, ["format is 'word2vec-binary'", "GloVe"]),
        ("v", GLOVE, {"format": "word2vec"}, ["line 1", "'N d'", "'the 1 2'"]),
        ("v", GLOVE, {"format": "gensim", "allow_pickle": True}, ["format is 'gensim'", "GloVe"]),
        ("v.wv", TEXT, {"allow_pickle": True}, ["a pickle", "word2vec text", "format='word2vec'"]),
        ("v", GLOVE, {"format": "csv"}, ["format is 'csv'", "'word2vec', 'glove', 'word2vec-binary', 'fasttext'"]),
        ("v.vec", b"\xba\x16\x4f\x2f\x0c\0\0\0", {}, ["word2vec text", "fastText model", "format='fasttext'"]),
        ("v.pt", TEXT, {}, ["a torch file", "word2vec text", "format='word2vec'"]),
        ("v", GLOVE, {"frequencies": "ranks"}, ["frequencies is 'ranks'", "'auto', 'rank', 'wordfreq', None"]),
        ("v", GLOVE, {"extra_words": ["x"]}, ["extra_words", "fastText model", "GloVe"]),
        ("v", GLOVE, {"filename": "x"}, ["is a file", "leave filename out"]),
        ("v", GLOVE, {"verify": True}, ["verify", "none"]),
        ("v.vec", b"PK\x03\x04abc", {}, ["zip archive", "unpack"]),
        ("v.wv.vectors.npy", b"\x93NUMPY\x01\0", {}, ["numpy array", ".wv"]),
        ("v.json", b'{"a": [1, 2]}\n', {}, ["line 1", "[1, 2]}'", "no format", "Convert"]),
        ("v.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 1\n", {}, ["git lfs pull"]),
        ("v.vec", b"\n<!DOCTYPE html>\n<html>404</html>\n", {}, ["a web page", "download"]),
        ("v.txt", "1 2\ncafé 1 2\n".encode("utf-16"), {}, ["UTF-16", "convert it to UTF-8"]),
    ],
)
def test_a_file_that_is_not_what_it_should_be(name, content, arguments, expected, tmp_path):
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError) as error:
        WordVectors.load(path, **arguments)
    for part in expected:
        assert part in str(error.value)


def test_the_format_given_overrides_the_ending(tmp_path):
    assert WordVectors.load(write(tmp_path / "v.bin", TEXT), format="word2vec").words == ["the", "a"]
    assert WordVectors.load(write(tmp_path / "v.vec", BINARY), format="word2vec-binary").words == ["the"]
    # '2 2' is a header and could be a word with a vector of one dimension.
    assert WordVectors.load(write(tmp_path / "v.txt", "2 2\n3 5\n"), format="glove").words == ["2", "3"]


@pytest.mark.parametrize(
    ("name", "language", "expected"),
    [
        ("wiki.multi.de.vec", None, "deu"),
        ("wiki.en.align.vec", None, "eng"),
        ("wiki.als.vec", None, "gsw"),
        ("cc.sw.300.vec", None, "swa"),
        ("cc.arz.300.vec.gz", None, "arz"),
        ("vectors-fr.txt", None, "fra"),
        ("numberbatch-zh.txt", None, "zho"),
        ("wiki.xq.vec", None, "eng"),
        ("my.de.vec", None, "eng"),
        ("wiki.de.vec", "swh", "swh"),
        ("words.vec", "de", "deu"),
        ("words.vec", "ger", "deu"),
    ],
)
def test_one_language_a_file(name, language, expected, tmp_path):
    content = b"3 1\nhaus 1\nwin:95 2\n: 3\n"
    path = write(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
    vectors = WordVectors.load(path, language=language)
    if (name, language) in {("wiki.xq.vec", None), ("my.de.vec", None)}:
        assert vectors.languages.tolist() == ["eng", "win", "eng"]  # nothing says that the file has one language
    else:
        assert vectors.languages.tolist() == [expected] * 3
        assert list(vectors.words) == ["haus", "win:95", ":"]


def test_keys_with_languages_in_a_file_of_one_language(tmp_path):
    path = write(tmp_path / "wiki.de.vec", "3 1\ndeu:haus 1\nfra:maison 2\nhouse 3\n")
    assert WordVectors.load(path).languages.tolist() == ["deu", "fra", "eng"]
    with pytest.raises(ValueError, match=r"2 of 3 words .* 'deu:haus' in line 2; leave language out"):
        WordVectors.load(path, language="deu")


@pytest.mark.parametrize(
    ("code", "near"),
    [
        ("DE", "deu"),
        ("german", "'deu' (German)."),
        ("xq", "xqa"),
        ("xqz", "xqa"),
        ("en-US", "eng"),
        ("deuu", "deu"),
        ("Swahili", "'swh' (Swahili (individual language))"),
        ("d", None),
        ("", None),
    ],
)
def test_languages_that_are_none(code, near, tmp_path):
    path = write(tmp_path / "v.vec", TEXT)
    for name in ("language", "default_language"):
        with pytest.raises(ValueError, match=f"{name} is {code!r}, which is not an ISO 639 code") as error:
            WordVectors.load(path, **{name: code})
        assert near is None or near in str(error.value).partition("nearest")[2]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("de", "deu"),
        ("ger", "deu"),
        ("deu", "deu"),
        ("sh", "hbs"),
        ("qab", "qab"),
        ("mol", "mol"),
        ("deu_Latn", "deu"),
    ],
)
def test_codes_that_are_languages(code, expected):
    assert to_iso639_3(code) == expected
    assert is_iso639_3(code) == (code == expected)


class Attack:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "name", ["vectors.wv", "vectors.kv", "vectors.bin", "vectors.txt", "v.model", "vectors.wv.gz", "v.pt", "v.pth"]
)
def test_nothing_is_unpickled(name, protocol, tmp_path):
    ran = tmp_path / "ran"
    content = pickle.dumps(Attack(ran), protocol=protocol)
    path = write(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(ValueError) as error:
        WordVectors.load(path)
    assert not ran.exists()
    if name.startswith("v.p"):
        with pytest.raises(ValueError):
            WordVectors.load(path, allow_pickle=True)
        assert not ran.exists()
    elif protocol >= 2:  # earlier ones, which gensim doesn't write, are not even recognised
        assert "save_word2vec_format" in str(error.value) and "run any code" in str(error.value)
    pickle.loads(content).close()
    assert ran.exists()  # the attack is one


@pytest.mark.parametrize("arguments", [{"format": "gensim"}, {"allow_pickle": False}, {"language": "deu"}])
def test_nothing_is_unpickled_without_a_word_for_word_yes(arguments, tmp_path):
    ran = tmp_path / "ran"
    path = write(tmp_path / "vectors.wv", pickle.dumps(Attack(ran)))
    with pytest.raises(ValueError, match="allow_pickle=True"):
        WordVectors.load(path, **arguments)
    assert not ran.exists()


def test_arrays_beside_are_not_unpickled_either(tmp_path):
    ran = tmp_path / "ran"
    path = tmp_path / "vectors.npy"
    np.save(path, np.array([Attack(ran)], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="numpy array"):
        WordVectors.load(path, allow_pickle=True)
    assert not ran.exists()


def test_gensim_without_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim", None)
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    ran = tmp_path / "ran"
    path = write(tmp_path / "vectors.wv", pickle.dumps(Attack(ran)))
    with pytest.raises(ImportError, match=r"ofa-transformers\[gensim\]"):
        WordVectors.load(path, allow_pickle=True)
    assert not ran.exists()


@pytest.mark.parametrize("arrays", ["inside", "beside"])
def test_gensim_keyed_vectors(arrays, tmp_path):
    models = pytest.importorskip("gensim.models")
    values = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    saved = models.KeyedVectors(6)
    saved.add_vectors(["the", "deu:$haus$", "fra:a:b", "of"], values)
    path = tmp_path / "vectors.kv"
    saved.save(str(path), sep_limit=1 if arrays == "beside" else 1 << 30)
    assert (tmp_path / "vectors.kv.vectors.npy").exists() == (arrays == "beside")
    with pytest.raises(ValueError, match="allow_pickle=True"):
        WordVectors.load(path)
    vectors = WordVectors.load(path, allow_pickle=True)
    assert list(vectors.words) == ["the", "$haus$", "a:b", "of"]
    assert vectors.languages.tolist() == ["eng", "deu", "fra", "eng"]
    np.testing.assert_array_equal(vectors.vectors, values)
    assert vectors.metadata["frequencies"] == "estimated from rank" and vectors.metadata["format"] == "gensim"
    assert WordVectors.load(path, allow_pickle=True, frequencies=None).frequencies is None
    if arrays == "beside":
        (tmp_path / "vectors.kv.vectors.npy").unlink()
        with pytest.raises(FileNotFoundError, match=r"beside it.*vectors\.kv\.vectors\.npy"):
            WordVectors.load(path, allow_pickle=True)


def test_gensim_counts_are_kept_unless_invented(tmp_path):
    models = pytest.importorskip("gensim.models")
    model = models.Word2Vec([["a", "b", "a", "c", "a", "a"]], min_count=1, vector_size=4, workers=1)
    for saved, name in [(model, "words.model"), (model.wv, "words.wv")]:
        saved.save(str(tmp_path / name))
        vectors = WordVectors.load(tmp_path / name, allow_pickle=True, language="de")
        assert vectors.frequencies.tolist() == [4, 1, 1] and vectors.languages.tolist() == ["deu"] * 3
        assert vectors.metadata["frequencies"] == "counts"
    model.wv.save_word2vec_format(str(tmp_path / "words.txt"))
    models.KeyedVectors.load_word2vec_format(str(tmp_path / "words.txt")).save(str(tmp_path / "text.kv"))
    assert WordVectors.load(tmp_path / "text.kv", allow_pickle=True, frequencies=None).frequencies is None


def test_pickles_of_something_else(tmp_path):
    pytest.importorskip("gensim")
    path = write(tmp_path / "vectors.wv", pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match=r"vectors\.wv cannot be read by gensim"):
        WordVectors.load(path, allow_pickle=True)
    path.write_bytes(pickle.dumps(list(range(1000)))[:-100])
    with pytest.raises(ValueError, match=r"vectors\.wv cannot be read by gensim"):
        WordVectors.load(path, allow_pickle=True)


def test_the_golden_vectors_of_gensim():
    pytest.importorskip("gensim")
    folder = REPOSITORY.parent / "shared" / "golden" / "init" / "xlmr"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    vectors, expected = (
        WordVectors.load(folder / "vectors.wv", allow_pickle=True),
        WordVectors.load(folder / "vectors.txt"),
    )
    assert vectors.words == expected.words
    np.testing.assert_array_equal(vectors.languages, expected.languages)
    np.testing.assert_allclose(vectors.vectors, expected.vectors, atol=1e-5)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        WordVectors.load(tmp_path / "vectors.txt")


def test_reads_with_progress_bars_switched_off(tmp_path):
    (tmp_path / "v.vec").write_text("1 2\ndeu:haus 1 0\n")
    logging.disable_progress_bar()
    try:
        assert WordVectors.load(tmp_path / "v.vec").words == ["haus"]
    finally:
        logging.enable_progress_bar()
