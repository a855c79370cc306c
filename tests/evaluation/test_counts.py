"""Scores from counts, against scikit-learn's, and their intervals."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from ofa_transformers.evaluation.counts import Scored, accuracy, count_classes, f1, macro_f1


@pytest.fixture
def items():
    """Gold and predicted classes of 200 words in 40 sentences; class 5 never occurs."""
    generator = np.random.default_rng(0)
    gold = generator.integers(5, size=200)
    predicted = np.where(generator.random(200) < 0.6, gold, generator.integers(5, size=200))
    return gold, predicted, np.sort(generator.integers(40, size=200))


def test_scores_are_those_of_scikit_learn(items):
    gold, predicted, sentences = items
    counts = count_classes(gold, predicted, sentences, 40, 6)
    assert counts.shape == (40, 6, 3)
    total = counts.sum(axis=0)
    assert accuracy(total) == pytest.approx(accuracy_score(gold, predicted))
    assert macro_f1(total) == pytest.approx(f1_score(gold, predicted, average="macro"))
    assert f1(total)[:5] == pytest.approx(f1_score(gold, predicted, average=None))
    assert f1(total)[5] == 0


def test_what_has_no_prediction_is_wrong(items):
    gold, predicted, sentences = items
    predicted[:50] = -1
    total = count_classes(gold, predicted, sentences, 40, 6).sum(axis=0)
    assert accuracy(total) == pytest.approx(accuracy_score(gold, predicted))
    assert macro_f1(total) == pytest.approx(f1_score(gold, predicted, average="macro", labels=range(5)))


def test_interval_is_that_of_resampled_sentences(items):
    gold, predicted, sentences = items
    scored = Scored("macro-F1", count_classes(gold, predicted, sentences, 40, 6), macro_f1)
    generator = np.random.default_rng(0)
    values = []
    for _ in range(1000):  # the plain way
        words = np.concatenate([np.flatnonzero(sentences == n) for n in generator.integers(40, size=40)])
        resampled = count_classes(gold[words], predicted[words], np.zeros(len(words), dtype=int), 1, 6)
        values.append(macro_f1(resampled[0]))
    assert scored.interval() == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))
    assert scored.interval()[0] < scored.value < scored.interval()[1]
