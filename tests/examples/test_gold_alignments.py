"""The benchmark on manual alignments, on a tiny folder of their layout."""

import itertools
import json
import runpy
import sys

import pytest
from conftest import REPOSITORY


SCRIPT = str(REPOSITORY / "examples" / "benchmarks" / "gold_alignments.py")
WORDS = {"λόγος": "word", "θεός": "God", "φῶς": "light", "ζωή": "life", "υἱός": "son"}


@pytest.fixture
def gold(tmp_path):
    """Every pair of five words and their translations, in reverse order; and a full stop."""
    greek, english, records = [], [], []
    for verse, pair in enumerate(itertools.permutations(WORDS, 2), 1):
        key = f"40001{verse:03}"
        for place, word in enumerate(pair, 1):
            greek.append(f"n{key}{place:03}\t{word}")
            english.append(f"{key}{place:03}\t{WORDS[pair[2 - place]]}\t")
            records.append({"source": [f"n{key}{place:03}"], "target": [f"{key}{3 - place:03}"]})
        english.append(f"{key}003\t.\ty")
    files = {
        "sources/SBLGNT.tsv": "\n".join(["id\ttext", *greek]),
        "eng/targets/BSB/nt_BSB.tsv": "\n".join(["id\ttext\texclude", *english]),
        "eng/alignments/BSB/SBLGNT-BSB-manual.json": json.dumps({"records": records}),
    }
    for name, content in files.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n", encoding="utf-8")
    return tmp_path


def test_words_that_always_go_together_are_found(gold, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")  # no other aligner
    monkeypatch.setattr(sys, "argv", [SCRIPT, str(gold), "--dims", "4", "--json", str(gold / "out.json")])
    runpy.run_path(SCRIPT, run_name="__main__")
    results = json.loads((gold / "out.json").read_text())
    vectors = {"word vectors, 4 dimensions", "word vectors, segments alone, 4 dimensions"}
    assert results.keys() == {*vectors, "Dice", "IBM model 1"}
    for found in results.values():
        assert found == {"p_at_1": 1, "scored": 1, "precision": 1, "recall": 1, "aer": 0}
    assert "20 verses" in capsys.readouterr().out


def test_what_is_missed_and_what_is_wrong_count(gold):
    script = runpy.run_path(SCRIPT)
    verses = script["read_gold"](gold)
    assert verses[0].english == ["god", "word"] and verses[0].links == {(0, 1), (1, 0)}
    right, wrong = {(0, 1), (1, 0)}, {(0, 0)}
    found = script["judge_links"](verses, [right] * 10 + [wrong] * 10)
    assert found == {"precision": 20 / 30, "recall": 20 / 40, "aer": pytest.approx(1 - 2 * 20 / 70)}
