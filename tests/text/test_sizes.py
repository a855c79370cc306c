"""How large a text is, from parts of it."""

import gzip
import random

import pytest

from ofa_transformers.text.corpus import TextFile


# 20 MB whose first half has short lines, as a file of headings and then prose: the first lines say little of it.
SHORT = [f"Kapitel {number}" for number in range(300_000)]
LONG = [f"Und es begab sich zum {number}. Mal, dass wieder einer auszog, " * 3 for number in range(90_000)]


@pytest.mark.parametrize("name", ["deu.txt", "deu.txt.gz", "deu.parquet"])
def test_uneven_and_packed_files_are_judged_by_all_their_length(tmp_path, name):
    lines = SHORT + LONG
    path = tmp_path / name
    if name.endswith("parquet"):
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({"text": lines}), path, row_group_size=20_000)
    elif name.endswith("gz"):
        path.write_bytes(gzip.compress("\n".join(lines).encode(), 1))
    else:
        path.write_text("\n".join(lines))
    size = TextFile(path).size()
    assert size.characters == pytest.approx(sum(map(len, lines)), rel=0.1)
    assert size.lines == pytest.approx(len(lines), rel=0.1)
    share = sum(map(len, size.sample)) / len(size.sample)
    assert share == pytest.approx(sum(map(len, lines)) / len(lines), rel=0.1)
    assert len(size.sample) < len(lines) / 2


def test_small_files_are_counted(tmp_path):
    (tmp_path / "deu.txt").write_text("eins\n\nzwei\n")
    assert TextFile(tmp_path / "deu.txt").size() == (8, 2, ["eins", "zwei"])


def test_a_file_of_few_endless_lines_is_read(tmp_path):
    lines = ["".join(random.Random(number).choices("abcdef ", k=3_000_000)) for number in range(2)]
    (tmp_path / "deu.txt").write_text("\n".join(lines))
    assert TextFile(tmp_path / "deu.txt").size()[:2] == (6_000_000, 2)


def test_an_unreadable_line_in_a_sample_is_named_by_its_number(tmp_path):
    lines = ["eine Zeile"] * 600_000
    lines[300_000:360_000] = ["f\xfcnf"] * 60_000
    (tmp_path / "deu.txt").write_bytes("\n".join(lines).encode("latin-1"))
    with pytest.raises(ValueError, match=r"line 300001: not valid UTF-8"):
        TextFile(tmp_path / "deu.txt").size()
