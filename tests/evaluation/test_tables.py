"""Measurements side by side."""

from ofa_transformers.evaluation import Measurement, to_markdown
from ofa_transformers.evaluation.tables import short_names, tables


def measurement(model="a/one", language="deu", value=0.5, metric="top-1 from English", **rest):
    return Measurement(model, "retrieval (Tatoeba)", language, metric, value, **rest)


def test_models_stand_side_by_side():
    items = [
        measurement("a/one", "deu", 0.5, low=0.4, high=0.6),
        measurement("b/one", "deu", 0.75, seed=1),
        measurement("b/one", "deu", 0.25, seed=2),
        measurement("a/one", "ara", 0.2),
        measurement("a/one", "all", 0.35),
    ]
    (table,) = tables(items)
    assert table.columns == ["a/one", "b/one"]
    assert table.rows == [("ara", ["20.0", ""]), ("deu", ["50 ± 10", "50 ± 35"]), ("all", ["35.0", ""])]
    text = to_markdown([*items, measurement("a/one", "deu", 2.5, "bits per character", data="x (sha256 1)")])
    assert "| deu | 50 ± 10 | 50 ± 35 |" in text and "| deu | 2.500 |" in text and "x (sha256 1)" in text


def test_short_names():
    assert short_names(["x/a", "y/b"]) == ["a", "b"]
    assert short_names(["x/a", "y/a"]) == ["x/a", "y/a"]


def retrieval(model, centred, values, layer=8):
    return [
        measurement(
            model,
            language,
            value,
            f"top-{k} from English{', centred' if centred else ''}",
            layer=layer,
            centred=centred,
            chance=k / size,
            size=size,
        )
        for (language, size), value in zip((("deu", 100), ("swh", 50)), values)
        for k in (1, 5)
    ]


def test_plain_and_centred_stand_side_by_side():
    items = [*retrieval("a", False, (0.2, 0.4)), *retrieval("a", True, (0.5, 0.6))]
    (table,) = tables(items, details=False)
    assert table.columns == ["top-1 from English", "top-1 from English, centred"]
    assert table.rows == [("deu", ["20.0", "50.0"]), ("swh", ["40.0", "60.0"])]
    assert table.note.endswith("; layer 8; chance 1.0 to 2.0")
    (table,) = tables(items)
    assert len(table.columns) == 4
    items += [*retrieval("b", False, (0.1, 0.3), 4), *retrieval("b", True, (0.7, 0.8), 4)]
    (table,) = tables(items, details=False)
    assert table.title == "retrieval (Tatoeba): top-1 from English"
    assert table.columns == ["a", "a, centred", "b", "b, centred"]
    assert table.rows[0] == ("deu", ["20.0", "50.0", "10.0", "70.0"])
    assert "layer 4 or 8" in table.note
    first, second = tables(items)
    assert first.rows == table.rows and "top-5" in second.title and "chance 5.0 to 10.0" in second.note


def test_of_several_models_the_main_measure_comes_first():
    def perplexity(model, unknown):
        values = {
            "bits per character": 2.5,
            "bits per byte": 2.0,
            "masked-token perplexity": 9.0,
            "unknown characters": unknown,
        }
        return [
            Measurement(model, "perplexity (x, words masked)", "deu", metric, value)
            for metric, value in values.items()
        ]

    one = perplexity("a", 0.0)
    assert len(tables(one, details=False)[0].columns) == 4
    shown = [table.title for table in tables([*one, *perplexity("b", 0.0)], details=False)]
    assert shown == ["perplexity (x, words masked): bits per character"]
    shown = [table.title for table in tables([*one, *perplexity("b", 0.1)], details=False)]
    assert [title.partition(": ")[2] for title in shown] == ["bits per character", "unknown characters"]
    assert len(tables([*one, *perplexity("b", 0.1)])) == 4


def test_groups_have_a_legend():
    items = [measurement(language=language) for language in ("deu", "zul", "head", "tail", "all")]
    assert "head: " in tables(items)[0].note and "head: " not in tables(items[:2])[0].note
