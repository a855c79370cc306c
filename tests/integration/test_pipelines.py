"""Pipelines on factorized checkpoints: what they return is what the model computes."""

from pathlib import Path

import pytest
import torch
from tiny_models import EMBEDDING_SIZE, make_config
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
    pipeline,
    set_seed,
)


TEXTS = ["the small house stands by the old river", "wir gehen in die Stadt"]
TOKENIZERS = {"xlm-roberta": "unigram", "bert": "wordpiece", "modernbert": "byte_bpe", "llama": "byte_bpe"}


def save(auto_class: type, family: str, tokenizer: PreTrainedTokenizerFast, folder: Path, **changes: object):
    """A random factorized model of the family with this tokenizer's vocabulary, saved with it; returns the model."""
    set_seed(0)
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos")}
    # Large random weights: predictions of different inputs and positions differ by more than rounding.
    config = make_config(family, vocab_size=len(tokenizer), initializer_range=0.5, **ids, **changes)
    model = auto_class.from_config(config).eval()
    assert model.config.embedding_size == EMBEDDING_SIZE
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


@pytest.fixture(params=["xlm-roberta", "bert", "modernbert"])
def encoder(request, tiny_tokenizers) -> tuple[str, PreTrainedTokenizerFast]:
    return request.param, tiny_tokenizers[TOKENIZERS[request.param]]


@torch.no_grad()
def test_fill_mask(encoder, tmp_path: Path):
    family, tokenizer = encoder
    model = save(AutoModelForMaskedLM, family, tokenizer, tmp_path)
    text = f"the small {tokenizer.mask_token} by the river"
    predictions = pipeline("fill-mask", model=str(tmp_path), device="cpu")(text, top_k=4)

    inputs = tokenizer(text, return_tensors="pt")
    position = (inputs["input_ids"][0] == tokenizer.mask_token_id).nonzero().item()
    expected = model(**inputs).logits[0, position].softmax(-1).topk(4)
    assert [p["token"] for p in predictions] == expected.indices.tolist()
    assert [p["score"] for p in predictions] == pytest.approx(expected.values.tolist(), rel=1e-4)


@torch.no_grad()
def test_feature_extraction(encoder, tmp_path: Path):
    family, tokenizer = encoder
    model = save(AutoModel, family, tokenizer, tmp_path)
    features = pipeline("feature-extraction", model=str(tmp_path), device="cpu")(TEXTS, return_tensors=True)
    for text, feature in zip(TEXTS, features):
        expected = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        torch.testing.assert_close(feature, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_token_classification(encoder, tmp_path: Path):
    family, tokenizer = encoder
    labels = {0: "O", 1: "PER", 2: "LOC"}
    model = save(AutoModelForTokenClassification, family, tokenizer, tmp_path, id2label=labels)
    entities = pipeline("token-classification", model=str(tmp_path), device="cpu", ignore_labels=[])(TEXTS[0])
    logits = model(**tokenizer(TEXTS[0], return_tensors="pt")).logits[0]
    special = tokenizer(TEXTS[0], return_special_tokens_mask=True)["special_tokens_mask"]
    expected = [labels[label] for label, skip in zip(logits.argmax(-1).tolist(), special) if not skip]
    assert [entity["entity"] for entity in entities] == expected


@torch.no_grad()
def test_text_classification(encoder, tmp_path: Path):
    family, tokenizer = encoder
    labels = {0: "river", 1: "town", 2: "bread"}
    model = save(AutoModelForSequenceClassification, family, tokenizer, tmp_path, id2label=labels)
    # The batch is padded: the shorter text must not notice.
    results = pipeline("text-classification", model=str(tmp_path), device="cpu")(TEXTS, batch_size=2)
    for text, result in zip(TEXTS, results):
        scores = model(**tokenizer(text, return_tensors="pt")).logits[0].softmax(-1)
        assert result["label"] == labels[scores.argmax().item()]
        assert result["score"] == pytest.approx(scores.max().item(), rel=1e-3)


@torch.no_grad()
def test_text_generation(tiny_tokenizers, tmp_path: Path):
    tokenizer = tiny_tokenizers[TOKENIZERS["llama"]]
    model = save(AutoModelForCausalLM, "llama", tokenizer, tmp_path)
    generate = pipeline("text-generation", model=str(tmp_path), device="cpu")
    result = generate("the small house", max_new_tokens=6, do_sample=False, return_tensors=True)
    ids = tokenizer("the small house", return_tensors="pt")["input_ids"]
    for _ in range(6):
        ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
        if ids[0, -1] == tokenizer.eos_token_id:
            break
    assert result[0]["generated_token_ids"] == ids[0].tolist()
