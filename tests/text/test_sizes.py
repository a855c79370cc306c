"""How large a text is, from parts of it."""

import gzip
import random

import pytest

from ofa_transformers.text import sizes
from ofa_transformers.text.corpus import TextFile


# First short lines, as of headings, then prose, and rarely whole documents in a line, where most of the text is.
_WORDS = random.Random(0).choices(
    ["und", "es", "begab", "sich", "zum", "Mal", "dass", "wieder", "einer", "auszog"], k=8_000
)
SHORT = [f"Kapitel {number}" for number in range(10_000)]
LONG = [" ".join(_WORDS[: 8_000 if number % 500 == 7 else 20 + number % 50]) for number in range(10_000)]


@pytest.mark.parametrize(
    "name", ["deu.txt", "deu.txt.gz", "deu.txt.zst", "deu.jsonl", "deu.parquet", "deu_groups.parquet"]
)
def test_uneven_and_packed_files_are_judged_by_all_their_length(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sizes, "_SAMPLE", 1 << 18)
    monkeypatch.setattr(sizes, "_MOST_ROWS", 2_000)
    path, lines = tmp_path / name, SHORT + LONG if name.endswith(("txt", "gz", "deu.parquet")) else LONG + SHORT
    if name.endswith("parquet"):
        import pyarrow
        import pyarrow.parquet

        rows = 1_500 if "groups" in name else None
        pyarrow.parquet.write_table(pyarrow.table({"id": lines, "text": lines}), path, row_group_size=rows)
    elif name.endswith("jsonl"):
        path.write_text("\n".join(f'{{"number": {number}, "text": "{line}"}}' for number, line in enumerate(lines)))
    else:
        packed = {
            "gz": lambda text: gzip.compress(text, 1),
            "zst": pytest.importorskip("zstandard").compress,
            "txt": bytes,
        }
        path.write_bytes(packed[name.rpartition(".")[2]]("\n".join(lines).encode()))
    size = TextFile(path).size()
    assert size.characters == pytest.approx(sum(map(len, lines)), rel=0.05)
    assert size.lines == pytest.approx(len(lines), rel=0.01)
    assert len(size.sample) < len(lines) / 3
    if name in ("deu.txt", "deu.jsonl"):  # as a longer file, which is looked at in places without being gone through
        monkeypatch.setattr(sizes, "_MOST_PLAIN", 0)
        size = TextFile(path).size()
        assert size.characters == pytest.approx(sum(map(len, lines)), rel=0.1)
        assert size.lines == pytest.approx(len(lines), rel=0.1)


def test_small_files_are_counted(tmp_path):
    (tmp_path / "deu.txt").write_text("eins\n\nzwei\n")
    assert TextFile(tmp_path / "deu.txt").size() == (8, 2, ["eins", "zwei"])


@pytest.mark.parametrize("most", [0, 1 << 26])
def test_a_file_of_few_endless_lines_is_read(tmp_path, monkeypatch, most):
    monkeypatch.setattr(sizes, "_MOST_PLAIN", most)
    (tmp_path / "deu.txt").write_text("\n".join("abcdef " * 430_000 for _ in range(3)))
    assert TextFile(tmp_path / "deu.txt").size()[:2] == (9_030_000, 3)


def test_an_unreadable_line_in_a_sample_is_named_by_its_number(tmp_path, monkeypatch):
    lines = [b"eine Zeile\n"] * 100_000
    lines[20_000:80_000] = ["f\xfcnf\n".encode("latin-1")] * 60_000
    (tmp_path / "deu.txt").write_bytes(b"".join(lines))
    for sample, most in ((1 << 22, 1 << 26), (1 << 17, 1 << 26), (1 << 17, 0)):
        monkeypatch.setattr(sizes, "_SAMPLE", sample)
        monkeypatch.setattr(sizes, "_MOST_PLAIN", most)
        with pytest.raises(ValueError, match=r"line 20001: not valid UTF-8"):
            TextFile(tmp_path / "deu.txt").size()
