import gzip
import struct
import sys

import numpy as np
import pytest

from ofa_transformers.vectors import WordVectors, fasttext_format


SENTENCES = [["haus", "maus", "haus", "katze"], ["haus", "häuser", "deu:a"], ["katze", "haus"]] * 4


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A fastText model as fastText writes it, and gensim's model of it."""
    fasttext = pytest.importorskip("gensim.models.fasttext")
    trained = fasttext.FastText(
        SENTENCES, vector_size=6, min_count=1, min_n=2, max_n=3, bucket=50, workers=1, epochs=1
    )
    path = tmp_path_factory.mktemp("fasttext") / "cc.de.300.bin"
    fasttext.save_facebook_model(trained, str(path))
    return path, trained.wv


@pytest.mark.parametrize("packed", [False, True])
def test_fasttext_models(packed, model, tmp_path):
    path, expected = model
    if packed:
        path = tmp_path / "cc.de.300.bin.gz"
        path.write_bytes(gzip.compress(model[0].read_bytes()))
    vectors = WordVectors.load(path, extra_words=["hausmaus", "haus", "hausmaus"])
    assert vectors.words == [*expected.index_to_key, "hausmaus"]
    assert vectors.languages.tolist() == ["deu"] * len(vectors)
    np.testing.assert_allclose(vectors.vectors, [expected[word] for word in vectors.words], rtol=1e-5)
    counts = {word: sum(line.count(word) for line in SENTENCES) for word in expected.index_to_key}
    assert vectors.frequencies.tolist() == [*counts.values(), 1]
    assert vectors.metadata == {"origin": path.name, "format": "fasttext", "frequencies": "counts"}


def damaged(data: bytes, change: str) -> bytes:
    labels_at, words_at = 8 + 56 + 8, 8 + 56 + 28
    matrix_at = words_at
    for _ in range(struct.unpack_from("<i", data, 64)[0]):
        matrix_at = data.index(b"\0", matrix_at) + 10
    return {
        "cut among the arguments": data[:30],
        "cut among the words": data[: words_at + 40],
        "cut in a word": data[: words_at + 2],
        "cut in the matrix": data[: matrix_at + 100],
        "a classifier": data[:labels_at] + struct.pack("<i", 3) + data[labels_at + 4 :],
        "quantized": data[:matrix_at] + b"\1" + data[matrix_at + 1 :],
        "a huge matrix": data[: matrix_at + 1] + struct.pack("<q", 1 << 40) + data[matrix_at + 9 :],
        "another dimension": data[: matrix_at + 9] + struct.pack("<q", 5) + data[matrix_at + 17 :],
        "NaN": data.replace(data[matrix_at + 17 :][:4], struct.pack("<f", np.nan), 1),
    }[change]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cut among the arguments", "damaged or cut short"),
        ("cut among the words", "ends after 3 of 5 words"),
        ("cut in a word", "ends after 0 of 5 words"),
        ("cut in the matrix", "damaged or cut short: .* 5 words of 6"),
        ("a classifier", "classifier of fastText, with 3 labels"),
        ("quantized", r"quantized model of fastText \(.ftz\)"),
        ("a huge matrix", "damaged or cut short: 1099511627776 vectors"),
        ("another dimension", "5 dimensions for 5 words of 6"),
        ("NaN", "word 1, 'haus', has NaN"),
    ],
)
def test_damaged_fasttext_models(change, message, model, tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(damaged(model[0].read_bytes(), change))
    with pytest.raises(ValueError, match=message) as error:
        WordVectors.load(path)
    assert str(path) in str(error.value)


def test_a_fasttext_model_without_subwords(tmp_path):
    fasttext = pytest.importorskip("gensim.models.fasttext")
    trained = fasttext.FastText(SENTENCES, vector_size=4, min_count=1, max_n=0, bucket=0, workers=1, epochs=1)
    fasttext.save_facebook_model(trained, str(tmp_path / "model.bin"))
    assert len(WordVectors.load(tmp_path / "model.bin")) == 5
    with pytest.raises(ValueError, match=r"no subwords.*'tier'.*leave extra_words out"):
        WordVectors.load(tmp_path / "model.bin", extra_words=["tier"])


def test_fasttext_without_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim.models.fasttext", None)
    path = tmp_path / "model.bin"
    path.write_bytes(fasttext_format.MAGIC + bytes(200))
    with pytest.raises(ImportError, match=r"ofa-transformers\[gensim\]"):
        WordVectors.load(path)
