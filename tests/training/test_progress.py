"""Held-out measures of a run: when they are taken, which checkpoint is the best, and when a run ends early."""

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from conftest import REPOSITORY
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer


pytest.importorskip("datasets")

from ofa_transformers.scoring.masked_lm import score_masked_lm, tokens_read
from ofa_transformers.scoring.score import MaskedLMScore
from ofa_transformers.training import DataArguments, ModelArguments, PretrainingArguments, pretrain
from ofa_transformers.training.logs import Clock
from ofa_transformers.training.optimization import clip_gradients
from ofa_transformers.training.planning import plan_pretraining
from ofa_transformers.training.progress import best_step, evaluations_since_best

from .workspace import make_workspace


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("progress")
    make_workspace(folder, ("plain",))
    return folder


class Scripted:
    """Scores that are given beforehand: the bits per character of each evaluation in turn."""

    def __init__(self, bits: list[float]):
        self.bits, self.taken = bits, 0

    def __call__(self, model, tokenizer, texts, *args, **options) -> dict[str, MaskedLMScore]:
        bits = self.bits[self.taken]
        self.taken += 1
        # The loss, nats a token, says the opposite of the bits.
        return {language: MaskedLMScore(bits * math.log(2), max(1, round(100 * bits**2)), 1) for language in texts}


def with_trainer(
    folder: Path, output: Path, scripted: Scripted, monkeypatch, data: dict | None = None, **changes
) -> dict:
    monkeypatch.setattr("ofa_transformers.training.trainer.score_languages", scripted)
    options = {
        "max_steps": 6, "save_steps": 2, "eval_steps": 1, "eval_strategy": "steps", "learning_rate": 1e-2,
        "per_device_train_batch_size": 2, "use_cpu": True, "report_to": "none", "disable_tqdm": True,
    }  # fmt: skip
    text = {
        "train": [str(folder / "train")], "validation": [str(folder / "validation")], "max_seq_length": 32,
        "data_cache_dir": str(folder / "cache"),
    }  # fmt: skip
    return pretrain(
        ModelArguments(str(folder / "plain")),
        DataArguments(**(text | (data or {}))),
        PretrainingArguments(output_dir=str(output), **(options | changes)),
    )


def with_loop(folder: Path, output: Path, scripted: Scripted, monkeypatch, **changes) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "examples"))
    import run_mlm_no_trainer

    monkeypatch.setattr(run_mlm_no_trainer, "score_languages", scripted)
    options = {
        "model_name_or_path": folder / "plain", "train": folder / "train", "validation": folder / "validation",
        "data_cache_dir": folder / "cache", "max_seq_length": 32, "output_dir": output, "max_steps": 6, "save_steps": 2,
        "eval_steps": 1, "learning_rate": 1e-2, "per_device_train_batch_size": 2, "cpu": True, **changes,
    }  # fmt: skip
    run_mlm_no_trainer.main([part for name, value in options.items() for part in (f"--{name}", str(value))])


# The best of all evaluations, at step 1, has no checkpoint; of those that have one it is step 6's.
BITS = [6.0, 4.0, 5.0, 4.9, 4.6, 4.3, 4.2]


@pytest.mark.parametrize("run", [with_trainer, with_loop])
def test_the_best_checkpoint_is_the_best_of_those_that_were_saved(folder, tmp_path, monkeypatch, run):
    bits = [6.0, 4.0, 4.4, 4.9, 4.6, 4.3, 4.5]
    limit = {"save_total_limit": 2} | ({"early_stopping_patience": 0} if run is with_trainer else {})
    for values, kept in ((bits, ["checkpoint-2", "checkpoint-6"]), (BITS, ["checkpoint-4", "checkpoint-6"])):
        scripted = Scripted(values)
        run(folder, tmp_path / kept[0], scripted, monkeypatch, **limit)
        assert scripted.taken == 7  # step 0, then once at every step
        assert sorted(path.name for path in (tmp_path / kept[0]).glob("checkpoint-*")) == kept


