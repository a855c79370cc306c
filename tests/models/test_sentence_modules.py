"""Sentence encoders: their modules are read, carried along, followed, and get a projection."""

import json

import numpy as np
import pytest
import torch
from adapted_models import make_source
from huggingface_hub import ModelCard
from sentence_encoders import make_sentence_encoder
from transformers import AutoModel, AutoTokenizer

import ofa_transformers as ofa
from ofa_transformers.cli import main
from ofa_transformers.evaluation import embed_texts, evaluate_retrieval
from ofa_transformers.evaluation.subjects import load_encoder
from ofa_transformers.models.sentence_modules import SentenceModules, pooled
from ofa_transformers.scoring.language_removal import language_directions
from ofa_transformers.text.parallel import ParallelText


LINES = ["the small house", "wir gehen in die Stadt", "na mto unaenda baharini", "bread and water"]


@pytest.fixture
def encoder(tiny_tokenizers, tmp_path):
    return make_sentence_encoder(tmp_path / "encoder", tiny_tokenizers["wordpiece"])


@pytest.fixture
def inputs_of(tiny_tokenizers):
    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    words = ofa.WordVectors(["$house$", "$haus$", "$stadt$"], np.array(["eng", "deu", "deu"]), vectors)
    return {"target_tokenizer": tiny_tokenizers["unigram"], "word_vectors": words}


def test_plain_folders_have_none(tiny_tokenizers, tmp_path):
    make_source("bert", tiny_tokenizers["wordpiece"]).save_pretrained(tmp_path)
    assert SentenceModules.read(tmp_path) is None


@pytest.mark.parametrize("mode", ["mean", "cls", "max", "lasttoken"])
def test_pooling_is_that_of_the_definitions(mode):
    states = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    attention = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    rows = [states[0], states[1, :2]]
    wanted = {
        "mean": [row.mean(0) for row in rows],
        "cls": [row[0] for row in rows],
        "max": [row.max(0).values for row in rows],
        "lasttoken": [row[-1] for row in rows],
    }[mode]
    torch.testing.assert_close(pooled(states, attention, mode), torch.stack(wanted))


