"""Pairs of translations: which are drawn, how they are collated, and their loss."""

from pathlib import Path

import fresh_process
import numpy as np
import pytest
import torch
from conftest import TEXT, build_unigram

from ofa_transformers.training.alignment import contrastive_loss, sentence_vectors
from ofa_transformers.training.masking import MaskingCollator
from ofa_transformers.training.pairs import PairCollator, PairedText, Pairs, PairSamples
from ofa_transformers.training.samples import Encoder


LETTERS = "abdeghiklmno"
TEXTS = {
    "eng": {f"v{i}": LETTERS[i] + " " + TEXT[i % 3] for i in range(12)},
    "deu": {f"v{i}": LETTERS[i] + " " + TEXT[3 + i % 3] for i in range(2, 12)},
    "swh": {f"v{i}": LETTERS[i] + " " + TEXT[6 + i % 2] for i in range(6)} | {"x1": "peke yake"},
}


@pytest.fixture(scope="module")
def encoder():
    return Encoder(build_unigram(), 40)


@pytest.fixture(scope="module")
def pairs(encoder):
    return PairSamples(PairedText(TEXTS, encoder), alpha=0.3, seed=5)


def words(encoder, tokens):
    return encoder.tokenizer.decode(tokens).strip()


def test_pairs_are_translations_in_two_languages(encoder, pairs):
    seen = set()
    by_line = {encoder.tokenizer.decode(encoder.tokenizer(line, add_special_tokens=False)["input_ids"][: encoder.room]).strip(): (language, key)
               for language, lines in TEXTS.items() for key, line in lines.items()}  # fmt: skip
    for number in range(300):
        pair = pairs[number]
        (one, key), (other, same) = (by_line[words(encoder, pair[side])] for side in ("first", "second"))
        assert key == same and one != other
        seen.add((one, other))
    assert seen == {(a, b) for a in TEXTS for b in TEXTS if a != b}
    assert pairs.text.counts.tolist() == [10, 12, 6]  # what nobody translates is left out


def test_each_line_once_in_a_pass_and_all_by_number_alone(encoder, pairs):
    again = PairSamples(PairedText(TEXTS, encoder), alpha=0.3, seed=5)
    numbers = [7, 300, 3, 7]
    for number in numbers:
        for side in ("first", "second"):
            assert np.array_equal(again[number][side], pairs[number][side])
    language = pairs.text.languages.index("swh")
    drawn = [n for n in range(200) if pairs.schedule[n][0] == language][:6]
    assert len({tuple(pairs[n]["first"]) for n in drawn}) == 6


def test_text_without_translations_is_refused(encoder):
    with pytest.raises(ValueError, match="two languages or more, but there is eng"):
        PairedText({"eng": {"a": "b"}}, encoder)
    with pytest.raises(ValueError, match="No line of fra has the id"):
        PairedText({**TEXTS, "fra": {"other": "mot"}}, encoder)


def test_a_batch_has_both_sides_and_says_what_belongs_together(encoder, pairs):
    collate = PairCollator(encoder, MaskingCollator(encoder.tokenizer, seed=1))
    batch = collate([pairs[n] for n in range(4)])
    assert batch["input_ids"].shape[0] == 8 and batch["segments"].shape == (4,)
    tokenizer = encoder.tokenizer
    special = torch.tensor([tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id])
    restored = torch.where(batch["labels"] >= 0, batch["labels"], batch["input_ids"])
    assert torch.equal(batch["content"], batch["attention_mask"].bool() & ~torch.isin(restored, special))
    for row in range(4):
        for side, offset in (("first", 0), ("second", 4)):
            assert restored[row + offset][batch["content"][row + offset]].tolist() == pairs[row][side].tolist()
    assert (batch["labels"] >= 0).any(dim=1).all()
    alone = collate([pairs[2]])
    width = int(alone["attention_mask"][0].sum())
    assert torch.equal(alone["input_ids"][0, :width], batch["input_ids"][2, :width])  # masks are the pair's own


