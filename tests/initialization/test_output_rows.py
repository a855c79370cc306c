"""New output rows of masked language models whose output embeddings are their own, by states of text."""

import copy

import numpy as np
import pytest
import torch
from adapted_models import DECODER, SIZES, adapt, dense_rows, make_source
from conftest import TEXT
from transformers import EuroBertConfig, EuroBertForMaskedLM, RemBertConfig, RemBertForMaskedLM

from ofa_transformers.initialization import initializer, output_rows, planning
from ofa_transformers.initialization.head_bias import read_target_text
from ofa_transformers.initialization.output_rows import rows_of_states
from ofa_transformers.initialization.predictions import PredictedLines


LINES = [f"{TEXT[i % len(TEXT)]} {i}" for i in range(60)]


@pytest.fixture
def goal(tiny_tokenizers):
    return copy.deepcopy(tiny_tokenizers["unigram"])


@pytest.fixture
def make(tiny_tokenizers, word_vectors, goal, monkeypatch):
    """What a source becomes, with output rows of text or with composed ones."""

    def made(source, of_text: bool = True, **options):
        tokenizer = tiny_tokenizers["byte_bpe"]
        with monkeypatch.context() as patch:
            if not of_text:
                patch.setattr(initializer, "rows_of_states", lambda *_: False)
            options = {"target_text": LINES, "primitives": "source", **options}
            model = make_source(source, tokenizer) if isinstance(source, str) else source
            return adapt(model, tokenizer, goal, word_vectors, **options)

    return made


