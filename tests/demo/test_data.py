"""The text and the model that ship with the demo."""

import json
import unicodedata

import pytest

from ofa_transformers.demo.data import DATA, ENGLISH, SEED_MODEL, load_parallel_text


@pytest.fixture(scope="module")
def text():
    return load_parallel_text()


def test_enough_languages_and_scripts(text):
    assert len(text.targets) >= 10
    assert len({language.split("_")[1] for language in text.targets}) >= 4
    words = {
        language: sum(len(segment.split()) for segment in segments.values())
        for language, segments in text.train.items()
    }
    assert min(words.values()) < 1000
    recorded = json.loads((DATA / "SOURCE.json").read_text(encoding="utf-8"))["languages"]
    assert {language: entry["train_words"] for language, entry in recorded.items()} == words


def test_ids_are_aligned_and_nothing_held_out_is_trained_on(text):
    english = list(text.train[ENGLISH])
    heldout = list(text.heldout[ENGLISH])
    assert len(heldout) >= 10
    for language in text.train:
        assert list(text.heldout[language]) == heldout
        assert set(text.train[language]) <= set(english)
        assert len(text.train[language]) >= len(english) - 2
        assert not set(text.train[language]) & set(heldout)
        assert not set(text.train[language].values()) & set(text.heldout[language].values())


def test_translations_are_plausible(text):
    """A misaligned paragraph would show as a length far from the language's usual."""
    for part in (text.train, text.heldout):
        for segments in part.values():
            ratios = sorted(len(segment) / len(part[ENGLISH][key]) for key, segment in segments.items())
            median = ratios[len(ratios) // 2]
            assert median / 2.5 < ratios[0] and ratios[-1] < median * 2.5


def test_text_is_clean(text):
    for part in (text.train, text.heldout):
        for segments in part.values():
            for segment in segments.values():
                assert segment == unicodedata.normalize("NFC", segment)
                assert segment == " ".join(segment.split())
                assert "<" not in segment and "&" not in segment


def test_selection_of_languages():
    text = load_parallel_text(["zul_Latn"])
    assert list(text.train) == [ENGLISH, "zul_Latn"]
    assert text.targets == ["zul_Latn"]
    with pytest.raises(ValueError, match="xxx_Latn"):
        load_parallel_text(["xxx_Latn"])


def test_licences_and_sizes():
    assert "Permission is hereby granted, free of charge" in (DATA / "LICENSE").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 1_000_000
    assert sum(path.stat().st_size for path in SEED_MODEL.iterdir()) < 10_000_000
    card = (SEED_MODEL / "README.md").read_text(encoding="utf-8")
    assert "examples/seed_model" in card and "WordNet" in card
    assert "Princeton University" in (SEED_MODEL / "LICENSE.wordnet").read_text(encoding="utf-8")


def test_seed_model_has_learned_english(text):
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    from ofa_transformers.evaluation import MaskedLMScore, score_masked_lm

    model = AutoModelForMaskedLM.from_pretrained(SEED_MODEL, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(SEED_MODEL)
    assert model.num_parameters() < 5_000_000
    segments = list(text.heldout[ENGLISH].values())
    trained = sum(score_masked_lm(model, tokenizer, segments), MaskedLMScore())
    shuffled = [" ".join(sorted(segment.split())) for segment in segments]
    disordered = sum(score_masked_lm(model, tokenizer, shuffled), MaskedLMScore())
    assert trained.loss < disordered.loss - 0.2
