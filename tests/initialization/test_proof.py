"""A result is compared with its source before it is there."""

import pytest
import torch
from adapted_models import adapt, make_source
from transformers import LlamaForCausalLM

from ofa_transformers.mapping import TokenKind
from ofa_transformers.models import embeddings


@pytest.mark.parametrize("size", [None, 8])
@pytest.mark.parametrize("kind", ["roberta-untied", "gpt2", "t5", "xlm-roberta-classifier"])
def test_the_report_says_that_it_was_made(kind, size, tiny_tokenizers, word_vectors):
    tokenizer = tiny_tokenizers["unigram"]
    options = {"embedding_size": size, "target_text": ["das Haus steht am Fluss", "wir gehen in die Stadt"]}
    report = adapt(
        make_source(kind, tokenizer), tokenizer, tiny_tokenizers["wordpiece"], word_vectors, **options
    ).report
    assert 20 < report.proof["tokens"] <= 32 and report.proof["difference"] < 1e-4
    assert report.proof["logits"] == (kind != "xlm-roberta-classifier")
    assert "gives what the source gives" in str(report)


@pytest.mark.parametrize("size", [None, 8])
def test_a_row_in_the_wrong_place_is_found(size, tiny_tokenizers, word_vectors, monkeypatch):
    name = "with_new_embeddings" if size is None else "factorized_model"
    make = getattr(embeddings, name)

    def wrong(model, found, rows, *others):
        return make(model, found, {part: matrix.roll(1, dims=0) for part, matrix in rows.items()}, *others)

    monkeypatch.setattr(f"ofa_transformers.initialization.assembly.{name}", wrong)
    tokenizer = tiny_tokenizers["byte_bpe"]
    with pytest.raises(RuntimeError, match=r"doesn't give what its source gives .* Nothing was written"):
        adapt(
            make_source("roberta", tokenizer), tokenizer, tiny_tokenizers["unigram"], word_vectors, embedding_size=size
        )


def test_a_model_that_runs_on_more_than_text_is_not_proven(tiny_tokenizers, word_vectors, monkeypatch):
    def forward(self, *args, **kwargs):
        raise ValueError("You must specify pictures")

    monkeypatch.setattr(LlamaForCausalLM, "forward", forward)
    tokenizer = tiny_tokenizers["sentencepiece_bpe"]
    report = adapt(make_source("llama-untied", tokenizer), tokenizer, tiny_tokenizers["unigram"], word_vectors).report
    assert "You must specify pictures" in report.proof["reason"]
    assert any("could not be compared with the source" in warning for warning in report.warnings)


def test_input_and_output_embeddings_draw_apart(tiny_tokenizers, word_vectors):
    tokenizer = tiny_tokenizers["byte_bpe"]
    source = make_source("roberta-untied", tokenizer)
    with torch.no_grad():
        source.get_output_embeddings().weight.copy_(source.get_input_embeddings().weight)
    result = adapt(source, tokenizer, tiny_tokenizers["unigram"], word_vectors)
    drawn = torch.from_numpy(result.mapping.kinds == TokenKind.FALLBACK)
    ours, theirs = (
        part.weight.detach() for part in (result.model.get_input_embeddings(), result.model.lm_head.decoder)
    )
    assert drawn.sum() > 5 and torch.equal(ours[~drawn], theirs[~drawn])
    draws = torch.stack([ours[drawn].flatten(), theirs[drawn].flatten()])
    assert abs(float(torch.corrcoef(draws)[0, 1])) < 0.2


@pytest.mark.parametrize("size", [None, 8])
def test_a_loaded_source_shares_its_tables_and_stays_as_it_was(size, tiny_tokenizers, word_vectors):
    tokenizer = tiny_tokenizers["byte_bpe"]
    source = make_source("roberta", tokenizer)
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    model = adapt(source, tokenizer, tiny_tokenizers["unigram"], word_vectors, embedding_size=size).model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in source.state_dict().items())


@pytest.mark.parametrize("kind", ["roberta", "gpt2"])
def test_the_attention_implementation_is_kept(kind, tiny_tokenizers, word_vectors):
    tokenizer = tiny_tokenizers["byte_bpe"]
    source = make_source(kind, tokenizer)
    source.set_attn_implementation("eager")
    model = adapt(source, tokenizer, tiny_tokenizers["unigram"], word_vectors, embedding_size=8).model
    assert model.config._attn_implementation == "eager" == model.to_dense().config._attn_implementation
