"""examples/initialization_study on tiny models and texts."""

import gzip
import json
import sys

import numpy as np
import pytest
from adapted_models import make_source
from conftest import REPOSITORY, TEXT, word_tokenizer
from transformers import AutoModel

import ofa_transformers as ofa


@pytest.fixture
def study(monkeypatch):
    """Its modules, which import one another by their bare names."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "examples" / "initialization_study"))
    names = ("arms", "data", "retrieval", "run", "tables")
    modules = {name: __import__(name) for name in names}
    yield modules
    for name in names:
        del sys.modules[name]


def test_fvt_is_the_mean_of_the_pieces(study):
    source = word_tokenizer("green", "house", "old")
    target = word_tokenizer("old", "greenhouse", "house old", "new")
    vectors = ofa.WordVectors(["$green$", "$old$"], np.array(["eng", "eng"]), np.eye(2), frequencies=np.array([2, 1]))
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)  # unk, green, house, old
    mapping = study["arms"].make_mapping(study["arms"].ARMS["fvt"], source, target, vectors, ["eng"], 4)
    found = mapping.apply(rows, fallback="zeros")
    np.testing.assert_allclose(found[target.get_vocab()["▁old"]], rows[3])
    np.testing.assert_allclose(found[target.get_vocab()["▁house old"]], (rows[2] + rows[3]) / 2)
    for token in ("▁greenhouse", "▁new"):  # unk to the source
        assert not found[target.get_vocab()[token]].any()


def test_run_writes_resumes_and_says_what_does_not_fit(study, tiny_tokenizers, tmp_path, monkeypatch, capsys):
    ids = [f"b.MAT.1.{number}" for number in range(60)]
    for index, language in enumerate(["eng", "deu", "swh", "rus", "ewe"]):
        lines = [f"{name}\t{TEXT[(index * 3 + number) % len(TEXT)]} {number}" for number, name in enumerate(ids)]
        (tmp_path / f"{language}_Latn.tsv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "train_exclude.txt").write_text("\n".join(ids[:20]))
    (tmp_path / "split_dev.tsv").write_text("verse_id\tn\n" + "\n".join(f"{name}\t44" for name in ids[:20]))
    pairs = "\n".join(f"Haus {number}\thouse {number}" for number in range(30))
    (tmp_path / "tatoeba").mkdir()
    (tmp_path / "tatoeba" / "deu-eng.tsv.gz").write_bytes(gzip.compress(pairs.encode()))
    source = make_source("bert", tiny_tokenizers["wordpiece"])
    AutoModel.from_config(source.config, add_pooling_layer=False).save_pretrained(tmp_path / "source")
    tiny_tokenizers["wordpiece"].save_pretrained(tmp_path / "source")
    monkeypatch.setitem(study["run"].SOURCES, "minilm", study["run"].Source(("eng",), {"last": 2, "middle": 1}))
    monkeypatch.setattr(study["run"], "VECTOR_SIZE", 6)
    out = tmp_path / "out"
    arguments = [
        "--bible",
        tmp_path,
        "--tatoeba",
        tmp_path / "tatoeba",
        "--minilm",
        tmp_path / "source",
        "-o",
        out,
        "--quick",
    ]
    arguments += ["--arms", "source", "fvt", "both-g0.4", "--sizes", "full", "8", "--threads", "1"]

    def run(*more: str) -> None:
        monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments), *more])
        study["run"].main()

    run()
    results = json.loads((out / "results.json").read_text())
    assert len(results) == 5 and len(list((out / "cells").iterdir())) == 5
    scores = results[0]["results"]["bible"]["last"]
    assert set(scores) == {"deu", "swh", "rus", "ewe"}
    assert all(0 <= value <= 100 for score in scores.values() for value in score.values())
    table = (out / "results.md").read_text()
    assert table.count("| 8 | 1 |") == 2 and "`language_offset=0.4`" in table

    printed = capsys.readouterr().out
    run()  # everything is there already
    assert printed.count("top-1") == 5 and capsys.readouterr().out == ""
    file = next((out / "cells").iterdir())
    file.write_text(file.read_text().replace('"verses": 30', '"verses": 20'))
    with pytest.raises(ValueError, match="choose another output folder"):
        run()
