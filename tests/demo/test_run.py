"""The demo end to end with tiny settings."""

import dataclasses
import json
import math
import os

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

import ofa_transformers
from ofa_transformers.demo.data import ENGLISH, load_parallel_text
from ofa_transformers.demo.results import DemoSettings
from ofa_transformers.demo.run import batches_of, measure, run_demo
from ofa_transformers.workflows.pretraining import continue_pretraining, training_batches


SETTINGS = DemoSettings(
    languages=("deu_Latn", "hin_Deva", "ayr_Latn"),
    vocab_size=800,
    embedding_size=8,
    vector_size=20,
    steps=4,
    batch_size=4,
    sequence_length=64,
    learning_rate=1e-3,
)


@pytest.fixture(scope="module")
def result(tiny_source, tmp_path_factory):
    return run_demo(tmp_path_factory.mktemp("demo") / "out", SETTINGS, source=tiny_source)


def test_arms_and_their_numbers(result):
    assert [arm.name for arm in result.arms] == ["random, overlap copied", "OFA", "OFA-8"]
    random, full, factorized = result.arms
    assert random.parameters == full.parameters > factorized.parameters
    assert full.embedding_parameters == 800 * 16
    assert factorized.embedding_parameters == 800 * 8 + 8 * 16
    assert sum(result.token_counts.values()) == 800
    assert result.token_counts["composed"] > 100
    for arm in result.arms:
        for scores in (arm.before, arm.after):
            assert set(scores.retrieval) == set(SETTINGS.languages)
            assert set(scores.masked_lm) == {ENGLISH, *SETTINGS.languages}
            assert 0 < scores.overall.loss < 2 * math.log(800)
            assert scores.overall.bits_per_character > 0
            assert 0 <= scores.mean_retrieval <= 1
        assert arm.after.overall.nats != arm.before.overall.nats
    # every arm reads the same tokens
    assert len({arm.before.overall.tokens for arm in result.arms}) == 1
    assert random.before.overall.nats != full.before.overall.nats


def test_checkpoints_load_and_give_the_numbers_of_the_table(result):
    text = load_parallel_text(SETTINGS.languages)
    for arm, kind in zip(result.arms, ("RobertaForMaskedLM", "RobertaForMaskedLM", "OfaForMaskedLM")):
        model = AutoModelForMaskedLM.from_pretrained(arm.folder)
        tokenizer = AutoTokenizer.from_pretrained(arm.folder)
        assert type(model).__name__ == kind
        assert model.num_parameters() == arm.parameters
        scores = measure(model, tokenizer, text, result.retrieval_layer)
        assert scores.overall.nats == pytest.approx(arm.after.overall.nats, rel=1e-4)
        assert scores.retrieval == arm.after.retrieval
    assert isinstance(model, ofa_transformers.OfaForMaskedLM)


def test_results_file(result):
    saved = json.loads((result.output / "results.json").read_text(encoding="utf-8"))
    assert saved["settings"]["vocab_size"] == 800
    assert [arm["name"] for arm in saved["arms"]] == [arm.name for arm in result.arms]
    assert saved["arms"][1]["after"]["loss"] == result.arms[1].after.overall.loss
    assert sorted(path.name for path in result.output.iterdir()) == ["ofa", "ofa-8", "random", "results.json"]
    assert [path for path in result.output.parent.iterdir() if path != result.output] == []


def test_random_arm_copies_the_overlap_and_nothing_else(tiny_source):
    import numpy as np

    from ofa_transformers import OfaInitializer, WordVectors
    from ofa_transformers.demo.run import random_rows
    from ofa_transformers.mapping import TokenKind
    from ofa_transformers.tokenization import train_tokenizer

    text = load_parallel_text(["deu_Latn"]).train
    tokenizer = train_tokenizer({k: list(v.values()) for k, v in text.items()}, 600)
    vectors = WordVectors.from_parallel(
        {k.split("_")[0]: list(v.items()) for k, v in text.items()}, dim=20, min_count=1
    )
    source = AutoModelForMaskedLM.from_pretrained(tiny_source)
    initializer = OfaInitializer.from_pretrained(
        source,
        source_tokenizer=AutoTokenizer.from_pretrained(tiny_source),
        target_tokenizer=tokenizer,
        word_vectors=vectors,
        source_languages=["eng"],
    )
    mapping = initializer.mapping
    before = mapping.weights.copy()
    model = random_rows(source, initializer.model, mapping, 0)
    rows = model.get_input_embeddings().weight.detach().numpy()
    adapted = initializer.model.get_input_embeddings().weight.detach().numpy()
    kept = np.isin(mapping.kinds, [TokenKind.COPIED, TokenKind.SPECIAL])
    assert kept.any() and not kept.all()
    np.testing.assert_array_equal(rows[kept], adapted[kept])
    source_rows = source.get_input_embeddings().weight.detach().numpy()
    assert mapping.rejections
    for index, rejection in mapping.rejections.items():  # false friends are part of the overlap
        np.testing.assert_array_equal(rows[index], source_rows[rejection.source_id])
    others = np.isin(np.arange(len(rows)), list(mapping.rejections), invert=True)
    drawn = np.flatnonzero((mapping.kinds == TokenKind.COMPOSED) & others)
    assert (np.abs(rows - adapted)[drawn].max(axis=1) > 0).all()
    drawn = rows[drawn]
    np.testing.assert_allclose(drawn.std(), source_rows.std(), rtol=0.1)
    assert (mapping.weights != before).nnz == 0  # the mapping itself stays as it was
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_same_seed_same_numbers_another_seed_others(result, tiny_source, tmp_path):
    output = tmp_path / "again"
    output.mkdir()
    (output / "old.txt").write_text("old")
    again = run_demo(output, SETTINGS, source=tiny_source, overwrite=True)
    assert "results.json" in os.listdir(output) and "old.txt" not in os.listdir(output)
    assert os.listdir(tmp_path) == ["again"]
    assert [arm.before for arm in again.arms] == [arm.before for arm in result.arms]
    for ours, theirs in zip(again.arms, result.arms):
        assert ours.after.overall.nats == pytest.approx(theirs.after.overall.nats, rel=1e-5)
    other = run_demo(tmp_path / "other", dataclasses.replace(SETTINGS, seed=1, steps=0), source=tiny_source)
    assert other.arms[0].before.overall.nats != result.arms[0].before.overall.nats


