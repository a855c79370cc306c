import pytest

from ofa_transformers.vectors import WordVectors
from ofa_transformers.vectors.keys import split_keys


def split(keys, **options):
    words, languages = split_keys(keys, path="v.vec", place=lambda i: f"line {i + 2}", **options)
    return list(zip(languages.array().tolist(), words))


def test_keys_with_one_colon_several_or_none():
    keys = ["deu:haus", "deu:a:b", "house", "swh:", "fra::", ":", "de:maus", "qab:x"]
    assert split(keys) == [
        ("deu", "haus"),
        ("deu", "a:b"),
        ("eng", "house"),
        ("eng", "swh:"),
        ("fra", ":"),
        ("eng", ":"),
        ("deu", "maus"),
        ("qab", "x"),
    ]
    assert split(["ger:haus", "x"] * 2 + ["cze:dům"], default_language="swh")[-1] == ("ces", "dům")


def test_words_with_colons_are_no_languages():
    keys = ["re:invent", "http://x", "tw:", "the", "of", "deu:haus", "xqz:y", "12:30"]
    expected = [("eng", key) for key in keys]
    expected[5] = ("deu", "haus")  # a code of ISO 639-3
    assert split(keys) == expected
    assert split(keys, language="fra") == [("fra", key) for key in keys]
    assert split(keys, language_of_file="fra") == [("fra", key) for key in keys]


@pytest.mark.parametrize(("key", "near"), [("xqz:haus", "'xqa' (Karakhanid)"), ("xx:haus", "'xxb'")])
def test_a_key_of_no_language(key, near, tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text(f"4 1\ndeu:haus 1\neng:house 2\n{key} 3\nfra:maison 4\n")
    with pytest.raises(ValueError) as error:
        WordVectors.load(path)
    for part in [str(path), "line 4", repr(key), "not an ISO 639 code", "Correct the keys", near]:
        assert part in str(error.value)
