"""Hidden states of a layer, and exact search in blocks."""

import pytest
import torch
from conftest import build_unigram
from tiny_models import FAMILY_NAMES, HIDDEN_SIZE, LM_HEADS, VOCAB_SIZE, make_config
from transformers import AlbertConfig, AlbertModel, T5Config, T5ForConditionalGeneration

from ofa_transformers.evaluation import embed_texts, retrieval_accuracy
from ofa_transformers.scoring.batching import Rows, tokens_that_fit
from ofa_transformers.scoring.sentences import centered
from ofa_transformers.utils import search
from ofa_transformers.utils.search import retrieval_ranks


TEXTS = ["das Haus ist klein", "mto", "the old river runs to the sea"]


@pytest.fixture(scope="module")
def tokenizer():
    return build_unigram(VOCAB_SIZE - 10)


def other_models():
    sizes = {"vocab_size": VOCAB_SIZE, "num_hidden_layers": 2}
    yield (
        "albert",  # layers that are no list of modules
        AlbertModel(
            AlbertConfig(
                **sizes, embedding_size=8, hidden_size=HIDDEN_SIZE, num_attention_heads=4, intermediate_size=48
            )
        ),
    )
    yield (
        "t5",
        T5ForConditionalGeneration(
            T5Config(vocab_size=VOCAB_SIZE, d_model=HIDDEN_SIZE, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
        ),
    )


@pytest.fixture(params=[*FAMILY_NAMES, "albert", "t5"])
def model(request):
    torch.manual_seed(0)
    if request.param in LM_HEADS:
        return LM_HEADS[request.param](make_config(request.param)).eval()
    return dict(other_models())[request.param].eval()


@torch.no_grad()
def test_states_are_those_that_transformers_returns(model, tokenizer):
    """At every layer of every family, in batches of texts of other lengths."""
    body = model.get_encoder() if model.config.is_encoder_decoder else model.base_model
    for layer in range(3):
        found = embed_texts(model, tokenizer, TEXTS, layer=layer, max_length=60)
        assert found.shape == (len(TEXTS), HIDDEN_SIZE) and found.dtype == torch.float32
        for text, row in zip(TEXTS, found):
            inputs = tokenizer(text, return_tensors="pt", return_special_tokens_mask=True)
            content = inputs.pop("special_tokens_mask")[0] == 0
            states = body(**inputs, output_hidden_states=True).hidden_states[layer][0]
            torch.testing.assert_close(row, states[content].mean(0), rtol=1e-4, atol=1e-5)


def test_layers_above_are_not_computed(tokenizer):
    model = LM_HEADS["xlm-roberta"](make_config("xlm-roberta"))
    calls = []
    for layer in model.base_model.encoder.layer:
        layer.register_forward_hook(lambda layer, *_: calls.append(layer))
    embed_texts(model, tokenizer, TEXTS[:1], layer=1, max_length=60)
    assert calls == [model.base_model.encoder.layer[0]]
    assert not any(layer._forward_pre_hooks for layer in model.base_model.encoder.layer)


def test_text_without_tokens_and_states_that_are_no_numbers(tokenizer):
    model = LM_HEADS["xlm-roberta"](make_config("xlm-roberta"))
    found = embed_texts(model, tokenizer, ["", "mto"], layer=1, max_length=60)
    assert (found[0] == 0).all() and (found[1] != 0).any()
    model.base_model.encoder.layer[0].output.dense.weight.data[0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="layer 1 are NaN"):
        embed_texts(model, tokenizer, TEXTS, layer=1, max_length=60)


def test_long_text_is_cut_to_what_the_model_takes(tokenizer):
    model = LM_HEADS["xlm-roberta"](make_config("xlm-roberta"))  # 64 positions
    text = " ".join(TEXTS * 9)
    rows = [embed_texts(model, tokenizer, [text], layer=1, max_length=length) for length in (None, 62, 512)]
    assert torch.equal(rows[0], rows[1]) and torch.equal(rows[0], rows[2])


def test_ranks_are_those_of_a_full_matrix_both_ways_in_any_blocks(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(50, 8, generator=generator)
    candidates = queries + torch.randn(50, 8, generator=generator)
    cosines = torch.nn.functional.cosine_similarity(queries[:, None].double(), candidates[None].double(), dim=-1)
    own = cosines.diagonal()
    expected = (cosines > own[:, None]).sum(1), (cosines > own).sum(0)
    assert expected[0].max() > 5
    for block in (1 << 22, 150, 1):
        monkeypatch.setattr(search, "_BLOCK_RANKED", block)
        there, back = retrieval_ranks(queries, candidates)
        assert torch.equal(there, expected[0]) and torch.equal(back, expected[1])
    assert retrieval_accuracy(queries, candidates, k=5) == (expected[0] < 5).double().mean()


def test_what_all_candidates_share_hides_the_nearest_unless_centred():
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(40, 8, generator=generator)
    shifted = queries + 20 * torch.randn(8, generator=generator)
    assert (retrieval_ranks(queries, shifted)[0] > 0).sum() > 10
    there, back = retrieval_ranks(centered(queries), centered(shifted))
    assert not there.any() and not back.any()
    torch.testing.assert_close(centered(shifted), centered(queries), rtol=1e-4, atol=1e-4)


def test_equal_sentences_are_ties_which_count_against_the_query():
    rows = torch.randn(1, 16).repeat(4, 1)
    assert retrieval_ranks(rows, rows)[0].tolist() == [3] * 4
    assert retrieval_ranks(torch.zeros(3, 2), torch.zeros(3, 2))[1].tolist() == [2] * 3


def test_sentences_that_occur_twice_are_ties_in_both_directions(tokenizer):
    """They are embedded once, so that their vectors are equal to the last digit, whatever the batches."""
    torch.manual_seed(0)
    model = LM_HEADS["xlm-roberta"](make_config("xlm-roberta")).eval()
    rows: list[int] = []
    model.base_model.register_forward_pre_hook(
        lambda _, __, inputs: rows.append(len(inputs["input_ids"])), with_kwargs=True
    )
    theirs = ["nyumba", "nyumba ndogo", "nyumba", "nyumba", "mto"]
    ours = ["das Haus", "mto", "the old river runs", "the town", "the sea"]
    vectors = [embed_texts(model, tokenizer, lines, layer=2, max_length=60) for lines in (ours, theirs)]
    assert sum(rows) == 5 + 3 and torch.equal(vectors[1][0], vectors[1][2])
    there, back = retrieval_ranks(*vectors)
    assert (there[[0, 2, 3]] >= 2).all()  # each of them comes before the others
    again, and_back = retrieval_ranks(*vectors[::-1])
    assert torch.equal(there, and_back) and torch.equal(back, again)


def test_rows_are_padded_as_a_loop_would():
    rows = [[1, 2, 3], [], [4]]
    padded = Rows(rows).padded([2, 0], 9)
    assert padded.tolist() == [[4, 9, 9], [1, 2, 3]]
    assert Rows(rows).within([1, 2]).tolist() == [[False], [True]]


def test_batches_shrink_with_the_vocabulary():
    assert tokens_that_fit(4096, 30_000) == 4096
    assert tokens_that_fit(4096, 400_000) * 400_000 * 4 <= 2**30
    assert tokens_that_fit(4096, 400_000, 1 / 7) == 4096
    assert tokens_that_fit(4096, 2**40) == 1
