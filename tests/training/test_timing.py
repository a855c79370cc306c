"""Steps that are measured for a dry run."""

from types import SimpleNamespace

import pytest
import torch
from tiny_models import LM_HEADS, make_config


pytest.importorskip("datasets")

from ofa_transformers.text.corpus import TextFile
from ofa_transformers.training import DataArguments, ModelArguments, PretrainingArguments, planning, timing
from ofa_transformers.training.planning import plan_pretraining

from .workspace import make_workspace


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timing")
    make_workspace(folder)
    for language in ("deu", "swh"):
        lines = [f"{number}\t{language} {number} word\n" for number in range(40)]
        (folder / f"{language}.tsv").write_text("".join(lines))
    (folder / "held.tsv").write_text("".join(f"{number}\n" for number in range(10)))
    return folder


def plan(folder, tmp_path, name="plain", causal=False, data=None, **changes):
    options = {"max_steps": 6, "save_steps": 2, "use_cpu": True, "report_to": "none", **changes}
    text = {"train": [str(folder / "train")], "max_seq_length": 32, **(data or {})}
    given = ModelArguments(str(folder / name)), DataArguments(**text)
    return plan_pretraining(*given, PretrainingArguments(output_dir=str(tmp_path / "out"), **options), causal=causal)


def test_a_stand_in_has_shapes_and_random_weights():
    config = make_config("xlm-roberta", vocab_size=50)
    with torch.device("meta"):
        model = LM_HEADS["xlm-roberta"](config)
    built = timing.stand_in(model)
    assert {n: p.shape for n, p in built.state_dict().items()} == {n: p.shape for n, p in model.state_dict().items()}
    assert all(0.001 < parameter.std() < 0.1 for parameter in built.parameters()) and built.training
    assert built.roberta.embeddings.position_ids.tolist() == [list(range(config.max_position_embeddings))]
    assert all(parameter.is_meta for parameter in model.parameters())


class Clock:
    """Time goes on by a second for each row of a batch."""

    def __init__(self, monkeypatch):
        self.now, self.rows, self.segments = 0.0, [], []
        monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(timing, "training_loss", self.loss)

    def loss(self, model, unwrapped, batch, items, causal, alignment):
        self.rows.append(batch["input_ids"][:, 0].tolist())
        self.segments.append(batch["segments"].tolist() if "segments" in batch else None)
        self.now += len(batch["input_ids"])
        return next(model.parameters()).sum(), None


def batch_of(rows, pairs=False):
    ids = torch.arange(rows)[:, None].repeat(1, 10)
    batch = {"input_ids": ids, "labels": ids}
    return batch | ({"segments": torch.arange(rows // 2)} if pairs else {})


def test_a_part_of_a_large_batch_stands_for_all(monkeypatch):
    model, clock = torch.nn.Linear(10, 10, bias=False), Clock(monkeypatch)
    model.num_parameters = lambda: 100
    monkeypatch.setattr(timing, "_PRODUCTS", 3000)  # three rows of ten tokens
    assert timing.pass_seconds(model, [batch_of(8)] * 2) == 8 and clock.rows == [[0, 1, 2]] * 3  # one to warm up
    clock.rows.clear()
    clock.segments.clear()
    assert timing.pass_seconds(model, [batch_of(8, pairs=True)]) == 8
    assert clock.rows == [[0, 1, 2, 4, 5, 6]] * 2 and clock.segments == [[0, 1, 2]] * 2
    monkeypatch.setattr(timing, "_PRODUCTS", 1e9)
    clock.rows.clear()
    assert timing.pass_seconds(model, [batch_of(5), batch_of(2)]) == 3.5  # a second a row
    assert [len(rows) for rows in clock.rows] == [5, 5]  # four seconds were enough
    assert timing.pass_seconds(model, [batch_of(2), batch_of(1)]) == 1.5


@pytest.mark.parametrize(
    ("name", "causal", "data", "shares"),
    [
        ("plain", False, {}, [1]),
        ("gpt2", True, {}, [1]),
        ("plain", False, {"parallel_share": 0.25}, [0.75, 0.25]),
        ("plain", False, {"parallel_share": 1.0, "distill": True}, [1]),
    ],
)
def test_a_run_is_measured_in_its_own_batches(folder, tmp_path, monkeypatch, name, causal, data, shares):
    if data:
        parallel = [str(folder / "deu.tsv"), str(folder / "swh.tsv")]
        data = {"parallel": parallel, "parallel_validation": str(folder / "held.tsv"), **data}
    kinds, find = [], timing._passes

    def passes(*given):
        kinds.extend(find(*given))
        return kinds

    monkeypatch.setattr(timing, "_passes", passes)
    found = plan(folder, tmp_path, name, causal, data, per_device_train_batch_size=3, gradient_accumulation_steps=2)
    assert [share for share, _ in kinds] == shares
    for share, batches in kinds:
        assert len(batches) == 32 and ("segments" in batches[0]) == (share in (0.25, 1) and bool(data))
        if "segments" not in batches[0]:
            assert all(len(batch["input_ids"]) == 3 for batch in batches)
    assert found.seconds > 0 and (found.evaluation_seconds > 0) == bool(data)


def test_the_plan_adds_up(folder, tmp_path, monkeypatch):
    seen = []

    def measured(setup, args, lines):
        seen.append(lines)
        return timing.RunTimes(2.0, 3.0)

    monkeypatch.setattr(planning, "measure_run", measured)
    monkeypatch.setattr(planning, "WRITING", 1e300)
    data = {"validation": [str(folder / "validation")]}
    found = plan(folder, tmp_path, data=data, eval_strategy="steps", eval_steps=2)
    assert (found.seconds, found.evaluation_seconds) == (12.0, 12.0)  # six steps; before, and after each second one
    assert list(seen[0]) == ["deu", "swh_Latn", "zho"] and len(seen[0]["swh_Latn"]) == 40
    monkeypatch.setattr(planning, "available_memory", lambda: 10)
    small = plan(folder, tmp_path, data=data, eval_strategy="steps", eval_steps=2)
    assert small.seconds is None and small.evaluation_seconds is None and len(seen) == 1


def test_the_plan_looks_at_each_file_once(folder, tmp_path, monkeypatch):
    looked, size = [], TextFile.size
    monkeypatch.setattr(TextFile, "size", lambda self: looked.append(self.path.name) or size(self))
    plan(folder, tmp_path)
    assert sorted(looked) == ["deu.txt", "swh_Latn.txt", "zho.txt"]