def test_joined_sides_are_one_row(encoder, pairs):
    collate = PairCollator(encoder, MaskingCollator(encoder.tokenizer, seed=1), joined=True)
    batch = collate([pairs[n] for n in range(3)])
    assert batch["input_ids"].shape[0] == 3 and "segments" not in batch
    restored = torch.where(batch["labels"] >= 0, batch["labels"], batch["input_ids"])
    assert (restored == encoder.tokenizer.sep_token_id).sum(dim=1).tolist() == [2, 2, 2]


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_pairs_come_at_even_distances(share, pairs):
    mixture = Pairs(pairs, None, share, per_sample=2).mixed(8)
    kinds = [mixture.takes(position) for position in range(8 * 40)]
    by_batch = np.array(kinds).reshape(40, 8)
    assert (by_batch.all(axis=1) | ~by_batch.any(axis=1)).all()
    assert by_batch[:, 0].mean() == share
    numbers = [pair["number"] for position in range(5) for pair in mixture[position]]
    assert numbers == list(range(10))


def test_the_loss_is_that_of_plain_lines():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(10, 6, generator=generator, requires_grad=True)
    segments = torch.tensor([3, 1, 3, 2, 9])  # pairs 0 and 2 are the same segment: no negatives of each other
    loss = contrastive_loss(vectors, segments, temperature=0.1)
    units = vectors.detach() / vectors.detach().norm(dim=1, keepdim=True)
    expected = 0.0
    for a, b in ((units[:5], units[5:]), (units[5:], units[:5])):
        for i in range(5):
            others = [j for j in range(5) if j == i or segments[j] != segments[i]]
            scores = torch.stack([a[i] @ b[j] / 0.1 for j in others])
            expected += -(scores[others.index(i)] - scores.logsumexp(0)) / 2
    torch.testing.assert_close(loss.detach(), expected)
    loss.backward()
    assert torch.isfinite(vectors.grad).all() and vectors.grad.abs().sum() > 0
    shifted = contrastive_loss(vectors.detach() + 50, segments, temperature=0.1, centered=True)
    torch.testing.assert_close(shifted, contrastive_loss(vectors.detach(), segments, temperature=0.1, centered=True), atol=1e-3, rtol=1e-4)  # fmt: skip


def test_autocast_leaves_the_precision_of_the_loss():
    vectors = torch.randn(10, 384, generator=torch.Generator().manual_seed(0))
    plain = contrastive_loss(vectors, torch.arange(5))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(contrastive_loss(vectors, torch.arange(5)), plain)


def test_sentence_vectors_leave_out_what_is_no_content():
    states = torch.arange(24.0).reshape(2, 3, 4)
    content = torch.tensor([[False, True, True], [True, False, False]])
    expected = torch.stack([states[0, 1:].mean(0), states[1, 0]])
    assert torch.equal(sentence_vectors(states, content), expected)


def test_a_share_that_is_none(pairs):
    with pytest.raises(ValueError, match="parallel_share must lie above 0"):
        Pairs(pairs, None, 0.0, per_sample=2)


# ------------------------------------------------------------------------------------------------------------ whole runs

datasets = pytest.importorskip("datasets")

from ofa_transformers.training import (  # noqa: E402
    DataArguments,
    ModelArguments,
    PretrainingArguments,
    PretrainingTrainer,
    prepare,
)

