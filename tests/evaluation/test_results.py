"""Measurements: intervals, group means, tables, files, model-index."""

import csv
import io
import json
import math

import numpy as np
import pytest

from ofa_transformers.evaluation import Measurement, group_means, model_index, read_json, to_csv, to_json
from ofa_transformers.evaluation.results import bootstrap_interval, ratio_interval


def measurement(model="a/one", language="deu", value=0.5, metric="top-1 from English", **rest):
    return Measurement(model, "retrieval (Tatoeba)", language, metric, value, **rest)


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(3, 2, size=2000)
    half = 1.96 * values.std() / math.sqrt(len(values))
    low, high = ratio_interval(values)
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert bootstrap_interval(lambda chosen: values[chosen].mean(), len(values)) == pytest.approx(
        (low, high), abs=1e-9
    )
    narrow = ratio_interval(values, level=0.5)
    assert narrow[1] - narrow[0] == pytest.approx((high - low) * 0.6745 / 1.96, rel=0.15)


def test_interval_of_a_ratio_weighs_items_by_their_size():
    sizes = np.array([1, 1, 1, 97])
    assert ratio_interval(2.0 * sizes, sizes) == pytest.approx((2, 2))
    low, high = ratio_interval(np.array([0, 0, 0, 97]), sizes)
    assert low == 0 and high > 0.99
    assert ratio_interval(sizes, seed=1) == ratio_interval(sizes, seed=1)
    assert ratio_interval(np.ones(1)) == (1, 1)


def test_means_over_head_tail_and_all():
    items = [
        measurement(language="deu", value=0.9, low=0.8, high=1.0, size=10),
        measurement(language="swh_Latn", value=0.5, low=0.4, high=0.6, size=10),  # of the macrolanguage swa
        measurement(language="chr_Cher", value=0.1, low=0.0, high=0.2, size=5),
        measurement(language="eng", value=1.0),
    ]
    means = {item.language: item for item in group_means(items, ["xlm-r"], left_out=["eng"])}
    assert set(means) == {"head", "tail", "all"}
    assert means["head"].value == pytest.approx(0.7) and means["head"].size == 20
    assert means["tail"].value == pytest.approx(0.1)
    assert means["all"].value == pytest.approx(0.5) and means["all"].data == "mean of 3 languages"
    assert means["all"].high - means["all"].value == pytest.approx(math.sqrt(3 * 0.1**2) / 3)
    assert {item.language for item in group_means(items)} == {"all"}
    assert group_means(items)[0].low is None  # English has no interval


def test_seeds_models_and_metrics_are_not_mixed_in_means():
    items = [measurement(value=value, seed=seed) for seed, value in ((1, 0.2), (2, 0.4))]
    items += [measurement(model="b", value=0.6, seed=1), measurement(metric="top-5 from English", value=0.8, seed=1)]
    assert sorted(item.value for item in group_means(items)) == [0.2, 0.4, 0.6, 0.8]


def test_files_are_lossless(tmp_path):
    items = [
        measurement(value=1 / 3, low=0.1, high=None, size=7, data="Müller, a.tsv"),
        measurement(language="all", seed=3),
    ]
    path = tmp_path / "results.json"
    path.write_text(to_json(items), encoding="utf-8")
    assert read_json(path) == items
    rows = list(csv.DictReader(io.StringIO(to_csv(items))))
    assert float(rows[0]["value"]) == 1 / 3 and rows[0]["data"] == "Müller, a.tsv" and rows[0]["high"] == ""


def test_numbers_that_are_none_are_null(tmp_path):
    """Bare NaN is no JSON: other readers refuse it."""
    path = tmp_path / "results.json"
    items = [
        measurement(value=math.nan, low=math.nan, high=math.inf),
        measurement(language="swh", low=0.1, high=0.9),
    ]
    path.write_text(to_json(items), encoding="utf-8")

    def refused(constant: str) -> None:
        raise AssertionError(constant)

    rows = json.loads(path.read_text(), parse_constant=refused)
    assert [(row["value"], row["low"], row["high"]) for row in rows] == [(None, None, None), (0.5, 0.1, 0.9)]
    nothing, something = read_json(path)
    assert math.isnan(nothing.value) and nothing.low is None and nothing.high is None
    assert something == items[1]
    assert [result.dataset_config for result in model_index(items)] == ["swh"]


def test_results_of_older_versions_are_read(tmp_path):
    path = tmp_path / "results.json"
    row = {"model": "m", "task": "retrieval (x, centred)", "language": "deu", "metric": "top-1 from English"}
    path.write_text(json.dumps([{**row, "value": 0.5, "low": 0.4, "high": 0.6, "size": 9, "seed": None, "data": "d"}]))
    (item,) = read_json(path)
    assert (item.value, item.size, item.layer, item.centred, item.chance) == (0.5, 9, None, None, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nothing", "not valid JSON"),
        ("\xff", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1}', "no list of measurements"),
        ("[1]", "entry 1: expected an object, but found 1"),
        ('[{"model": "x"}]', "entry 1: 'task' is missing"),
        (to_json([measurement()]).replace('"deu"', "[3]"), r"entry 1: 'language' is \[3\], of the wrong kind"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"results\.json.*{message}.*name a results\.json"):
        read_json(path)


def test_fields_of_newer_versions_are_passed_over(tmp_path):
    path = tmp_path / "results.json"
    rows = json.loads(to_json([measurement()]))
    path.write_text(json.dumps([{**row, "new": 1} for row in rows]))
    assert read_json(path) == [measurement()]


def test_results_for_the_hub():
    items = [measurement(value=0.25, seed=1, data="f"), measurement(value=0.75, seed=2, data="f")]
    (result,) = model_index(items)
    assert result.metric_value == 0.5 and result.metric_type == "accuracy" and result.metric_name == items[0].metric
    assert result.task_type == "sentence-similarity" and result.dataset_config == "deu"
    assert model_index([measurement("b", metric="macro-F1")])[0].metric_type == "f1"
    with pytest.raises(ValueError, match="measurements are of a/one, b"):
        model_index([*items, measurement("b")])
    assert len(model_index([*items, measurement("b")], model="b")) == 1