def test_vectors_are_the_pooled_last_states_with_special_tokens(encoder):
    subject = load_encoder(str(encoder), device="cpu")
    found = embed_texts(subject.model, subject.tokenizer, LINES, modules=subject.modules)
    with torch.no_grad():
        states = [subject.model(**subject.tokenizer(line, return_tensors="pt")).last_hidden_state[0] for line in LINES]
    wanted = torch.nn.functional.normalize(torch.stack([each.mean(0) for each in states]), dim=1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_retrieval_follows_the_encoder_unless_a_layer_is_asked_for(encoder):
    texts = [ParallelText("deu", LINES, list(reversed(LINES)), "mine")]
    assert {item.layer for item in evaluate_retrieval([encoder], texts, device="cpu")} == {2}
    assert {item.layer for item in evaluate_retrieval([encoder], texts, layer=1, device="cpu")} == {1}


@pytest.mark.parametrize("size", [None, 8])
def test_adapting_and_exporting_carry_them_along(encoder, inputs_of, tmp_path, capsys, monkeypatch, size):
    adapted = ofa.OfaInitializer.from_pretrained(encoder, embedding_size=size, **inputs_of)
    assert any("is a sentence encoder" in note for note in adapted.report.warnings)
    adapted.save_pretrained(tmp_path / "out")
    folder = tmp_path / "out"
    card = ModelCard.load(folder / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == ("sentence-transformers", "sentence-similarity")
    block = card.text.partition("```python\n")[2].partition("```")[0]
    assert ("import ofa_transformers" in block) is (size is not None) and "SentenceTransformer(" in block
    if size is not None:
        monkeypatch.setattr("ofa_transformers.cli.stop_at_once", lambda: None)
        monkeypatch.setattr("sys.argv", ["ofa", "export", str(folder), "-o", str(tmp_path / "dense")])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0
        folder = tmp_path / "dense"
    listed = json.loads((folder / "modules.json").read_text())
    assert [entry["path"] for entry in listed] == ["", "1_Pooling", "2_Normalize"]
    assert (folder / "2_Normalize").is_dir()
    config = json.loads((folder / "sentence_bert_config.json").read_text())
    assert config == {"max_seq_length": 66, "do_lower_case": False}  # the encoder's 256 are more than the model takes
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    modules = SentenceModules.read(folder)
    torch.testing.assert_close(
        embed_texts(model, tokenizer, LINES, modules=modules),
        embed_texts(adapted.model, adapted.tokenizer, LINES, modules=SentenceModules.read(encoder)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_headless_sources_say_so_before_the_work(tiny_tokenizers, inputs_of, tmp_path):
    from ofa_transformers.initialization.planning import plan_adaptation

    for kind, message in (("bert-base", "has no language-modelling head, and the result has none"), ("bert", None)):
        make_source(kind, tiny_tokenizers["wordpiece"]).save_pretrained(tmp_path / kind)
        tiny_tokenizers["wordpiece"].save_pretrained(tmp_path / kind)
        notes = plan_adaptation(tmp_path / kind, **inputs_of).notes
        assert any(message in note for note in notes) if message else not any("head" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda modules: modules[1].update(type="own_code.Pooling"), "own_code.Pooling"),
        (lambda modules: modules[2].update(type="sentence_transformers.models.LSTM"), "Pooling, LSTM"),
    ],
)
def test_what_cannot_be_followed_is_named(encoder, change, message, caplog, monkeypatch):
    import logging

    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    listed = json.loads((encoder / "modules.json").read_text())
    change(listed)
    (encoder / "modules.json").write_text(json.dumps(listed))
    assert SentenceModules.read(encoder) is None
    assert f"can't be carried along or followed ({message})" in caplog.text


def test_damaged_modules_are_refused(encoder):
    (encoder / "modules.json").write_text('[{"path": ""}')
    with pytest.raises(ValueError, match=r"modules\.json, or what it names, is damaged"):
        SentenceModules.read(encoder)


def test_directions_between_languages_leave_nothing_between_their_means():
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(4, 32, generator=generator)
    directions = language_directions(means, most=8)
    assert directions.shape == (3, 32)
    torch.testing.assert_close(directions @ directions.T, torch.eye(3), rtol=0, atol=1e-5)
    left = means - means @ directions.T @ directions
    torch.testing.assert_close(left, left.mean(0).expand(4, -1), rtol=0, atol=1e-5)
    assert len(language_directions(means, most=2)) == 2
    with pytest.raises(ValueError, match="means of 1 languages"):
        language_directions(means[:1])


def test_languages_are_removed_where_text_of_each_is_given(encoder, inputs_of, tmp_path):
    texts = {"deu": [f"wir gehen {n}" for n in range(30)], "eng": [f"the house {n}" for n in range(30)]}
    adapted = ofa.OfaInitializer.from_pretrained(encoder, target_text=texts, **inputs_of)
    adapted.save_pretrained(tmp_path / "out")
    modules = SentenceModules.read(tmp_path / "out")
    assert modules.has_projection and [entry["path"] for entry in modules.entries][1] == "3_LanguageRemoval"
    plain = modules.without_projection().only_pooling()
    subject = load_encoder(str(tmp_path / "out"), device="cpu")
    gaps = []
    for each in (plain, plain.with_projection(_directions(plain, subject, texts))):
        means = [
            embed_texts(subject.model, subject.tokenizer, lines, modules=each).mean(0) for lines in texts.values()
        ]
        gaps.append((means[0] - means[1]).norm().item())
    assert gaps[0] > 0.01 and gaps[1] < 1e-4 * gaps[0] + 1e-5
    # The saved one is that projection, before the normalisation; it replaces an earlier one.
    assert len(modules.with_projection(torch.eye(32)[:1]).entries) == 3


def _directions(plain, subject, texts):
    means = [embed_texts(subject.model, subject.tokenizer, lines, modules=plain).mean(0) for lines in texts.values()]
    return language_directions(torch.stack(means))
