"""What the package writes is JSON that other readers take: a number that is none is null."""

import json
import math

import numpy as np
import pytest

from ofa_transformers import WordVectors
from ofa_transformers.report.columns import PageColumns
from ofa_transformers.report.report import OfaReport
from ofa_transformers.tokenization.fertility import FertilityReport
from ofa_transformers.utils.strict_json import dumps


def read(text):
    """As readers that know no NaN."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_no_number_is_null():
    assert read(dumps({"a": [math.nan, (1.5, math.inf)], "b": {"c": -math.inf}})) == {
        "a": [None, [1.5, None]],
        "b": {"c": None},
    }


def test_reports(tmp_path):
    names = ("source", "target", "word_vectors", "settings", "tokens", "tokens_by_script", "seconds", "versions")
    empty = {name: {} for name in names}
    report = OfaReport(**empty, reconstruction_error=math.inf, proof={"difference": math.nan})
    written = read(report.save(tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report.to_dict()["reconstruction_error"] is None
    assert written["proof"] == {"difference": None} and written["reconstruction_error"] is None
    columns = PageColumns({"token_length": np.zeros(0, dtype=np.int32)}, {"share": math.nan})
    assert PageColumns.unpack(columns.pack()).facts == {"share": None}


def test_vectors_and_their_card(tmp_path):
    metadata = {"alignment": {"csls": math.nan}}
    WordVectors(["a"], ["deu"], np.ones((1, 2), dtype=np.float32), metadata=metadata).save(tmp_path / "vectors")
    assert read((tmp_path / "vectors" / "metadata.json").read_text())["metadata"]["alignment"] == {"csls": None}
    assert "NaN" not in (tmp_path / "vectors" / "README.md").read_text()


def test_fertility(monkeypatch):
    report = FertilityReport({})
    monkeypatch.setattr(report.__class__, "to_dict", lambda self: {"a": {"deu": {"unknown_share": math.nan}}})
    assert read(report.to_json()) == {"a": {"deu": {"unknown_share": None}}}
