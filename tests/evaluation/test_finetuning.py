"""Fine-tuning: the best epoch, what is left behind, what is refused."""

import tempfile

import pytest
import torch
from labelled_corpora import TOPICS, save_subject, topic_lines
from safetensors.torch import load_file, save_file
from tiny_models import make_config
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DataCollatorWithPadding,
    GPT2Config,
    GPT2LMHeadModel,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

import ofa_transformers
from ofa_transformers.evaluation.finetuning import (
    FineTuning,
    default_learning_rate,
    fine_tune,
    load_tokenizer,
    load_with_head,
    predict,
)


@pytest.fixture
def subject(tmp_path):
    return save_subject(tmp_path / "subject")


@pytest.fixture
def model(subject):
    torch.manual_seed(0)
    return load_with_head(subject, AutoModelForSequenceClassification, list(TOPICS), load_tokenizer(subject), False)


def features(tokenizer, count=24):
    texts, labels = zip(*topic_lines(count, 0))
    encoded = tokenizer(list(texts))
    names = list(TOPICS)
    return [
        {"input_ids": ids, "attention_mask": mask, "labels": names.index(label)}
        for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], labels)
    ]


def test_ends_with_the_first_of_the_best_epochs_and_leaves_nothing_behind(
    subject, model, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "temporary")
    tokenizer = load_tokenizer(subject)
    weights, scores = [], [0.1, 0.7, 0.7, 0.3]

    def score() -> float:
        weights.append({name: weight.clone() for name, weight in model.state_dict().items()})
        return scores[len(weights) - 1]

    capfd.readouterr()
    settings = FineTuning(epochs=4, batch_size=8, learning_rate=1e-3, device="cpu")
    best = fine_tune(model, features(tokenizer), DataCollatorWithPadding(tokenizer), score, settings, seed=0)
    assert best == 0.7 and len(weights) == 4
    assert all(torch.equal(weight, weights[1][name]) for name, weight in model.state_dict().items())
    assert not all(torch.equal(weights[1][name], weights[2][name]) for name in weights[1])
    assert list((tmp_path / "temporary").iterdir()) == []
    assert capfd.readouterr().out == ""


def test_predictions_do_not_depend_on_batches(subject, model):
    tokenizer = load_tokenizer(subject)
    encoded = features(tokenizer)
    encoded += [{key: value[:3] for key, value in encoded[0].items() if key != "labels"}]
    one, many = (predict(model, tokenizer, encoded, tokens_per_batch=size) for size in (1, 10_000))
    assert one == many and len(one) == 25
    tagger = load_with_head(subject, AutoModelForTokenClassification, list(TOPICS), tokenizer, False)
    tags = predict(tagger, tokenizer, encoded, tokens_per_batch=20)
    assert [len(row) for row in tags] == [len(sentence["input_ids"]) for sentence in encoded]


def test_divergence_is_reported(subject, model):
    tokenizer = load_tokenizer(subject)
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    with pytest.raises(
        FloatingPointError, match="subject, fine-tuned, are not numbers any more; take a smaller learning_rate"
    ):
        predict(model, tokenizer, features(tokenizer))


@pytest.mark.parametrize("family", ["gpt2", "ofa", "xlm-roberta"])
def test_any_automodel_learns(tiny_tokenizers, tmp_path, family):
    """A decoder without pad token, factorized embeddings, and an XLM-R: one step, and the loss has a gradient."""
    tokenizer = tiny_tokenizers["byte_bpe" if family == "gpt2" else "unigram"]
    size = len(tokenizer)
    if family == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(vocab_size=size, n_embd=16, n_layer=1, n_head=2, n_positions=64))
    elif family == "ofa":
        model = ofa_transformers.OfaForMaskedLM(make_config("xlm-roberta", vocab_size=size))
    else:
        sizes = make_config("xlm-roberta", vocab_size=size).to_dict()
        model = XLMRobertaForMaskedLM(
            XLMRobertaConfig(**{k: v for k, v in sizes.items() if k not in ("model_type", "embedding_size")})
        )
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    if family == "gpt2":
        loaded.pad_token = None
    head = load_with_head(str(tmp_path), AutoModelForSequenceClassification, list(TOPICS), loaded, False)
    before = head.get_input_embeddings().weight.detach().clone()
    settings = FineTuning(epochs=1, batch_size=8, device="cpu")
    fine_tune(head, features(loaded, 16), DataCollatorWithPadding(loaded), lambda: 0.0, settings, seed=0)
    assert not torch.equal(before, head.get_input_embeddings().weight)
    assert {name: head.config.label2id[name] for name in TOPICS} == {name: n for n, name in enumerate(TOPICS)}


def test_a_checkpoint_that_lacks_weights_is_refused(subject, tmp_path):
    path = tmp_path / "subject" / "model.safetensors"
    weights = load_file(path)
    del weights["bert.embeddings.word_embeddings.weight"]
    save_file(
        {n: w for n, w in weights.items() if not n.startswith("cls.predictions.decoder")}, path, {"format": "pt"}
    )
    with pytest.raises(
        ValueError, match=r"has no weights for bert\.embeddings\.word_embeddings\.weight: the checkpoint"
    ):
        load_with_head(subject, AutoModelForTokenClassification, list(TOPICS), load_tokenizer(subject), False)


def test_tokenizer_and_model_must_fit(subject, tiny_tokenizers, tmp_path):
    with pytest.raises(ValueError, match="doesn't fit the model"):
        load_with_head(subject, AutoModelForTokenClassification, list(TOPICS), tiny_tokenizers["byte_bpe"], False)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "subject" / name).unlink()
    with pytest.raises(ValueError, match="subject has no tokenizer"):
        load_tokenizer(subject)


def test_small_models_take_larger_steps():
    assert default_learning_rate(768) == 2e-5
    assert default_learning_rate(1024) < 2e-5 < default_learning_rate(384) < default_learning_rate(32) == 1e-3


def test_cuda_needs_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device='cuda', but there is no GPU"):
        FineTuning(device="cuda")
