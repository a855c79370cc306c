"""Parallel text that isn't: the error names the file, the line or an id, and the remedy."""

import logging
import re

import pytest

from ofa_transformers.text.parallel import read_pairs
from ofa_transformers.text.segments import read_translations


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_files_without_common_ids(tmp_path):
    write(tmp_path / "eng.tsv", ["v1\thouse", "v2\triver"])
    write(tmp_path / "deu.tsv", ["v1\tHaus", "v2\tFluss"])
    write(tmp_path / "swh.tsv", ["1\tnyumba", "2\tmto"])
    message = f"{tmp_path / 'swh.tsv'}: none of its 2 ids is in another file; they are like '1', those of {tmp_path / 'deu.tsv'} like 'v1'. Give lines"
    with pytest.raises(ValueError, match=re.escape(message)):
        read_translations([tmp_path])


def test_one_language_alone(tmp_path):
    write(tmp_path / "eng.tsv", ["v1\thouse"])
    with pytest.raises(ValueError, match=r"eng\.tsv is eng only; give the file of at least one other language"):
        read_translations([tmp_path])


def test_a_file_with_few_common_ids_is_named(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    write(tmp_path / "eng.tsv", [f"v{i}\thouse" for i in range(40)])
    write(tmp_path / "deu.tsv", [f"v{i}\tHaus" for i in range(38, 80)])
    assert set(read_translations([tmp_path])) == {"deu", "eng"}
    assert "of its 42 ids 2 are in another file ('v40' isn't)" in caplog.text
    caplog.clear()
    write(tmp_path / "deu.tsv", [f"v{i}\tHaus" for i in range(20, 60)])
    read_translations([tmp_path])
    assert not caplog.text


def test_a_line_without_an_id(tmp_path):
    write(tmp_path / "eng.tsv", ["v1\thouse", "river"])
    write(tmp_path / "deu.tsv", ["v1\tHaus"])
    with pytest.raises(ValueError, match=r"eng\.tsv, line 2: expected `id<TAB>text`, but found 'river'"):
        read_translations([tmp_path])


def test_sides_of_unlike_length(tmp_path):
    write(tmp_path / "x.deu-eng.deu", ["Haus", "Fluss", "Meer"])
    write(tmp_path / "x.deu-eng.eng", ["house", "river"])
    with pytest.raises(
        ValueError, match=r"has 3 lines, .*deu-eng\.eng 2: line 3 of x\.deu-eng\.deu, 'Meer', has no tr"
    ):
        read_pairs([tmp_path])


def test_a_blank_line_of_one_side(tmp_path):
    write(tmp_path / "x.deu-eng.deu", ["Haus", "", "Meer"])
    write(tmp_path / "x.deu-eng.eng", ["house", "river", "sea"])
    with pytest.raises(ValueError, match=r"x\.deu-eng\.deu, line 2 is blank; write a sentence, or remove it"):
        read_pairs([tmp_path])