def states_of_text(model, tokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    """What the output embeddings are multiplied with where tokens of the text are masked, and these tokens."""
    lines = PredictedLines(model, tokenizer, read_target_text(tokenizer, LINES).lines, seed=1)
    with torch.no_grad():
        found = [lines.predict(model, range(start, min(start + 16, len(LINES)))) for start in range(0, len(LINES), 16)]
    states = torch.cat([one.states for one in found])
    projection = model.get_output_embeddings()
    if hasattr(projection, "before_vocabulary"):
        states = projection.before_vocabulary(states).detach()
    return states, torch.cat([one.labels for one in found])


@pytest.mark.parametrize("embedding_size", [None, 12])
def test_they_tell_tokens_apart_as_their_states_do(make, goal, embedding_size):
    composed = make("roberta-untied", of_text=False, embedding_size=embedding_size)
    result = make("roberta-untied", embedding_size=embedding_size)
    assert result.report.settings["output_rows"] == "states" and composed.report.settings["output_rows"] is None
    assert result.report.settings["head_bias"] == "calibrated"
    was, now = (one.model.get_output_embeddings().weight.detach().double() for one in (composed, result))
    inputs = [dense_rows(one.model.get_input_embeddings()) for one in (composed, result)]
    assert torch.equal(*inputs)

    states, labels = (some.numpy() for some in states_of_text(composed.model, goal))
    states = states.astype(np.float64)
    center = states.mean(axis=0)
    covariance = np.cov(states.T, bias=True)
    inverse = np.linalg.inv(covariance + 10 * np.trace(covariance) / len(covariance) * np.eye(len(covariance)))
    moved = 0
    for token in range(len(was)):
        count = (labels == token).sum()
        expected = was[token].numpy()
        if count and result.mapping.new[token]:
            of_text = inverse @ (states[labels == token].mean(axis=0) - center)
            expected = (count * of_text + 5 * expected) / (count + 5)
            moved += 1
        np.testing.assert_allclose(now[token].numpy(), expected, rtol=1e-3, atol=1e-5)
    assert moved > 5

    def loss(model) -> float:
        states, labels = states_of_text(model, goal)
        projection = model.get_output_embeddings()
        logits = states @ projection.weight.detach().T + projection.bias.detach()
        return torch.nn.functional.cross_entropy(logits, labels).item()

    assert loss(result.model) < loss(composed.model) - 0.02


def test_a_saved_model_has_them(make, tmp_path):
    result = make("roberta-untied", embedding_size=12)
    result.save_pretrained(tmp_path / "adapted")
    loaded = type(result.model).from_pretrained(tmp_path / "adapted")
    assert torch.equal(loaded.get_output_embeddings().weight, result.model.get_output_embeddings().weight)


@pytest.mark.parametrize(
    ("source", "options"), [("roberta", {}), ("llama-untied", {}), ("roberta-untied", {"authors_compatible": True})]
)
def test_others_keep_composed_rows(make, source, options):
    result, composed = make(source, **options), make(source, of_text=False, **options)
    assert result.report.settings["output_rows"] is None
    assert torch.equal(
        dense_rows(result.model.get_output_embeddings()), dense_rows(composed.model.get_output_embeddings())
    )


def test_larger_bodies_read_less(make, goal, monkeypatch):
    result, read = make("roberta-untied", of_text=False), []
    predict = PredictedLines.predict
    monkeypatch.setattr(PredictedLines, "predict", lambda self, model, batch: read.extend(batch) or predict(self, model, batch))  # fmt: skip
    text = read_target_text(goal, LINES)
    made = type("Rows", (), {"rows": {"output": result.model.get_output_embeddings().weight.detach().clone()}})
    tables = (result.model.get_input_embeddings(), result.model.get_output_embeddings())
    body = result.model.num_parameters() - sum(table.weight.numel() for table in tables)
    monkeypatch.setattr(output_rows, "_PRODUCTS", 100.0 * body)
    assert rows_of_states(result.model, goal, text, result.mapping, made)
    tokens = goal(text.lines, truncation=True, max_length=62)["input_ids"]
    assert sum(len(tokens[line]) for line in read[:-1]) < 100 <= sum(len(tokens[line]) for line in read)


def test_states_that_are_no_numbers(make, goal):
    result = make("roberta-untied", of_text=False)
    made = type("Rows", (), {"rows": {"output": None}})
    with torch.no_grad():
        result.model.get_input_embeddings().weight.fill_(float("nan"))
    before = result.model.get_output_embeddings().weight.detach().clone()
    assert not rows_of_states(result.model, goal, read_target_text(goal, LINES), result.mapping, made)
    assert torch.equal(result.model.get_output_embeddings().weight, before)


def test_a_model_that_needs_more_than_text(make, goal, monkeypatch, caplog):
    result = make("roberta-untied", of_text=False)
    made = type("Rows", (), {"rows": {"output": None}})
    monkeypatch.setattr(PredictedLines, "predict", lambda self, model, batch: model(pixels=None))
    before = result.model.get_output_embeddings().weight.detach().clone()
    assert not rows_of_states(result.model, goal, read_target_text(goal, LINES), result.mapping, made)
    assert torch.equal(result.model.get_output_embeddings().weight, before)
    assert "The head's rows are composed alone" in caplog.text and "input_ids" in caplog.text


def test_as_many_threads_as_there_are_give_the_same(make, goal):
    found, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(make("roberta-untied").model.get_output_embeddings().weight.detach())
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


@pytest.mark.parametrize(("source", "longer"), [("roberta-untied", True), ("roberta", False), ("llama-untied", False)])
def test_a_dry_run_counts_what_is_read(source, longer, tiny_tokenizers, word_vectors, goal, monkeypatch):
    bodies = []
    monkeypatch.setattr(planning, "seconds_to_read", lambda body: bodies.append(body) or 1000.0)
    tokenizer = tiny_tokenizers["byte_bpe"]
    model = make_source(source, tokenizer)
    options = {"target_tokenizer": goal, "word_vectors": word_vectors, "source_tokenizer": tokenizer}
    plan = planning.plan_adaptation(model, **options, target_text=LINES)
    assert (plan.seconds > 500) == longer
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    body = model.num_parameters() - sum(table.weight.numel() for table in tables)
    assert bodies == ([pytest.approx(body, abs=len(tokenizer))] if longer else [])


@pytest.mark.parametrize("kind", ["eurobert", "eurobert-factorized", "rembert"])
def test_families_that_have_them(kind, make, tiny_tokenizers):
    tokenizer = tiny_tokenizers["byte_bpe"]
    common = {"vocab_size": len(tokenizer)} | {
        f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")
    }
    torch.manual_seed(0)
    if kind == "rembert":
        sizes = {"input_embedding_size": 16, "output_embedding_size": 24}
        source = RemBertForMaskedLM(RemBertConfig(**SIZES, **common, **sizes)).eval()
    else:
        source = EuroBertForMaskedLM(EuroBertConfig(**DECODER, **common, mask_token_id=tokenizer.mask_token_id)).eval()
    options = {"embedding_size": 8} if kind == "eurobert-factorized" else {}
    result, composed = make(source, **options), make(source, of_text=False, **options)
    assert result.report.settings["output_rows"] == "states"
    was, now = (one.model.get_output_embeddings().weight.detach() for one in (composed, result))
    assert not torch.equal(was, now) and torch.isfinite(now).all()
    assert torch.equal(*(dense_rows(one.model.get_input_embeddings()) for one in (composed, result)))
