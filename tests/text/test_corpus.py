"""Text from files and data sets."""

import gzip

import pytest

from ofa_transformers.text.corpus import by_language
from ofa_transformers.text.file_names import language_of
from ofa_transformers.tokenization import DatasetText, TextFile


def write(path, content):
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("deu.txt", "\ufeffein Haus\r\n\nfünf\n".encode(), ["ein Haus", "", "fünf"]),
        ("deu.txt.gz", b"ein\nzwei", ["ein", "zwei"]),
        ("deu.tsv", b"b.1\tein\tHaus\nb.2\tzwei\n", ["ein\tHaus", "zwei"]),
        ("deu.tsv.gz", b"b.1\tein\n", ["ein"]),
        ("deu.jsonl", b'{"text": "ein"}\n{"text": "zwei"}\n', ["ein", "zwei"]),
    ],
)
def test_files(tmp_path, name, content, lines):
    text = TextFile(write(tmp_path / name, content))
    assert list(text) == lines
    assert list(text) == lines, "a second reading"


def test_zstd(tmp_path):
    zstandard = pytest.importorskip("zstandard", reason="zstd needs a package of its own")
    path = write(tmp_path / "deu.txt.zst", zstandard.ZstdCompressor().compress(b"ein\nzwei\n"))
    assert list(TextFile(path)) == ["ein", "zwei"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("deu.txt", b"ein\nf\xfcnf\n", r"deu\.txt, line 2: not valid UTF-8 .*iconv"),
        ("deu.txt", b"ein\n\0\0\n", r"deu\.txt, line 2: holds a NUL byte"),
        ("deu.txt", "ein".encode("utf-16-le"), r"line 1: holds a NUL byte"),
        ("deu.tsv", b"a\tb\nno tab\n", r"deu\.tsv, line 2: .*no tab"),
        ("deu.jsonl", b'{"text": "a"}\n{"body": "a"}\n', r"line 2: needs text in the field 'text', but has .*'body'"),
        ("deu.jsonl", b'{"text": 3}\n', r"line 1: .*holds no string"),
        ("deu.jsonl", b"[1]\n", r"line 1: expected an object"),
        ("deu.jsonl", b"{\n", r"line 1: not valid JSON"),
        ("deu.txt", gzip.compress(b"ein\n" * 10_000)[:-20], r"deu\.txt is damaged or cut short"),
        ("deu.txt", b"", "is empty"),
    ],
)
def test_bad_files_are_named_with_the_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(TextFile(path))


def test_a_zstd_file_that_is_cut_short_is_none(tmp_path):
    zstandard = pytest.importorskip("zstandard", reason="zstd is an extra")
    path = tmp_path / "deu.txt.zst"
    content = zstandard.compress("\n".join(map(str, range(100_000))).encode())
    path.write_bytes(content)
    assert len(list(TextFile(path))) == 100_000
    path.write_bytes(content[:-1000])
    with pytest.raises(ValueError, match=r"deu\.txt\.zst is damaged or cut short"):
        list(TextFile(path))


def test_data_sets():
    rows = [{"body": "ein\nzwei"}, {"body": "drei"}]
    assert list(DatasetText(rows, "body")) == ["ein", "zwei", "drei"]
    with pytest.raises(ValueError, match=r"row 1: needs text in the field 'text'.*'body'"):
        list(DatasetText(rows))
    datasets = pytest.importorskip("datasets", reason="data sets are an extra")
    dataset = datasets.Dataset.from_dict({"text": ["ein", "zwei"]})
    for given in (dataset, dataset.to_iterable_dataset()):
        assert list(by_language({"deu": given})["deu"]) == ["ein", "zwei"]


def test_languages_of_file_names(tmp_path):
    assert language_of("x/deu_Latn.tsv.gz") == "deu_Latn"
    assert language_of("eng_Latn-KJV.tsv.gz") == "eng_Latn"
    assert language_of("sw.txt") == "sw"
    with pytest.raises(ValueError, match=r"'bible\.txt' does not begin with a language code.*deu=bible"):
        language_of("bible.txt")
    paths = [write(tmp_path / name, name.encode()) for name in ("eng-a.txt", "deu.txt", "eng-b.txt")]
    texts = by_language(paths)
    assert {language: list(lines) for language, lines in texts.items()} == {
        "eng": ["eng-a.txt", "eng-b.txt"],
        "deu": ["deu.txt"],
    }
    assert list(by_language({"xyz": paths})["xyz"]) == ["eng-a.txt", "deu.txt", "eng-b.txt"]
    with pytest.raises(FileNotFoundError, match=r"fra\.txt is not a file"):
        by_language([tmp_path / "fra.txt"])


@pytest.mark.parametrize(("values", "kind"), [([["a"]], "list<"), ([1], "int64"), ([b"a"], "binary")])
def test_a_parquet_column_without_text_is_named(tmp_path, values, kind):
    import pyarrow as pa
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table({"text": values}), tmp_path / "deu.parquet")
    with pytest.raises(ValueError, match=rf"deu\.parquet: the column 'text' holds {kind}.*, not text"):
        TextFile(tmp_path / "deu.parquet")


def test_old_macs_line_breaks_are_named(tmp_path):
    (tmp_path / "deu.txt").write_bytes(b"eins\rzwei\r")
    with pytest.raises(ValueError, match=r"deu\.txt has no line breaks but carriage returns"):
        list(TextFile(tmp_path / "deu.txt"))
