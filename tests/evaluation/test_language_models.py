"""Sentence retrieval and perplexity of models in folders, and models that can't be measured."""

import math

import pytest
import torch
from conftest import TEXT
from tiny_models import LM_HEADS, make_config
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from ofa_transformers.evaluation import (
    ParallelText,
    embed_texts,
    evaluate_perplexity,
    evaluate_retrieval,
    read_held_out,
    read_pairs,
    read_segments_by_id,
    retrieval_accuracy,
    score_masked_lm,
)
from ofa_transformers.evaluation.sentence_retrieval import default_layer
from ofa_transformers.evaluation.subjects import load_encoder


SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_tokenizers):
    """A masked LM, a decoder, a factorized model and one without head, in folders."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    tokenizer = tiny_tokenizers["unigram"]
    rows, special = len(tokenizer), {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    models = {
        "masked": RobertaForMaskedLM(
            RobertaConfig(**SIZES, **special, vocab_size=rows, max_position_embeddings=66, initializer_range=0.3)
        ),
        "decoder": GPT2LMHeadModel(
            GPT2Config(**special, n_embd=16, n_layer=2, n_head=2, n_positions=64, vocab_size=rows)
        ),
        "factorized": LM_HEADS["xlm-roberta"](make_config("xlm-roberta", vocab_size=rows)),
        "headless": BertModel(BertConfig(**SIZES, vocab_size=rows, pad_token_id=1, max_position_embeddings=64)),
    }
    for name, model in models.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def texts():
    lines = list(dict.fromkeys(TEXT))
    return [
        ParallelText("deu", lines[3:6], lines[:3], "a"),
        ParallelText("zul", [*lines[6:8], lines[9]], lines[:3], "b"),
    ]


def test_retrieval_of_several_models(folder, texts):
    names = [str(folder / name) for name in ("masked", "decoder", "factorized", "headless")]
    found = evaluate_retrieval(names, texts, name="verses", head_languages=["xlm-r"], device="cpu")
    assert {item.model for item in found} == set(names) and {item.task for item in found} == {"retrieval (verses)"}
    table = {(item.model, item.language, item.metric): item for item in found}
    assert {item.metric for item in found} == {  # 3 sentences are no top 5
        f"top-1 {direction} English{centred}" for direction in ("from", "to") for centred in ("", ", centred")
    }
    assert all(item.chance == pytest.approx(1 / 3) for item in found)
    assert {(item.layer, item.size) for item in found if item.model == names[0]} == {(2, 3), (2, 6)}
    for name in names:
        subject = load_encoder(name, device="cpu")
        layer = default_layer(subject.model)
        english, german = (
            embed_texts(subject.model, subject.tokenizer, lines, layer=layer)
            for lines in (texts[0].translations, texts[0].texts)
        )
        one = table[name, "deu", "top-1 from English"]
        assert one.value == pytest.approx(retrieval_accuracy(english, german)) and one.size == 3 and one.data == "a"
        assert table[name, "deu", "top-1 to English"].value == pytest.approx(retrieval_accuracy(german, english))
        assert table[name, "head", "top-1 to English"].value == table[name, "deu", "top-1 to English"].value
        both = [table[name, language, "top-1 to English"].value for language in ("deu", "zul")]
        assert table[name, "all", "top-1 to English"].value == pytest.approx(sum(both) / 2)


def test_a_sentence_is_its_own_translation_at_any_layer(folder, texts):
    same = [ParallelText("deu", texts[0].texts, texts[0].texts, "same")]
    for layer in range(4):
        found = evaluate_retrieval([folder / "masked"], same, layer=layer, top=[1, 2], device="cpu")
        assert {item.value for item in found} == {1.0} and f"layer {layer}" in found[0].task
    with pytest.raises(ValueError, match="layer=4"):
        evaluate_retrieval([folder / "masked"], same, layer=4, device="cpu")


def test_centred_vectors_are_compared_without_what_a_language_has_in_common(folder, texts):
    name = str(folder / "masked")
    found = {
        item.metric: item
        for item in evaluate_retrieval([name], texts[:1], name="verses", device="cpu")
        if item.language == "deu"
    }
    assert found["top-1 from English, centred"].task == "retrieval (verses)"
    assert [found[f"top-1 from English{how}"].centred for how in ("", ", centred")] == [False, True]
    for center, ending in ((True, ", centred"), (False, "")):
        only = evaluate_retrieval([name], texts[:1], name="verses", center=center, device="cpu")
        assert {item.metric: item for item in only if item.language == "deu"} == {
            metric: item for metric, item in found.items() if item.centred == center
        }
        assert all(item.metric.endswith(f"English{ending}") for item in only)
    subject = load_encoder(name, device="cpu")
    layer = default_layer(subject.model)
    english, german = (
        embed_texts(subject.model, subject.tokenizer, lines, layer=layer)
        for lines in (texts[0].translations, texts[0].texts)
    )
    english, german = english - english.mean(0), german - german.mean(0)
    assert found["top-1 from English, centred"].value == pytest.approx(retrieval_accuracy(english, german))
    assert found["top-1 to English, centred"].value == pytest.approx(retrieval_accuracy(german, english))


def test_default_layer_is_two_thirds_up():
    for layers, expected in ((12, 8), (6, 4), (24, 16), (2, 1), (1, 1)):
        assert default_layer(BertModel(BertConfig(**{**SIZES, "num_hidden_layers": layers}))) == expected


def test_perplexity_is_that_of_the_scores(folder):
    lines = {"deu": TEXT[3:6], "eng": TEXT[:3]}
    models = [folder / "masked", folder / "decoder"]
    name = str(folder / "masked")
    subject = load_encoder(name)
    model = RobertaForMaskedLM.from_pretrained(name)
    for scheme in ("word", "token"):
        found = evaluate_perplexity(models, lines, data={"deu": "x"}, scheme=scheme, device="cpu")
        table = {(item.model, item.language, item.metric): item for item in found}
        scores = score_masked_lm(model, subject.tokenizer, lines["deu"], scheme=scheme)
        nats, tokens = sum(score.nats for score in scores), sum(score.tokens for score in scores)
        bits = nats / math.log(2) + 8 * sum(score.unknown_bytes for score in scores)
        assert table[name, "deu", "masked-token perplexity"].value == pytest.approx(math.exp(nats / tokens), rel=1e-5)
        characters = sum(map(len, lines["deu"]))
        unknown = sum(score.unknown_characters for score in scores) / characters
        assert table[name, "deu", "unknown characters"].value == pytest.approx(unknown)
        for metric, size in (
            ("bits per character", characters),
            ("bits per byte", sum(len(line.encode()) for line in lines["deu"])),
        ):
            item = table[name, "deu", metric]
            assert item.value == pytest.approx(bits / size, rel=1e-5)
            assert item.low <= item.value <= item.high and item.size == 3 and item.data == "x"
            assert item.task == f"perplexity (text, {scheme}s masked)"
        decoder = table[str(folder / "decoder"), "all", "perplexity"]
        assert decoder.task == "perplexity (text)"


def test_blank_lines_are_no_texts(folder):
    lines = ["", TEXT[3], " ", TEXT[4], TEXT[5]]
    found = evaluate_perplexity([folder / "masked"], {"deu": lines}, max_texts=2, stride=5, device="cpu")
    assert {item.size for item in found if item.language == "deu"} == {2}
    assert {item.task for item in found} == {"perplexity (text, words masked, stride 5)"}


def test_models_that_cannot_be_measured(folder, texts, tiny_tokenizers, tmp_path):
    with pytest.raises(ValueError, match=r"headless has no language-modelling head \(it is BertModel\)"):
        evaluate_perplexity([folder / "masked", folder / "headless"], {"deu": ["Haus"]})
    classifier = AutoModelForSequenceClassification.from_pretrained(folder / "masked")
    classifier.save_pretrained(tmp_path / "classifier")
    tiny_tokenizers["unigram"].save_pretrained(tmp_path / "classifier")
    with pytest.raises(ValueError, match="no language-modelling head"):
        evaluate_perplexity([tmp_path / "classifier"], {"deu": ["Haus"]})
    # It says that it has a head, but its weights aren't there.
    classifier.config.architectures = ["RobertaForMaskedLM"]
    classifier.config.save_pretrained(tmp_path / "classifier")
    with pytest.raises(ValueError, match=r"no weights for .*lm_head.* drawn at random"):
        evaluate_perplexity([tmp_path / "classifier"], {"deu": ["Haus"]})
    RobertaForMaskedLM.from_pretrained(folder / "masked").save_pretrained(tmp_path / "bare")
    with pytest.raises(ValueError, match="bare has no tokenizer"):
        evaluate_retrieval([tmp_path / "bare"], texts)
    tiny_tokenizers["byte_bpe"].save_pretrained(tmp_path / "bare")
    with pytest.raises(ValueError, match="tokenizer doesn't fit the model: its ids go up to"):
        evaluate_retrieval([tmp_path / "bare"], texts)
    with pytest.raises(OSError, match="not-there"):
        evaluate_retrieval([tmp_path / "not-there"], texts)
    with pytest.raises(ValueError, match="more than once"):
        evaluate_retrieval([folder / "masked", folder / "masked"], texts)


def test_bad_arguments(folder, texts):
    with pytest.raises(ValueError, match="texts is empty"):
        evaluate_retrieval([folder / "masked"], [])
    with pytest.raises(ValueError, match="top is"):
        evaluate_retrieval([folder / "masked"], texts, top=[0])
    with pytest.raises(ValueError, match="no text of deu"):
        evaluate_perplexity([folder / "masked"], {"deu": [" "]})
    with pytest.raises(ValueError, match="stride is 1"):
        evaluate_perplexity([folder / "masked"], {"deu": ["x"]}, stride=1)


def test_the_real_data_are_read(shared):
    tatoeba = {text.language: text for text in read_pairs(shared / "data/tatoeba")}
    assert len(tatoeba) == 10 and len(tatoeba["deu"]) == 1000 and len(tatoeba["swh"]) == 390
    assert tatoeba["swh"].translations[0] == "He brought me coffee."
    bible, ids = shared / "data/bible", shared / "data/bible/split_test.tsv"
    verses = {t.language: t for t in read_segments_by_id(bible, ids=ids, languages=["deu", "chr"])}
    assert len(verses["deu_Latn"]) == len(verses["chr_Cher"]) == 500
    texts, _ = read_held_out([bible / "deu_Latn.tsv.gz"], ids=ids)
    assert texts["deu_Latn"] == verses["deu_Latn"].texts


def test_a_loss_that_is_no_number(folder, tmp_path, tiny_tokenizers):
    model = RobertaForMaskedLM.from_pretrained(folder / "masked")
    model.lm_head.layer_norm.weight.data.fill_(3e38)  # finite, as weights must be, but no product with it is
    model.save_pretrained(tmp_path)
    tiny_tokenizers["unigram"].save_pretrained(tmp_path)
    with pytest.raises(FloatingPointError, match="on text of deu is NaN"):
        evaluate_perplexity([tmp_path], {"deu": ["Haus"]}, device="cpu")
