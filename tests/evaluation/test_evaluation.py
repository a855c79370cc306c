"""Sentence embeddings and retrieval."""

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, RobertaConfig, RobertaForMaskedLM

from ofa_transformers.evaluation import embed_texts, retrieval_accuracy
from ofa_transformers.scoring.batching import longest_input
from ofa_transformers.tokenization import train_tokenizer


TEXTS = ["All human beings are born free and equal.", "Everyone has the right to life.", "No one shall be held."]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer({"eng": TEXTS}, 300, algorithm="bpe", model_max_length=32)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    return RobertaForMaskedLM(
        RobertaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=34,
            initializer_range=0.3,
            type_vocab_size=1,
        )
    )


def test_longest_input(model, tokenizer):
    assert longest_input(model, tokenizer) == 32
    bert = BertForMaskedLM(
        BertConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=20,
        )
    )
    assert longest_input(bert, tokenizer) == 20


def test_a_layer_that_is_not_there(model, tokenizer):
    with pytest.raises(ValueError, match="layer=3"):
        embed_texts(model, tokenizer, TEXTS, layer=3)


def test_embeddings_are_means_over_the_tokens(model, tokenizer):
    found = embed_texts(model, tokenizer, TEXTS, layer=1)
    assert found.shape == (3, 16) and found.dtype == torch.float32
    for text, row in zip(TEXTS, found):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            hidden = model.eval().roberta(ids, output_hidden_states=True).hidden_states[1]
        torch.testing.assert_close(row, hidden[0, 1:-1].mean(0))


def test_retrieval_accuracy():
    queries = torch.eye(4)
    assert retrieval_accuracy(queries, 3 * queries) == 1.0
    assert retrieval_accuracy(queries, queries.roll(1, 0)) == 0.0
    swapped = queries[[1, 0, 2, 3]]
    assert retrieval_accuracy(queries, swapped) == 0.5
    assert retrieval_accuracy(queries, torch.ones(4, 4)) == 0.0  # ties don't count
    assert retrieval_accuracy(queries, torch.ones(4, 4), k=4) == 1.0
    with pytest.raises(ValueError, match="k=5"):
        retrieval_accuracy(queries, queries, k=5)
    with pytest.raises(ValueError, match="pairs"):
        retrieval_accuracy(queries, queries[:3])