def test_the_best_by_bits_is_written_and_what_is_measured_is_its_own(folder, tmp_path, monkeypatch):
    result = with_trainer(
        folder, tmp_path, Scripted([6.0, 4.0, 4.4, 4.9, 4.6, 4.3, 4.5]), monkeypatch, load_best_model_at_end=True,
        early_stopping_patience=0,
    )  # fmt: skip
    assert result["step"] == 2 and result["eval_bits_per_character"] == pytest.approx(4.4)
    assert result["start_bits_per_character"] == pytest.approx(6.0)
    written, best = (load_file(tmp_path / part / "model.safetensors") for part in (".", "checkpoint-2"))
    assert all((written[key] == best[key]).all() for key in best)
    state = json.loads((tmp_path / "trainer_state.json").read_text())
    assert state["best_global_step"] == 2 and state["best_metric"] == pytest.approx(4.4)


@pytest.mark.parametrize(
    ("changes", "bits", "steps"),
    [
        ({"eval_steps": 4}, [5.0, 4.0, 3.0], [0, 4, 6]),
        ({"eval_steps": 3}, [5.0, 4.0, 3.0], [0, 3, 6]),
        ({"eval_on_start": False, "eval_steps": 3}, [4.0, 3.0], [3, 6]),
        ({"eval_strategy": "no"}, [5.0, 3.0], [0, 6]),
        ({"eval_strategy": "epoch"}, [5.0, 3.0], [0, 6]),
    ],
)
def test_each_step_is_measured_once(folder, tmp_path, monkeypatch, changes, bits, steps):
    scripted = Scripted(bits)
    result = with_trainer(folder, tmp_path, scripted, monkeypatch, **changes)
    assert scripted.taken == len(bits)
    history = json.loads((tmp_path / "trainer_state.json").read_text())["log_history"]
    assert [entry["step"] for entry in history if "eval_loss" in entry] == steps
    assert result["eval_bits_per_character"] == pytest.approx(3.0)
    # It is finished, and measured, unless that came after the last checkpoint.
    rest = [] if changes.get("eval_strategy", "steps") == "steps" else [3.0]
    again = with_trainer(folder, tmp_path, Scripted(rest), monkeypatch, **changes)
    assert again["eval_bits_per_character"] == pytest.approx(3.0)


def test_a_run_that_gets_no_better_ends_and_says_so(folder, tmp_path, monkeypatch, caplog):
    worse = [6.0, 4.0, 4.1, 4.2, 4.3]
    result = with_trainer(
        folder, tmp_path, Scripted(worse), monkeypatch, load_best_model_at_end=True, save_steps=1, max_steps=9
    )
    assert "Stopping at step 4: bits_per_character of held-out text has been no better than 4.0000" in caplog.text
    assert result["step"] == 1
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [
        f"checkpoint-{step}" for step in range(1, 5)
    ]

    caplog.clear()  # started again, it says why it does nothing
    again = with_trainer(
        folder, tmp_path, Scripted([]), monkeypatch, load_best_model_at_end=True, save_steps=1, max_steps=9
    )
    assert "checkpoint-4 is where the run stopped" in caplog.text and again["step"] == 1
    with_trainer(
        folder, tmp_path, Scripted([4.4] * 5), monkeypatch, early_stopping_patience=0, save_steps=1, max_steps=9
    )
    assert (tmp_path / "checkpoint-9").is_dir()


def test_a_run_that_makes_the_model_worse_says_so(folder, tmp_path, monkeypatch, caplog):
    with_trainer(folder, tmp_path, Scripted([3.0, 3.5, 3.4]), monkeypatch, eval_steps=3)
    expected = "step 6 is no better on held-out text than the one that the run started from: bits_per_character 3.4000"
    assert expected in caplog.text