def test_every_second_batch_is_of_translations(result):
    text = load_parallel_text(SETTINGS.languages)
    tokenizer = AutoTokenizer.from_pretrained(result.arms[0].folder)
    for steps in (3, 4):
        settings = dataclasses.replace(SETTINGS, steps=steps, pairs_per_batch=5)
        batches = batches_of(text, tokenizer, settings)
        assert ["segments" in batch for batch in batches] == [number % 2 == 1 for number in range(steps)]
        assert len(batches[1]["segments"]) == 5 and len(batches[1]["input_ids"]) == 10
    models = [AutoModelForMaskedLM.from_pretrained(result.arms[1].folder) for _ in range(2)]
    for model, chosen in zip(
        models, (batches[1:2], [{k: v for k, v in batches[1].items() if k not in ("segments", "content")}])
    ):
        continue_pretraining(model, chosen, learning_rate=1e-2, seed=0)
    one, two = (model.base_model.encoder.layer[0].attention.self.query.weight for model in models)
    assert not torch.equal(one, two)  # the contrastive loss had a part


def test_batches_are_packed_masked_and_repeatable():
    from ofa_transformers.tokenization import train_tokenizer

    text = load_parallel_text(["fin_Latn"]).train
    lines = [list(segments.values()) for segments in text.values()]
    tokenizer = train_tokenizer(dict(zip(text, lines)), 500)
    arguments = {"steps": 30, "batch_size": 4, "sequence_length": 32, "seed": 3}
    batches = training_batches(lines, tokenizer, **arguments)
    assert len(batches) == 30
    labelled = content = 0
    for batch in batches:
        assert batch["input_ids"].shape[1] <= 32
        assert (batch["input_ids"][:, 0] == tokenizer.cls_token_id).all()
        chosen = batch["labels"] != -100
        labelled += chosen.sum().item()
        content += (batch["attention_mask"] == 1).sum().item()
    assert 0.10 < labelled / content < 0.18
    for one, two in zip(batches, training_batches(lines, tokenizer, **arguments)):
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_output_with_content_is_refused_before_any_work(tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        run_demo(tmp_path, SETTINGS, source="does-not-exist")
    assert (tmp_path / "kept.txt").read_text() == "mine"
    with pytest.raises(FileExistsError, match="name a folder"):
        run_demo(tmp_path / "kept.txt", SETTINGS, source="does-not-exist")


def test_failure_leaves_the_old_folder_and_nothing_else(tiny_source, tmp_path, monkeypatch):
    import ofa_transformers.demo.run as run

    output = tmp_path / "out"
    output.mkdir()
    (output / "kept.txt").write_text("mine")

    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "dumps", full_disk)
    small = dataclasses.replace(SETTINGS, languages=("deu_Latn",), steps=0)
    with pytest.raises(OSError, match="No space"):
        run_demo(output, small, source=tiny_source, overwrite=True)
    assert os.listdir(tmp_path) == ["out"]
    assert (output / "kept.txt").read_text() == "mine"


def test_sequences_longer_than_the_source_takes_are_refused(tiny_source, tmp_path):
    with pytest.raises(ValueError, match=r"sequence_length=200, .* at most 128"):
        run_demo(tmp_path / "out", dataclasses.replace(SETTINGS, sequence_length=200), source=tiny_source)
    assert os.listdir(tmp_path) == []


def test_training_equals_a_plain_loop(tiny_source):
    """Decoding the labelled positions alone changes nothing but the time."""
    text = load_parallel_text([]).train
    tokenizer = AutoTokenizer.from_pretrained(tiny_source)
    batches = training_batches(
        [list(segments.values()) for segments in text.values()],
        tokenizer,
        steps=3,
        batch_size=2,
        sequence_length=32,
        seed=0,
    )
    ours, plain = (AutoModelForMaskedLM.from_pretrained(tiny_source) for _ in range(2))
    continue_pretraining(ours, batches, learning_rate=1e-2, seed=5)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=0.01)
    torch.manual_seed(5)
    plain.train()
    for step, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 3)
        plain(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    before = AutoModelForMaskedLM.from_pretrained(tiny_source).state_dict()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-4)
    assert not torch.equal(ours.state_dict()["lm_head.bias"], before["lm_head.bias"])
