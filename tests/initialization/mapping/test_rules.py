"""Which rules are chosen where none are named."""

import numpy as np
import pytest
from conftest import word_tokenizer

import ofa_transformers as ofa
from ofa_transformers.initialization.inputs import _of_many_scripts
from ofa_transformers.initialization.settings import InitializationSettings
from ofa_transformers.mapping import check_settings, choose_rules


@pytest.fixture(scope="module")
def vectors() -> ofa.WordVectors:
    return ofa.WordVectors(["$a$", "$b$"], np.array(["eng", "deu"]), np.eye(2), frequencies=np.array([2, 1]))


@pytest.fixture(scope="module")
def bare(vectors) -> ofa.WordVectors:
    return ofa.WordVectors(vectors.words, vectors.languages, vectors.vectors)


def chosen(*arguments, **options) -> tuple[str, str, int]:
    rules = choose_rules(*arguments, **options)
    return rules.word_weighting, rules.overlap, len(rules.notes)


def test_the_better_rules_hold_where_the_inputs_allow_them(vectors, bare):
    assert chosen(None, None, vectors, ["eng"]) == ("sqrt_frequency", "used_by_source", 0)
    assert chosen(None, None, vectors, None) == ("sqrt_frequency", "all", 1)
    assert chosen(None, None, vectors, ["deu", "eng"]) == ("sqrt_frequency", "all", 0)  # many languages gain nothing
    assert "source_languages is not given" in choose_rules(None, None, vectors, None).notes[0]
    assert chosen(None, None, bare, ["eng"]) == ("uniform", "all", 1)
    assert "The word vectors have no frequencies" in choose_rules(None, None, bare, ["eng"]).notes[0]


def test_what_is_named_holds(vectors, bare):
    assert chosen("uniform", None, vectors, ["eng"]) == (
        "uniform",
        "all",
        0,
    )  # the filter helps with the weighting only
    assert chosen(None, "all", vectors, ["eng"]) == ("sqrt_frequency", "all", 0)
    assert chosen("uniform", "all", bare, None) == ("uniform", "all", 0)
    assert chosen("uniform", "used_by_source", vectors, ["eng"]) == ("uniform", "used_by_source", 0)


def test_a_language_model_of_known_languages_gets_an_offset(vectors):
    for languages, language_model, expected in (
        (["eng"], True, 0.2),
        (["eng"], False, 0.0),
        (["deu", "eng"], True, 0.2),
        (None, True, 0.0),
    ):
        rules = choose_rules(None, None, vectors, languages, language_model=language_model)
        assert rules.language_offset == expected
    assert choose_rules(None, None, vectors, ["eng"], language_offset=0.0, language_model=True).language_offset == 0
    assert choose_rules(None, None, vectors, None, language_offset=0.2).language_offset == 0.2
    assert (
        choose_rules(None, None, vectors, ["eng"], authors_compatible=True, language_model=True).language_offset == 0
    )


def test_authors_compatible_keeps_the_papers_and_refuses_others(vectors):
    assert chosen(None, None, vectors, ["eng"], authors_compatible=True) == ("uniform", "all", 0)
    check_settings(word_weighting="uniform", overlap="all", authors_compatible=True)
    for options in ({"word_weighting": "sqrt_frequency"}, {"overlap": "used_by_source"}, {"language_offset": 0.4}):
        with pytest.raises(
            ValueError, match="authors_compatible=True gives what the published code gives, which has no"
        ):
            check_settings(**options, authors_compatible=True)


@pytest.mark.parametrize("wrong", [-1, np.nan, np.inf])
def test_frequencies_that_are_none(vectors, wrong):
    with pytest.raises(ValueError, match=r"The frequency of word 1, 'deu:\$b\$', is (-1\.0|nan|inf), but must be"):
        ofa.WordVectors(vectors.words, vectors.languages, vectors.vectors, frequencies=np.array([0, wrong]))


def test_a_multilingual_source_is_not_asked_for_its_languages(vectors):
    settings = InitializationSettings()
    assert "source_languages is not given" in settings.choose_rules(vectors).notes[0]
    assert settings.choose_rules(vectors, multilingual=True).notes == ()

    def tokenizer(*pieces):
        return word_tokenizer(*(f"{piece}{chr(ord(piece) + number)}" for piece in pieces for number in range(1, 121)))

    assert _of_many_scripts(tokenizer("a", "\u0430", "\u4e00"))  # Latin, Cyrillic, Han
    assert not _of_many_scripts(tokenizer("a", "\u0430"))