@pytest.mark.parametrize(
    ("changes", "best"), [({}, 4), ({"metric_for_best_model": "loss"}, 2), ({"greater_is_better": True}, 2)]
)
def test_the_measure_can_be_chosen(folder, tmp_path, monkeypatch, changes, best):
    scripted = Scripted([6.0, 5.0, 4.0, 4.5])  # at steps 0, 2, 4, 6
    with_trainer(folder, tmp_path, scripted, monkeypatch, eval_steps=2, **changes)
    assert json.loads((tmp_path / "trainer_state.json").read_text())["best_global_step"] == best


def test_without_other_text_retrieval_chooses(folder, tmp_path, monkeypatch):
    for language, word in (("eng", "house"), ("deu", "Haus")):
        lines = (f"v{i}\t{word} {chr(97 + i)} {word}\n" for i in range(20))
        (tmp_path / f"{language}.tsv").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "ids.txt").write_text("v1\nv2\nv3\n")
    shares = iter([0.1, 0.3, 0.5, 0.2])  # at steps 0, 2, 4, 6
    monkeypatch.setattr("ofa_transformers.training.trainer.retrieval", lambda *_: {"retrieval": next(shares)})
    data = {"parallel": [str(tmp_path / f"{name}.tsv") for name in ("eng", "deu")], "validation": None,
            "parallel_validation": str(tmp_path / "ids.txt")}  # fmt: skip
    options = {"eval_steps": 2, "load_best_model_at_end": True}
    result = with_trainer(folder, tmp_path / "out", Scripted([]), monkeypatch, data, **options)
    assert (result["step"], result["eval_retrieval"], result["start_retrieval"]) == (4, 0.5, 0.1)


def test_a_measure_that_is_none(folder, tmp_path, monkeypatch):
    message = "metric_for_best_model='bits' is no measure of held-out text; there are loss, bits_per_character"
    with pytest.raises(ValueError, match=message):
        with_trainer(folder, tmp_path / "out", Scripted([]), monkeypatch, metric_for_best_model="bits")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("run", [with_trainer, with_loop])
def test_the_loss_is_logged_after_ten_seconds(folder, tmp_path, monkeypatch, run):
    now, logged, restart = 0.0, [], Clock.restart

    def monotonic() -> float:
        nonlocal now
        now += 3.0  # each step asks once, and a log once more
        return now

    def note(clock: Clock) -> None:
        restart(clock)
        logged.append(now)

    monkeypatch.setattr("ofa_transformers.training.logs.time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(Clock, "restart", note)
    run(folder, tmp_path, Scripted([5.0, 4.0]), monkeypatch, max_steps=12, eval_steps=12, logging_steps=500)
    assert [later - earlier for earlier, later in itertools.pairwise(logged[-4:])] == [15.0] * 3


def test_best_step_and_evaluations_since():
    history = [
        {"step": 0, "eval_x": 3.0}, {"step": 1, "loss": 1.0}, {"step": 2, "eval_x": 2.0}, {"step": 4, "eval_x": 2.0},
        {"step": 6, "eval_x": math.nan}, {"step": 8, "eval_x": 2.5}, {"step": 9, "train_runtime": 1.0},
    ]  # fmt: skip
    assert best_step(history, None, "x") == best_step(history, None, "eval_x") == 2
    assert best_step(history, {4, 8}, "x") == 4 and best_step(history, {4, 8}, "x", greater=True) == 8
    assert best_step(history, {6}, "x") is None and best_step([], None) is None
    assert evaluations_since_best(history, "x") == 2 and evaluations_since_best(history, "x", greater=True) == 3
    assert evaluations_since_best([], "x") == 0


@pytest.mark.parametrize("run", [with_trainer, with_loop])
@pytest.mark.parametrize("options", [{}, {"max_grad_norm": 0.5}, {"freeze_body_steps": 4}], ids=str)
def test_an_infinite_gradient_reaches_no_checkpoint(folder, tmp_path, monkeypatch, run, options):
    """Its loss is a number; what only the body gets, which is frozen at first, counts as well."""
    steps, backward = 0, Accelerator.backward

    def infinite(accelerator: Accelerator, loss: torch.Tensor, **kwargs) -> None:
        nonlocal steps
        steps += 1
        backward(accelerator, loss, **kwargs)
        if steps == 3:
            parameters = dict(accelerator._models[0].named_parameters())
            next(p for name, p in parameters.items() if "attention" in name).grad[0] = math.inf

    monkeypatch.setattr(Accelerator, "backward", infinite)
    message = r"gradient of step 3 has the norm (inf|nan), of samples 4 to 5 \(.*did not reach a checkpoint: .*-2\."
    with pytest.raises(FloatingPointError, match=message):
        run(folder, tmp_path, Scripted([5.0] * 9), monkeypatch, save_steps=1, eval_steps=9, **options)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]


