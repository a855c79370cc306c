"""Sources of every family that factorizes, adapted at a smaller size: proven, saved, loaded, and multiplied out again."""

import pytest
import torch
from adapted_models import adapt, dense_rows
from tiny_models import FAMILY_NAMES, LM_HEADS, make_model, without_labels
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ofa_transformers.mapping import TokenKind


SIZE = 12


def make_stock(family: str, tokenizer: PreTrainedTokenizerFast, **changes) -> PreTrainedModel:
    """A random stock model with this tokenizer's vocabulary, its biases drawn, too."""
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")}
    if "t5" in family:
        ids["decoder_start_token_id"] = ids["pad_token_id"]
    model = make_model(family, embedding_size=None, vocab_size=len(tokenizer), **ids, **changes).to_dense().eval()
    with torch.no_grad():
        if (bias := bias_of(model)) is not None:
            bias.normal_()
    return model


def bias_of(model: PreTrainedModel) -> torch.Tensor | None:
    """What a language model adds to the logits of each token."""
    if hasattr(model, "final_logits_bias"):
        return model.final_logits_bias
    if hasattr(model, "lm_predictions"):
        return model.lm_predictions.lm_head.bias
    return model.get_output_embeddings().bias


def check(source: PreTrainedModel, tokenizers, word_vectors, folder) -> PreTrainedModel:
    tokenizer, goal = tokenizers["unigram"], tokenizers["byte_bpe"]
    result = adapt(source, tokenizer, goal, word_vectors, embedding_size=SIZE)
    model, proof = result.model, result.report.proof
    assert proof["tokens"] > 20 and proof["difference"] < 1e-4
    table = model.get_input_embeddings()
    assert table.weight.shape == (len(goal), SIZE) and table.embedding_size == SIZE
    result.save_pretrained(folder)
    loaded, info = type(model).from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    batch = without_labels(model, dict(goal("das Haus steht am Fluss, мы идём", return_tensors="pt")))
    batch.pop("token_type_ids", None)
    with torch.no_grad():
        expected = model.eval()(**batch).logits
        torch.testing.assert_close(loaded.eval()(**batch).logits, expected, rtol=0, atol=0)
        torch.testing.assert_close(model.to_dense().eval()(**batch).logits, expected, rtol=1e-3, atol=1e-4)
    # What the head adds went through the mapping.
    known = torch.from_numpy(result.mapping.kinds != TokenKind.FALLBACK)
    old, new = bias_of(source), bias_of(model)
    assert (old is None) == (new is None)
    if old is not None:
        made = torch.from_numpy(result.mapping.weights @ old.detach().flatten().numpy())
        torch.testing.assert_close(new.detach().flatten()[known], made[known])
    return model


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_family_adapts(family, tiny_tokenizers, word_vectors, tmp_path):
    source = make_stock(family, tiny_tokenizers["unigram"])
    model = check(source, tiny_tokenizers, word_vectors, tmp_path)
    assert type(model) is LM_HEADS[family]
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("family", ["t5", "umt5"])
def test_a_head_of_its_own_beside_a_shared_table(family, tiny_tokenizers, word_vectors, tmp_path):
    """T5 1.1 and mT5: their configurations say that all is tied, their checkpoints have two matrices."""
    source = make_stock(family, tiny_tokenizers["unigram"])
    source.lm_head.weight = torch.nn.Parameter(torch.randn_like(source.lm_head.weight))
    model = check(source, tiny_tokenizers, word_vectors, tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    for one in (model, loaded):
        assert one.lm_head.weight is not one.shared.weight and one.encoder.embed_tokens.weight is one.shared.weight
        assert not torch.equal(dense_rows(one.lm_head), dense_rows(one.shared))


def test_the_head_of_deberta_v3(tiny_tokenizers, word_vectors, tmp_path):
    source = make_stock("deberta-v2", tiny_tokenizers["unigram"], legacy=False)
    model = check(source, tiny_tokenizers, word_vectors, tmp_path)
    decoder = model.lm_predictions.lm_head.decoder
    assert model.get_output_embeddings() is decoder and decoder.weight is model.get_input_embeddings().weight


def test_an_encoder_and_a_decoder_with_tables_of_their_own_are_refused(tiny_tokenizers, word_vectors):
    source = make_stock("mbart", tiny_tokenizers["unigram"], tie_word_embeddings=False)
    with pytest.raises(ValueError, match=r"embedding_size: the source has .*embed_tokens.* embedding_size=None"):
        adapt(source, tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"], word_vectors, embedding_size=SIZE)
