"""The settings of an initialisation: checked when they are built, the same wherever they are named, kept when they are newer."""

import dataclasses
import inspect

import pytest
import typer

import ofa_transformers as ofa
from ofa_transformers.cli import app
from ofa_transformers.initialization.settings import InitializationSettings, pivot_of_source


NAMES = [entry.name for entry in dataclasses.fields(InitializationSettings) if entry.name != "unknown"]


def test_defaults_are_those_of_from_pretrained_and_of_the_command():
    arguments = inspect.signature(ofa.OfaInitializer.from_pretrained).parameters
    defaults = {name: getattr(InitializationSettings(), name) for name in NAMES}
    assert {name: arguments[name].default for name in NAMES} == defaults
    options = {option.name: option.default for option in typer.main.get_command(app).commands["adapt"].params}
    assert set(NAMES) - set(options) == {"fuzzy_match"}
    assert {name: options[name] or None for name in options if name in NAMES} == {
        name: value or None for name, value in defaults.items() if name in options
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_neighbors": 0}, "num_neighbors is 0, but must be at least 1"),
        ({"num_neighbors": 2.5}, "num_neighbors is 2.5, but must be an integer"),
        ({"max_words": 0}, "max_words is 0, but at least one word is needed"),
        ({"max_words": "10"}, "max_words is '10', but must be an integer"),
        ({"seed": -1}, "seed is -1, but must be at least 0"),
        ({"temperature": float("inf")}, "temperature is inf"),
        (
            {"fallback": "fvt"},
            "fallback is 'fvt', but must be one of 'normal', 'multivariate_normal', 'mean', 'zeros'",
        ),
        ({"overlap": "none"}, "overlap is 'none', but must be one of 'all', 'used_by_source'"),
        ({"primitives": "both"}, "primitives is 'both', but must be one of 'source', 'target'"),
        ({"language_offset": -1}, "language_offset is -1, but must be 0"),
        ({"authors_compatible": True, "primitives": "target"}, "which has no primitives='target'"),
    ],
)
def test_wrong_ones_cannot_be_built_nor_come_about(options, message):
    with pytest.raises(ValueError, match=message):
        InitializationSettings(**options)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(InitializationSettings(), **options)
    with pytest.raises(ValueError, match=message):
        InitializationSettings.from_dict(options)


def test_they_are_values():
    settings = InitializationSettings(source_languages=["eng", "deu", "eng"], target_languages="rus")
    assert settings.source_languages == ("deu", "eng") and settings.target_languages == ("rus",)
    assert len({settings, InitializationSettings(source_languages=("deu", "eng"), target_languages=["rus"])}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 1


@pytest.mark.parametrize(
    ("known", "pivot"),
    [(None, "eng"), ((), "eng"), (("deu", "eng"), "eng"), (("fra",), "fra"), (("deu", "fra"), "deu")],
)
def test_translations_are_of_english_where_the_source_knows_it(known, pivot):
    assert pivot_of_source(known) == pivot


def test_those_of_a_newer_version_survive_with_a_warning(monkeypatch):
    messages = []
    monkeypatch.setattr(
        "ofa_transformers.initialization.settings.logger.warning", lambda text, *values: messages.append(text % values)
    )
    newer = {"embedding_size": 8, "colour": "red", "seed": 3, "head_bias": "carried"}
    settings = InitializationSettings.from_dict(newer)
    assert (settings.embedding_size, settings.seed, settings.unknown) == (8, 3, {"colour": "red"})
    assert len(messages) == 1 and "doesn't know have no effect: colour" in messages[0]
    written = settings.to_dict()
    assert written["colour"] == "red" and "colour" not in settings.arguments()
    assert InitializationSettings.from_dict(written) == settings


def test_names_of_older_records():
    older = {"size": 8, "source_language": ["eng"], "target_language": [], "source": "a", "record": {}, "seed": None}
    assert InitializationSettings.from_dict(older) == InitializationSettings(8, source_languages=["eng"])