@pytest.mark.parametrize("run", [with_trainer, with_loop])
def test_weights_that_are_no_numbers_reach_no_checkpoint(folder, tmp_path, monkeypatch, run):
    step, steps = torch.optim.AdamW.step, 0

    def infinite(optimizer: torch.optim.AdamW, *args, **kwargs) -> None:
        nonlocal steps
        steps += 1
        step(optimizer, *args, **kwargs)
        if steps == 3:
            optimizer.param_groups[0]["params"][0].data[0] = math.nan

    monkeypatch.setattr(torch.optim.AdamW, "step", infinite)
    with pytest.raises(FloatingPointError, match=r"After step 3 the weights \S+ are not finite.*checkpoint-2"):
        run(folder, tmp_path, Scripted([5.0] * 9), monkeypatch, save_steps=1, eval_steps=9)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]


def test_the_frozen_body_is_clipped_apart():
    body, embeddings = (torch.nn.Parameter(torch.zeros(4)) for _ in range(2))
    body.grad, embeddings.grad = torch.full((4,), 5e5), torch.full((4,), 1.5)
    groups = [{"params": [body], "name": "body"}, {"params": [embeddings], "name": "embeddings"}]
    model, optimizer = torch.nn.ParameterList([body, embeddings]), torch.optim.SGD(groups, lr=1.0)
    assert clip_gradients(Accelerator(cpu=True), model, optimizer, 1.0, frozen=True) == pytest.approx(3.0)
    assert embeddings.grad.norm().item() == pytest.approx(1.0, rel=1e-4)
    assert body.grad.norm().item() == pytest.approx(1.0, rel=1e-4)
    embeddings.grad = torch.full((4,), 1.5)
    norm = clip_gradients(Accelerator(cpu=True), model, optimizer, 2.0, frozen=False)
    assert norm == pytest.approx(math.hypot(1.0, 3.0), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"eval_steps": 4}, 3), ({"eval_steps": 3}, 3), ({"eval_steps": 3, "eval_on_start": False}, 2),
        ({"eval_strategy": "no"}, 2), ({"eval_steps": 100}, 2),
    ],
)  # fmt: skip
def test_the_plan_counts_evaluations(folder, tmp_path, monkeypatch, options, expected):
    given = []
    monkeypatch.setitem(globals(), "pretrain", lambda *arguments: given.extend(arguments))
    with_trainer(folder, tmp_path / "out", Scripted([]), monkeypatch, **options)
    plan = plan_pretraining(*given)
    assert plan.evaluations == expected and plan.evaluation_seconds > 0
    given[1].validation = None
    given[2].eval_strategy = "no"
    nothing = plan_pretraining(*given)
    assert (nothing.evaluations, nothing.evaluation_seconds) == (0, 0)


def test_the_plan_counts_the_tokens_that_scores_read(folder, monkeypatch):
    tokenizer = AutoTokenizer.from_pretrained(folder / "plain")
    model = AutoModelForMaskedLM.from_pretrained(folder / "plain")
    lines = (folder / "validation" / "deu.txt").read_text(encoding="utf-8").splitlines()
    read = []
    model.register_forward_pre_hook(
        lambda _, args, given: read.append(int(given["attention_mask"].sum())), with_kwargs=True
    )
    scores = score_masked_lm(model, tokenizer, lines, max_length=32)
    assert tokens_read(tokenizer, lines, 32) == (sum(read), sum(score.tokens for score in scores))