from .workspace import make_workspace  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    make_workspace(folder)
    (folder / "parallel").mkdir()
    for number, language in enumerate(("eng_Latn", "deu_Latn", "swh_Latn")):
        lines = [f"v{i}\t{LETTERS[i % 12]} {TEXT[3 * number + i % 2]} {i}" for i in range(60)]
        (folder / "parallel" / f"{language}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "heldout.txt").write_text("".join(f"v{i}\n" for i in range(50, 60)))
    return folder


def train(folder, output, model="plain", steps=4, causal=False, **changes):
    data = {key: changes.pop(key) for key in list(changes) if key in DataArguments.__dataclass_fields__}
    data = {
        "max_seq_length": 32,
        "data_cache_dir": str(folder / "cache"),
        "parallel": [str(folder / "parallel")],
        **data,
    }
    options = {
        "output_dir": str(output), "max_steps": steps, "save_steps": 2, "per_device_train_batch_size": 4, "use_cpu": True,
        "report_to": "none", "disable_tqdm": True, "learning_rate": 1e-2, "logging_steps": 2, "lr_scheduler_type": "constant",
    }  # fmt: skip
    args = PretrainingArguments(**(options | changes))
    data_arguments = DataArguments(train=[str(folder / "train")], **data)
    setup = prepare(ModelArguments(str(folder / model)), data_arguments, causal=causal, seed=args.seed)
    return PretrainingTrainer(setup, args)


def weights(trainer):
    return torch.cat([parameter.detach().ravel() for parameter in trainer.model.parameters()])


@pytest.mark.parametrize("streaming", [False, True], ids=["stored", "streamed"])
@pytest.mark.parametrize("model", ["plain", "gpt2"])
def test_a_run_logs_both_losses_and_resumes_to_the_same_weights(model, streaming, folder, tmp_path):
    options = {"model": model, "causal": model == "gpt2", "streaming": streaming}
    whole = train(folder, tmp_path / "whole", **options)
    whole.train()
    logs = [entry for entry in whole.state.log_history if "loss" in entry]
    assert all("alignment_loss" in entry for entry in logs)
    train(folder, tmp_path / "parts", steps=2, **options).train()
    resumed = train(folder, tmp_path / "parts", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "parts" / "checkpoint-2"))
    assert torch.equal(weights(resumed), weights(whole))


def test_the_weight_changes_the_run_and_pairs_the_samples(folder, tmp_path):
    runs = {}
    for name, changes in {
        "masked LM": {"parallel": None},
        "weight 0": {"alignment_weight": 0.0},
        "weight 1": {"alignment_weight": 1.0},
        "joined": {"joined_pairs": True},
        "accumulated": {"alignment_weight": 1.0, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 2},
    }.items():
        trainer = train(folder, tmp_path / name, steps=2, **changes)
        trainer.train()
        runs[name] = weights(trainer)
    names = list(runs)
    assert not any(torch.equal(runs[a], runs[b]) for i, a in enumerate(names) for b in names[:i])


def test_held_out_lines_are_not_trained_on_and_measured(folder, tmp_path):
    trainer = train(folder, tmp_path / "out", parallel_validation=str(folder / "heldout.txt"))
    assert trainer.setup.data.pairs.samples.text.counts.tolist() == [50, 50, 50]
    held_out = trainer.setup.validation_pairs
    assert sorted(held_out) == ["deu", "swh"] and len(held_out["deu"][0]) == 10
    result = trainer.evaluate()
    assert 0 <= result["eval_deu_retrieval"] <= 1
    assert result["eval_retrieval"] == pytest.approx((result["eval_deu_retrieval"] + result["eval_swh_retrieval"]) / 2)


def test_what_is_wrong_with_parallel_text_is_said_before_training(folder, tmp_path):
    with pytest.raises(ValueError, match="alignment_layer=9, but the model has layers 0"):
        train(folder, tmp_path / "out", alignment_layer=9)
    with pytest.raises(ValueError, match="parallel_share must lie above 0"):
        train(folder, tmp_path / "out", parallel_share=1.5)
    with pytest.raises(FileNotFoundError, match="absent"):
        train(folder, tmp_path / "out", parallel=[str(folder / "absent")])
    with pytest.raises(ValueError, match="has no file of translations"):
        train(folder, tmp_path / "out", parallel=[str(folder / "plain")])


@pytest.mark.distributed
def test_two_processes_have_the_loss_and_gradients_of_one(tmp_path):
    script = Path(__file__).with_name("contrast_distributed.py")
    done = fresh_process.run(script.read_text(), tmp_path / "store")
    assert done.returncode == 0, done.stderr[-3000:]
