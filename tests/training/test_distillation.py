"""Sentence encoders trained on translations: the frozen source's vectors are the targets."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from conftest import TEXT, build_unigram
from sentence_encoders import make_sentence_encoder
from transformers import AutoConfig, AutoModel, AutoTokenizer, XLMRobertaModel


pytest.importorskip("datasets")

from ofa_transformers.evaluation import embed_texts
from ofa_transformers.models.sentence_modules import SentenceModules
from ofa_transformers.training import (
    DataArguments,
    ModelArguments,
    PretrainingArguments,
    PretrainingTrainer,
    prepare,
    pretrain,
)
from ofa_transformers.training.alignment import Alignment, sentence_vectors
from ofa_transformers.training.distillation import default_teacher, read_targets, squared_error
from ofa_transformers.training.objective import training_loss

from .workspace import make_workspace


LANGUAGES = ("eng_Latn", "deu_Latn", "swh_Latn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distillation")
    make_workspace(folder, ("plain",))
    make_sentence_encoder(folder / "teacher", build_unigram(), "xlm-roberta-base")
    make_sentence_encoder(folder / "encoder", build_unigram(), "xlm-roberta-base")
    student = XLMRobertaModel.from_pretrained(folder / "encoder")
    torch.manual_seed(3)
    torch.nn.init.normal_(student.embeddings.word_embeddings.weight)  # what the teacher knows is lost
    student.save_pretrained(folder / "encoder")
    factorized = AutoModel.from_pretrained(folder / "plain")  # without head, and no sentence encoder
    factorized.save_pretrained(folder / "factorized")
    AutoTokenizer.from_pretrained(folder / "plain").save_pretrained(folder / "factorized")
    (folder / "parallel").mkdir()
    words = sorted({word for line in TEXT for word in line.split()})
    for number, language in enumerate(LANGUAGES):
        lines = [
            f"v{i}\t{' '.join(words[(i * 7 + number * 3 + n * 5) % len(words)] for n in range(4))}" for i in range(60)
        ]
        lines = lines[:50] if language == "eng_Latn" else lines  # the last ten have no target
        (folder / "parallel" / f"{language}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "heldout.txt").write_text("".join(f"v{i}\n" for i in range(40, 50)))
    return folder


def arguments(folder, output, steps=4, **changes):
    data = {key: changes.pop(key) for key in list(changes) if key in DataArguments.__dataclass_fields__}
    data = {"parallel": [str(folder / "parallel")], "teacher": str(folder / "teacher"), **data}
    options = {
        "output_dir": str(output), "max_steps": steps, "save_steps": 2, "per_device_train_batch_size": 4, "use_cpu": True,
        "report_to": "none", "disable_tqdm": True, "learning_rate": 1e-2, "logging_steps": 1, "lr_scheduler_type": "constant",
    }  # fmt: skip
    args = PretrainingArguments(**(options | changes))
    return DataArguments(max_seq_length=32, data_cache_dir=str(folder / "cache"), **data), args


def trainer_of(folder, output, model="encoder", **changes):
    data, args = arguments(folder, output, **changes)
    return PretrainingTrainer(prepare(ModelArguments(str(folder / model)), data, causal=False, seed=args.seed), args)


def weights(trainer):
    return torch.cat([parameter.detach().ravel() for parameter in trainer.model.parameters()])


def test_targets_are_the_teachers_vectors_and_are_made_once(folder, monkeypatch):
    lines = TEXT[:5]
    found = read_targets(str(folder / "teacher"), lines, None, str(folder / "targets"))
    model, tokenizer = (
        AutoModel.from_pretrained(folder / "teacher").eval(),
        AutoTokenizer.from_pretrained(folder / "teacher"),
    )
    modules = SentenceModules.read(folder / "teacher").without_normalization()
    wanted = embed_texts(model, tokenizer, lines, modules=modules)
    np.testing.assert_allclose(found.vectors, wanted, rtol=1e-5, atol=1e-6)
    assert found.spread == pytest.approx((wanted - wanted.mean(0)).square().sum(1).mean().item(), rel=1e-4)
    monkeypatch.setattr("ofa_transformers.training.distillation.embed_texts", None)
    again = read_targets(str(folder / "teacher"), lines, None, str(folder / "targets"))
    assert again.identity == found.identity
    with pytest.raises(TypeError):
        read_targets(str(folder / "teacher"), lines[:3], None, str(folder / "targets"))


def test_a_teacher_reads_what_a_run_draws_and_errors_keep_their_measure(folder, tmp_path, monkeypatch):
    lines = [f"{line} {number}" for number in range(40) for line in TEXT[:5]]
    monkeypatch.setattr("ofa_transformers.training.distillation.MEASURED", 3)
    options = {"layer": None, "cache_dir": str(tmp_path)}
    whole = read_targets(str(folder / "teacher"), lines, **options)
    part = read_targets(str(folder / "teacher"), lines, **options, needed=np.array([7, 9]))
    assert len(part.vectors) == 5 and (part.identity, part.spread) == (whole.identity, pytest.approx(whole.spread))
    np.testing.assert_allclose(part[[9, 7, 0, 199]], whole[[9, 7, 0, 199]], rtol=1e-5, atol=1e-6)
    with pytest.raises(IndexError, match=r"segments \[8\] aren't there"):
        part[[7, 8]]


def test_a_short_run_asks_for_the_segments_of_its_passes(folder, tmp_path):
    trainer = trainer_of(folder, tmp_path / "out", steps=2)
    pairs = trainer.setup.data.pairs
    drawn = {int(s) for batch in trainer.get_train_dataloader() for s in batch["segments"]}
    assert set(pairs.segments(4, 2).tolist()) == drawn and 0 < len(drawn) < 50
    assert pairs.segments(4, 10_000).tolist() == list(range(50))
    half = dataclasses.replace(pairs, share=0.5)
    assert set(half.segments(4, 2).tolist()) < drawn


def test_the_error_of_the_mean_is_one():
    targets = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    spread = (targets - targets.mean(0)).square().sum(1).mean().item()
    assert squared_error(targets.mean(0).expand(100, -1), targets, spread).item() == pytest.approx(1)
    assert squared_error(torch.cat([targets, targets]), targets, spread).item() == 0


def test_batches_are_whole_lines_in_any_two_languages_with_their_targets(folder, tmp_path):
    setup = trainer_of(folder, tmp_path / "out").setup
    pairs = setup.data.pairs
    text = pairs.samples.text
    assert setup.data.pairs.share == 1 and type(setup.model) is XLMRobertaModel and setup.new_weights == []
    assert len(text.segments) == 50 and text.counts.tolist() == [50, 50, 50]
    drawn = [pairs.samples[number] for number in range(60)]
    batch = pairs.collate(drawn)
    mask = setup.tokenizer.mask_token_id
    assert (batch["labels"] == -100).all() and not (batch["input_ids"] == mask).any()
    assert torch.equal(batch["targets"], torch.from_numpy(pairs.collate.targets[[pair["segment"] for pair in drawn]]))
    row = batch["input_ids"][0][batch["content"][0]]
    assert row.tolist() == drawn[0]["first"].tolist()


def test_a_masked_language_model_predicts_in_the_same_pass(folder, tmp_path):
    setup = trainer_of(
        folder, tmp_path / "out", "plain", distill=True, parallel_share=1.0, distillation_weight=0.5
    ).setup
    layers = setup.model.config.num_hidden_layers
    assert setup.alignment.masked and setup.alignment.target_weight == 0.5
    assert setup.alignment.vectors.layer == setup.measured_layer == round(layers * 2 / 3)
    batch = setup.data.pairs.collate([setup.data.pairs.samples[number] for number in range(8)])
    predicted = batch["labels"] != -100
    assert predicted.any() and (batch["input_ids"][predicted] != batch["labels"][predicted]).any()
    model = setup.model.eval()
    tokens, pairs = training_loss(model, model, batch, predicted.sum(), False, setup.alignment)
    untaught = {name: tensor for name, tensor in batch.items() if name != "targets"}
    same_tokens, contrast = training_loss(model, model, untaught, predicted.sum(), False, Alignment())
    assert tokens.item() == pytest.approx(same_tokens.item()) and tokens > 0
    with torch.no_grad():
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        states = model(**inputs, output_hidden_states=True).hidden_states[setup.measured_layer]
    error = squared_error(sentence_vectors(states, batch["content"]), batch["targets"], setup.alignment.spread)
    assert pairs.item() == pytest.approx(contrast.item() + 0.5 * error.item(), rel=1e-5)


def test_the_weight_of_the_error_follows_what_is_trained(folder, tmp_path):
    def weight(model, **changes):
        return trainer_of(folder, tmp_path / "out", model, **changes).setup.alignment.target_weight

    assert weight("encoder") == weight("factorized") == 1
    assert weight("plain", distill=True, parallel_share=1.0) == 0.3
    with pytest.raises(ValueError, match="distillation_weight must be 0 or more, but is -1"):
        weight("encoder", distillation_weight=-1.0)


def test_a_student_comes_nearer_to_its_teacher_and_stays_a_sentence_encoder(folder, tmp_path):
    data, args = arguments(
        folder, tmp_path / "out", steps=30, parallel_validation=str(folder / "heldout.txt"), eval_steps=15,
        eval_strategy="steps", save_steps=30, alignment_weight=0.1, load_best_model_at_end=False,
    )  # fmt: skip
    result = pretrain(ModelArguments(str(folder / "encoder")), data, args)
    log = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3])
    assert {"eval_retrieval", "start_retrieval", "eval_deu_retrieval"} <= set(result)
    assert SentenceModules.read(tmp_path / "out").pooling == "mean"
    saved = json.loads((tmp_path / "out" / "config.json").read_text())
    assert saved["architectures"] == ["XLMRobertaModel"]


@pytest.mark.parametrize(
    ("model", "changes"),
    [("encoder", {}), ("factorized", {}), ("plain", {"distill": True}), ("encoder", {"parallel_share": 0.5})],
    ids=["encoder", "factorized", "with a head", "with masked LM"],
)
def test_resumed_runs_end_with_the_same_weights(folder, tmp_path, model, changes):
    if "parallel_share" in changes:
        changes = {**changes, "train": [str(folder / "train")]}
    if model == "plain":
        changes = {**changes, "train": [str(folder / "train")]}
    if model != "encoder":
        changes = {**changes, "teacher": str(folder / "plain")}
    whole = trainer_of(folder, tmp_path / "whole", model, **changes)
    whole.train()
    assert any("alignment_loss" in entry for entry in whole.state.log_history)
    trainer_of(folder, tmp_path / "parts", model, steps=2, **changes).train()
    resumed = trainer_of(folder, tmp_path / "parts", model, **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "parts" / "checkpoint-2"))
    assert torch.equal(weights(resumed), weights(whole))


def test_the_teacher_is_the_source_of_an_adapted_model(folder, tmp_path):
    (tmp_path / "ofa_report.json").write_text(json.dumps({"source": {"name": str(folder / "teacher")}}))
    assert default_teacher(tmp_path) == str(folder / "teacher")
    (tmp_path / "ofa_report.json").write_text(json.dumps({"source": {"name": "/absent/folder"}}))
    assert default_teacher(tmp_path) == str(tmp_path)
    assert default_teacher(folder / "encoder") == str(folder / "encoder")


def test_what_distillation_does_not_go_with_is_said(folder, tmp_path):
    config = AutoConfig.from_pretrained(folder / "plain")
    config.hidden_size, config.num_attention_heads = 8, 2
    config.save_pretrained(tmp_path / "wide")  # weights aren't asked for
    for changes, message in (
        ({"distill": True, "parallel": None, "train": [str(folder / "train")]}, r"distill needs parallel text"),
        ({"distill": True, "joined_pairs": True}, "no joined_pairs"),
        ({"validation": [str(folder / "validation")]}, "gets none by distillation"),
        ({"teacher": str(tmp_path / "absent")}, "absent"),
        (
            {"teacher": str(tmp_path / "wide")},
            r"teacher: the vectors of .*wide have 8 dimensions, those of the model \d+",
        ),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            trainer_of(folder, tmp_path / "out", **changes)


def test_without_a_mask_token_an_encoder_is_distilled_and_no_masks_are_asked_for(folder, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(folder / "encoder")
    state = json.loads((folder / "encoder" / "tokenizer_config.json").read_text())
    for name in ("teacher", "encoder"):
        XLMRobertaModel.from_pretrained(folder / name).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        changed = {key: value for key, value in state.items() if key != "mask_token"}
        (tmp_path / name / "tokenizer_config.json").write_text(json.dumps(changed))
    model, changes = tmp_path / "encoder", {"teacher": str(tmp_path / "teacher")}
    trainer = trainer_of(folder, tmp_path / "out", str(model), steps=1, **changes)
    assert trainer.setup.tokenizer.mask_token_id is None
    trainer.train()
    for options in ({"distill": False}, {"distill": False, "joined_pairs": True}):
        with pytest.raises(
            ValueError, match="has no mask token, which masked language modelling needs, of translations"
        ):
            trainer_of(
                folder, tmp_path / "out", str(model), **{**changes, **options, "train": [str(folder / "train")]}
            )
