"""Words that are aligned with the same words of the pivot."""

import itertools
from collections import defaultdict

import numpy as np
import pytest
import scipy.sparse

from ofa_transformers import WordVectors
from ofa_transformers.text.segments import pivot_of
from ofa_transformers.vectors import aligned_words as module
from ofa_transformers.vectors.aligned_words import aligned_words


def counts_of(segments: list[list[int]], words: int) -> scipy.sparse.csr_array:
    entries = [(word, number) for number, some in enumerate(segments) for word in some]
    rows, columns = np.array(entries).T
    return scipy.sparse.csr_array(
        scipy.sparse.coo_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(words, len(segments)))
    )


def plain_model_1(source: list[list[int]], target: list[list[int]], iterations: int = 5) -> list[dict]:
    """Of each segment: (source word, target word) -> the probability that the target word comes of the source word."""
    table = defaultdict(lambda: 1.0)
    for _ in range(iterations):
        sums = defaultdict(float)
        pairs = {pair for s, t in zip(source, target) for pair in itertools.product(s, t)}
        for s, t in pairs:
            sums[s] += table[s, t]
        table = {pair: table[pair] / sums[pair[0]] for pair in pairs}
        found, expected = [], defaultdict(float)
        for s, t in zip(source, target):
            total = {word: sum(table[other, word] for other in s) + 1e-3 for word in t}
            found.append({(other, word): table[other, word] / total[word] for other in s for word in t})
            for pair, value in found[-1].items():
                expected[pair] += value
        table = expected
    return found


def test_counts_are_those_of_a_plain_model_1():
    rng = np.random.default_rng(0)
    theirs = [sorted(rng.choice(12, size=rng.integers(0, 6), replace=False).tolist()) for _ in range(40)]
    ours = [sorted({(word + 3) % 12 for word in some if rng.random() < 0.8} | {12}) for some in theirs]
    blocks = {"deu": counts_of(ours, 14), "eng": counts_of(theirs, 12)}
    found = aligned_words(blocks, "eng").toarray()
    forward, backward = plain_model_1(theirs, ours), plain_model_1(ours, theirs)
    expected = np.zeros((14, 12))
    for one, other in zip(forward, backward):
        for (their, our), value in one.items():
            expected[our, their] += value * other[our, their]
    expected[expected <= 0.05] = 0
    np.testing.assert_allclose(found[:14], expected, rtol=1e-4, atol=1e-5)
    assert expected[:12].argmax(axis=0).tolist() == [(word + 3) % 12 for word in range(12)]
    np.testing.assert_array_equal(found[14:], np.diag([sum(word in some for some in theirs) for word in range(12)]))
    assert not found[13].any()  # a word of no segment


def test_of_much_text_some_segments_are_taken(monkeypatch):
    segments = [[number % 5, 5] for number in range(60)]
    blocks = {"deu": counts_of(segments, 6), "eng": counts_of(segments, 6)}
    whole = aligned_words(blocks, "eng")[:6].toarray()
    monkeypatch.setattr(module, "_MOST_PAIRS", 60)  # of 240: every fourth segment
    part = aligned_words(blocks, "eng")[:6].toarray()
    assert part.sum() == pytest.approx(whole.sum() / 4, rel=0.05)
    assert (part.argmax(axis=1) == whole.argmax(axis=1)).all()


def test_languages_without_a_common_segment_have_no_counts():
    one, other = counts_of([[0], [1], []], 2), counts_of([[], [], [0]], 1)
    assert aligned_words({"deu": one, "eng": other}, "eng").toarray().tolist() == [[0], [0], [1]]


def test_the_pivot():
    assert pivot_of({"deu": 9, "eng": 1}) == "eng" and pivot_of({"deu": 1, "swh": 9}) == "swh"


def test_translations_that_share_segments_with_many_others_are_found_more_often():
    rng = np.random.default_rng(1)
    words = 150
    drawn = [rng.choice(words, size=20, replace=False) for _ in range(80)]
    texts = {
        code: [
            (str(number), " ".join(f"{code}w{i}" for i in some if rng.random() < 0.5))
            for number, some in enumerate(drawn)
        ]
        for code in ("eng", "deu", "swh")
    }

    def right(weight: float) -> int:
        vectors = WordVectors.from_parallel(texts, dim=40, alignment_weight=weight)
        place = {
            (str(code), word): number for number, (code, word) in enumerate(zip(vectors.languages, vectors.words))
        }
        known = [i for i in range(words) if all((code, f"{code}w{i}") in place for code in ("deu", "swh"))]
        deu, swh = (vectors.vectors[[place[code, f"{code}w{i}"] for i in known]] for code in ("deu", "swh"))
        return int(((deu @ swh.T).argmax(axis=1) == np.arange(len(known))).sum())

    assert right(0.7) > right(0.0) + 5  # 87 and 78 of 143


def test_the_weight_is_kept_and_checked():
    texts = {code: [(str(i), f"a{i % 7} b{i % 5}") for i in range(40)] for code in ("deu", "swh")}
    made = WordVectors.from_parallel(texts, dim=3, alignment_weight=0.5)
    assert (made.metadata["alignment_weight"], made.metadata["pivot"]) == (0.5, "deu")
    assert "pivot" not in WordVectors.from_parallel(texts, dim=3, alignment_weight=0).metadata
    alone = {"deu": texts["deu"]}
    assert "pivot" not in WordVectors.from_parallel(alone, dim=3, alignment_weight=0.5).metadata
    with pytest.raises(ValueError, match="alignment_weight is -1, but must be 0 or more"):
        WordVectors.from_parallel(texts, alignment_weight=-1)
