"""Weights of M that are trained by the model's own loss."""

import numpy as np
import pytest
import torch
from adapted_models import adapt, make_source
from conftest import TEXT

from ofa_transformers.initialization.predictions import PredictedLines
from ofa_transformers.mapping import TokenKind
from ofa_transformers.scoring.sentences import embed_texts


def scaled_source(kind, tokenizer):
    """With weights that are large enough for what it predicts to depend on what it reads."""
    source, generator = make_source(kind, tokenizer), torch.Generator().manual_seed(5)
    for parameter in source.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return source


LINES = [line for line in TEXT if len(line) < 150]


def train(kind, tokenizers, vectors, settings=None, **options):
    given = {"target_text": LINES, "language_offset": 0.1, "source_languages": ["eng"], **options}
    chosen = {"steps": 25, "batch_size": 8, "learning_rate": 0.3, **(settings or {})}
    source = scaled_source(kind, tokenizers["wordpiece"])
    return adapt(
        source, tokenizers["wordpiece"], tokenizers["unigram"], vectors,
        **{"method": "trained-mapping", "method_settings": chosen, **given},
    )  # fmt: skip


def begin(kind, tokenizers, vectors, **options):
    return train(kind, tokenizers, vectors, method="mixture", method_settings=None, **options)


@torch.no_grad()
def loss(adapted):
    lines = PredictedLines(adapted.model, adapted.tokenizer, LINES, seed=9)
    found = [lines.logits(adapted.model, range(len(LINES))) for _ in range(10)]
    return torch.nn.functional.cross_entropy(*map(torch.cat, zip(*found))).item()


@pytest.mark.parametrize("kind", ["xlm-roberta", "roberta-untied", "gpt2"])
def test_the_loss_falls_and_weights_alone_are_trained(kind, tiny_tokenizers, word_vectors):
    start, trained = (make(kind, tiny_tokenizers, word_vectors) for make in (begin, train))
    assert loss(trained) < loss(start) - 0.003
    before, after = start.mapping.weights, trained.mapping.weights
    assert np.array_equal(before.indptr, after.indptr) and np.array_equal(before.indices, after.indices)
    np.testing.assert_allclose(after.sum(axis=1), before.sum(axis=1), atol=1e-5)
    assert (after.data > 0).all() and np.array_equal(start.mapping.kinds, trained.mapping.kinds)
    moved = np.diff(np.append(0, np.cumsum(before.data != after.data))[before.indptr]) > 0
    assert moved.any() and (start.mapping.kinds[moved] == TokenKind.COMPOSED).all()
    # The model is what its mapping says, and has the source's body.
    source = scaled_source(kind, tiny_tokenizers["wordpiece"])
    rows = trained.mapping.apply(source.get_input_embeddings().weight.detach(), language_offset=0.1)
    apart = trained.model.get_input_embeddings().weight.detach() - rows
    if trained.report.settings["head_bias"] == "calibrated_rows":  # new rows are moved along one vector
        new = torch.from_numpy(np.isin(trained.mapping.kinds, (TokenKind.COMPOSED, TokenKind.FALLBACK)))
        assert torch.linalg.matrix_rank(apart[new].double(), rtol=1e-4) == 1
        apart = apart[~new]
    torch.testing.assert_close(apart, torch.zeros_like(apart), rtol=0, atol=1e-5)
    theirs = dict(start.model.named_parameters())
    for name, parameter in trained.model.named_parameters():
        assert parameter.requires_grad
        if not any(part in name for part in ("word_embeddings", "wte", "lm_head", "decoder")):
            assert torch.equal(parameter, theirs[name])


def test_the_same_seed_gives_the_same_weights_at_every_size(tiny_tokenizers, word_vectors):
    first, again, other = (
        train("bert", tiny_tokenizers, word_vectors, {"steps": 2}, seed=seed, embedding_size=size)
        for seed, size in ((1, None), (1, 8), (2, None))
    )
    assert np.array_equal(first.mapping.weights.data, again.mapping.weights.data)
    assert not np.array_equal(first.mapping.weights.data, other.mapping.weights.data)
    composed = int(np.flatnonzero(first.mapping.kinds == TokenKind.COMPOSED)[0])
    assert sum(weight for _, _, weight, _ in first.mapping.explain(composed).neighbors) == pytest.approx(1, abs=1e-5)
    assert first.report.settings["method"] == "trained-mapping"


@pytest.mark.parametrize("kind", ["bert", "bert-base"])
def test_translations_come_near_the_sources_lines(kind, tiny_tokenizers, word_vectors):
    """With a head and without, which then has no other loss."""
    pairs = list(zip(LINES[::2], LINES[1::2]))
    source = scaled_source(kind, tiny_tokenizers["wordpiece"])
    theirs = embed_texts(source, tiny_tokenizers["wordpiece"], [one for one, _ in pairs], layer=2)

    def apart(adapted):
        ours = embed_texts(adapted.model, adapted.tokenizer, [other for _, other in pairs], layer=2)
        return (ours - theirs).square().mean().item()

    trained = train(kind, tiny_tokenizers, word_vectors, parallel_text=pairs)
    assert apart(trained) < 0.98 * apart(begin(kind, tiny_tokenizers, word_vectors))


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"steps": 0}, {}, "steps is 0, but must be an integer from 1 on"),
        ({"learning_rate": 0}, {}, "learning_rate is 0, but must be above 0"),
        ({"neighbors": 1}, {}, "neighbors is 1, but must lie between 0 and 1"),
        ({}, {"target_text": None}, "method='trained-mapping' needs target_text"),
        ({}, {"kind": "t5"}, "but the source is an encoder-decoder"),
    ],
)
def test_what_is_wrong_is_named(settings, options, message, tiny_tokenizers, word_vectors):
    with pytest.raises(ValueError, match=message):
        train(options.pop("kind", "bert"), tiny_tokenizers, word_vectors, settings, **options)
