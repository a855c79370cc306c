"""Units of tagged sentences, as seqeval counts them."""

import sys

import numpy as np
import pytest
from seqeval.metrics import f1_score

from ofa_transformers.evaluation.counts import f1
from ofa_transformers.text.labelled.entities import count_units, units_reader


def tagged(tags: list[str]) -> tuple[list[list[str]], list[list[str]]]:
    """Gold tags of 59 sentences, and predicted ones of which seven in ten are right."""
    generator = np.random.default_rng(0)
    gold = [[str(tag) for tag in generator.choice(tags, size=length)] for length in range(1, 60)]
    return gold, [[tag if generator.random() < 0.7 else str(generator.choice(tags)) for tag in row] for row in gold]


def test_entities_give_the_f1_of_seqeval():
    gold, predicted = tagged(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
    counts = count_units(gold, predicted)
    assert counts.shape == (59, 3)
    expected = f1_score(gold, predicted)
    assert 0.3 < expected < 0.9 and f1(counts.sum(axis=0)) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:.*seems not to be NE tag")
def test_runs_of_a_part_of_speech_are_units_as_in_seqeval():
    gold, predicted = tagged(["NOUN", "VERB", "INTJ", "ADP"])
    expected = f1_score(gold, predicted)
    assert 0.3 < expected < 0.9 and f1(count_units(gold, predicted).sum(axis=0)) == pytest.approx(expected)


def test_all_letters_of_a_part_of_speech_count():
    """seqeval by itself reads the first letter as a prefix, and would take CCONJ and SCONJ for the same."""
    assert count_units([["CCONJ", "X", "X"]], [["SCONJ", "X", "X"]]).tolist() == [[1, 1, 1]]


def test_missing_seqeval_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "seqeval.metrics.sequence_labeling", None)
    with pytest.raises(ImportError, match=r"pip install 'ofa-transformers\[evaluation\]'"):
        units_reader()
