"""Masked-LM scores and retrieval."""

import math

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, RobertaConfig, RobertaForMaskedLM

from ofa_transformers.evaluation import MaskedLMScore, embed_texts, retrieval_accuracy, score_masked_lm
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


def test_score_is_the_pseudo_log_likelihood_when_one_token_is_masked_at_a_time(model, tokenizer):
    """Against a plain loop over the tokens (Salazar et al., 2020)."""
    model.eval()
    for text, score in zip(TEXTS, score_masked_lm(model, tokenizer, TEXTS, stride=1000)):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        nats = 0.0
        for position in range(1, ids.shape[1] - 1):
            masked = ids.clone()
            masked[0, position] = tokenizer.mask_token_id
            with torch.no_grad():
                nats -= model(masked).logits[0, position].log_softmax(-1)[ids[0, position]].item()
        assert score.tokens == ids.shape[1] - 2
        assert score.characters == len(text)
        assert score.nats == pytest.approx(nats, rel=1e-5)
        assert score.loss == pytest.approx(nats / score.tokens)
        assert score.bits_per_character == pytest.approx(nats / math.log(2) / len(text))


def test_stride_masks_every_nth_token(model, tokenizer):
    text = TEXTS[0]
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    nats = 0.0
    for offset in range(7):
        positions = list(range(1 + offset, ids.shape[1] - 1, 7))
        masked = ids.clone()
        masked[0, positions] = tokenizer.mask_token_id
        with torch.no_grad():
            losses = -model.eval()(masked).logits[0, positions].log_softmax(-1)
        nats += losses[torch.arange(len(positions)), ids[0, positions]].sum().item()
    assert score_masked_lm(model, tokenizer, [text])[0].nats == pytest.approx(nats, rel=1e-5)


def test_uniform_model_needs_the_logarithm_of_the_vocabulary(model, tokenizer):
    uniform = RobertaForMaskedLM(model.config)
    torch.nn.init.zeros_(uniform.lm_head.decoder.weight)
    torch.nn.init.zeros_(uniform.lm_head.bias)
    total = sum(score_masked_lm(uniform, tokenizer, TEXTS), MaskedLMScore())
    assert total.loss == pytest.approx(math.log(len(tokenizer)), rel=1e-5)
    assert total.characters == sum(map(len, TEXTS))


def test_batch_size_and_order_do_not_matter_and_mode_is_kept(model, tokenizer):
    model.train()
    one = score_masked_lm(model, tokenizer, TEXTS, tokens_per_batch=1)
    many = score_masked_lm(model, tokenizer, TEXTS[::-1], tokens_per_batch=10_000)[::-1]
    assert model.training
    assert [score.nats for score in one] == pytest.approx([score.nats for score in many], rel=1e-5)


def test_long_text_is_cut_into_windows(model, tokenizer):
    text = " ".join(TEXTS * 5)
    (score,) = score_masked_lm(model, tokenizer, [text])
    assert score.tokens == len(tokenizer(text, add_special_tokens=False)["input_ids"]) > 32
    assert math.isfinite(score.loss)


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


def test_scores_of_no_text():
    assert math.isnan(MaskedLMScore().loss) and math.isnan(MaskedLMScore().bits_per_character)


def test_refuses_what_cannot_be_scored(model, tokenizer):
    with pytest.raises(ValueError, match="stride=1"):
        score_masked_lm(model, tokenizer, TEXTS, stride=1)
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
