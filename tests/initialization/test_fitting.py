"""Rows that are fitted to the source's hidden states."""

import numpy as np
import pytest
import torch
from adapted_models import adapt, dense_rows, make_source
from conftest import TEXT

from ofa_transformers import OfaInitializer
from ofa_transformers.initialization import source_states
from ofa_transformers.mapping import TokenKind


FAST = {"steps": 30, "batch_size": 8}
LINES = [line for line in TEXT if len(line) < 150]


def fit(kind, tokenizers, vectors, target="unigram", settings=None, **options):
    source = make_source(kind, tokenizers["wordpiece"])
    given = {"target_text": LINES, "language_offset": 0.0, "source_languages": ["eng"], **options}
    chosen = {**FAST, **(settings or {})}
    return source, adapt(
        source, tokenizers["wordpiece"], tokenizers[target], vectors, method="fitted", method_settings=chosen, **given
    )  # fmt: skip


def start(source, tokenizers, vectors, target="unigram", **options):
    given = {"target_text": LINES, "language_offset": 0.0, "source_languages": ["eng"], **options}
    return adapt(source, tokenizers["wordpiece"], tokenizers[target], vectors, **given)


def distance(source, tokenizers, adapted, lines):
    """Of the means of lines at the last layer, as a share of their variance."""
    from ofa_transformers.scoring.sentences import embed_texts

    theirs = embed_texts(source, tokenizers["wordpiece"], lines, layer=2)
    ours = embed_texts(adapted.model, adapted.tokenizer, lines, layer=2)
    return ((ours - theirs).square().mean() / (theirs - theirs.mean(0)).square().mean()).item()


def test_segments_end_where_both_tokenizers_cut():
    text = "un happiness in"
    one = np.array([[0, 0], [0, 2], [2, 7], [7, 12], [12, 15], [0, 0]])  # [CLS] un| happ|iness| in [SEP]
    other = np.array([[0, 2], [3, 5], [5, 12], [13, 15]])  # un|ha|ppiness|in
    special = np.array([True, False, False, False, False, True])
    found = source_states.common_segments(text, one, other, special, np.zeros(4, bool))
    assert found[0].tolist() == [-1, 0, 1, 1, 2, -1]
    assert found[1].tolist() == [0, 1, 1, 2]
    same = source_states.common_segments(
        "ab", np.array([[0, 1], [1, 2]]), np.array([[0, 2]]), *[np.zeros(n, bool) for n in (2, 1)]
    )
    assert [numbers.tolist() for numbers in same] == [[0, 0], [0]]


@pytest.mark.parametrize("kind", ["xlm-roberta", "bert-base", "gpt2"])
@pytest.mark.parametrize("size", [None, 8])
def test_states_come_near_the_sources_and_only_new_rows_move(kind, size, tiny_tokenizers, word_vectors):
    source, fitted = fit(kind, tiny_tokenizers, word_vectors, embedding_size=size)
    plain = start(source, tiny_tokenizers, word_vectors, embedding_size=size)
    assert fitted.report.seconds["fitting"] > 0 and fitted.report.settings["method"] == "fitted"
    before, after = (distance(source, tiny_tokenizers, model, LINES) for model in (plain, fitted))
    assert after < 0.8 * before
    moved = (dense_rows(fitted.model.get_input_embeddings()) != dense_rows(plain.model.get_input_embeddings())).any(1)
    kept = torch.from_numpy(np.isin(plain.mapping.kinds, (TokenKind.COPIED, TokenKind.SPECIAL)))
    assert moved.any() and not moved[kept].any()
    assert all(parameter.requires_grad for parameter in fitted.model.parameters())
    body = {n: p for n, p in plain.model.named_parameters() if "word_embeddings" not in n and "wte" not in n}
    body = {n: p for n, p in body.items() if "lm_head" not in n}
    theirs = dict(fitted.model.named_parameters())
    assert all(torch.equal(theirs[name], parameter) for name, parameter in body.items())


def test_the_same_seed_gives_the_same_rows(tiny_tokenizers, word_vectors):
    rows = [
        fit("bert-base", tiny_tokenizers, word_vectors, seed=seed)[1].model.get_input_embeddings().weight
        for seed in (1, 1, 2)
    ]
    assert torch.equal(rows[0], rows[1]) and not torch.equal(rows[0], rows[2])


def test_translations_get_the_vectors_of_the_sources_lines(tiny_tokenizers, word_vectors):
    pairs = list(zip(LINES[::2], LINES[1::2]))
    source, fitted = fit("bert-base", tiny_tokenizers, word_vectors, parallel_text=pairs)
    plain = start(source, tiny_tokenizers, word_vectors)

    def apart(adapted):
        from ofa_transformers.scoring.sentences import embed_texts

        theirs = embed_texts(source, tiny_tokenizers["wordpiece"], [one for one, _ in pairs], layer=2)
        ours = embed_texts(adapted.model, adapted.tokenizer, [other for _, other in pairs], layer=2)
        return (ours - theirs).square().mean().item()

    assert apart(fitted) < 0.9 * apart(plain)


def test_rows_begin_as_any_methods(tiny_tokenizers):
    _, fitted = fit("bert-base", tiny_tokenizers, None, settings={"start": "mean", "steps": 1})
    assert fitted.mapping.settings["method"] == "fitted" and fitted.report.settings["fallback"] == "mean"
    sizes = OfaInitializer.each_size(
        make_source("bert", tiny_tokenizers["wordpiece"]),
        [4, None],
        source_tokenizer=tiny_tokenizers["wordpiece"],
        target_tokenizer=tiny_tokenizers["unigram"],
        method="fitted",
        method_settings={**FAST, "start": "fvt", "steps": 2},
        target_text=LINES,
    )
    assert [adapted.report.target["embedding_size"] for adapted in sizes] == [4, None]


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"steps": 0}, {}, "steps is 0, but must be an integer from 1 on"),
        ({"learning_rate": 0}, {}, "learning_rate is 0, but must be above 0"),
        ({"layer": 7}, {}, "layer is 7, but must be from 1 to 2"),
        ({"start": "omp"}, {}, "method='omp' needs donor"),
        ({"start": "fitted"}, {}, "can't be built on itself"),
        ({}, {"target_text": None}, "method='fitted' needs target_text .* or parallel_text"),
        ({"own_states": True}, {"target_text": None, "parallel_text": [("a", "b")]}, "own_states=True needs target_text"),
        ({}, {"target_text": ["a b " * 100]}, "has up to 64 tokens; pass shorter lines"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(settings, options, message, tiny_tokenizers, word_vectors):
    with pytest.raises(ValueError, match=message):
        fit("bert-base", tiny_tokenizers, word_vectors, settings=settings, **options)
