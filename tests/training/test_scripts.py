"""The scripts end to end: killed and resumed, on several processes, with faults. The runs are in forked_runs.py."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from ofa_transformers.evaluation import MaskedLMScore, score_masked_lm


pytest.importorskip("datasets")

from ofa_transformers.training import DataArguments, ModelArguments, Share, consolidate, prepare
from ofa_transformers.training.objective import count_labels, token_loss

from .workspace import MODELS, make_workspace


pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(
        not hasattr(os, "fork") or not torch.distributed.is_gloo_available(), reason="needs fork, gloo"
    ),
]
STEPS, SAVE, ACCUMULATION, GLOBAL_BATCH = 9, 3, 2, 8
MICRO_BATCHES = STEPS * ACCUMULATION


def run(script: str, folder: Path, name: str, ranks: int = 1, model: str = "dropout", **kwargs) -> dict:
    """A run into folder/NAME; `extra` are further arguments, the rest goes to forked_runs.py."""
    arguments = {
        "model_name_or_path": folder / model, "train": folder / "train", "validation": folder / "validation",
        "data_cache_dir": folder / "cache", "output_dir": folder / name, "max_steps": STEPS, "save_steps": SAVE,
        "eval_steps": SAVE, "per_device_train_batch_size": GLOBAL_BATCH // ACCUMULATION // ranks,
        "gradient_accumulation_steps": ACCUMULATION, "learning_rate": 1e-2, "max_seq_length": 32,
        # Adam would blow up the rounding of gradients that are zero but for it (the keys' biases) to whole steps.
        "adam_epsilon": 1e-3, "seed": 3, "warmup_steps": 2, "validation_lines": 1,
    } | kwargs.pop("extra", {})  # fmt: skip
    if script == "run_mlm_no_trainer":
        arguments |= {"cpu": True}
    else:
        arguments |= {"use_cpu": True, "eval_strategy": "steps", "disable_tqdm": True, "logging_steps": 1}
        arguments |= {"ddp_backend": "gloo"} if ranks > 1 else {}
    flags = [part for key, value in arguments.items() for part in (f"--{key}", str(value))]
    return {"script": script, "ranks": ranks, "arguments": flags, **kwargs}


def killed_and_resumed(script: str, folder: Path, name: str, twice: bool = True, **kwargs) -> list[dict]:
    """Killed at a random micro-batch, resumed, killed in the midst of a checkpoint if `twice`, resumed to the end."""
    at = random.SystemRandom().randint(SAVE * ACCUMULATION + 1, MICRO_BATCHES)
    print(f"{name}: killed at micro-batch {at}")
    return [
        run(script, folder, name, **kwargs, kill=["backward", at]),
        *([run(script, folder, name, **kwargs, kill=["save", 1])] if twice else []),
        run(script, folder, name, **kwargs),
    ]


STREAMED = {"streaming": True, "dataloader_num_workers": 1}
# Translations: half of the batches with a contrastive loss, or all of them with a teacher's vectors as targets.
TAUGHT = ("pairs", "distilled")


def taught(folder: Path) -> list[dict]:
    """Runs on translations, in one process, in two, and in two with sharded weights."""
    words = [f"word{number}" for number in range(12)]
    (folder / "parallel").mkdir()
    for number, language in enumerate(("eng_Latn", "deu_Latn", "swh_Latn")):
        lines = [f"v{i}\t{' '.join(words[(i * 5 + number + n * n) % 12] for n in range(4))}" for i in range(40)]
        (folder / "parallel" / f"{language}.tsv").write_text("\n".join(lines) + "\n")
    options = {
        "pairs": {"parallel": folder / "parallel", "parallel_share": 0.5},
        "distilled": {"parallel": folder / "parallel", "distill": True, "teacher": folder / "gpt2"},
    }
    processes = {"one": {}, "two": {"ranks": 2}, "fsdp2": {"ranks": 2, "fsdp2": True}}
    return [
        run("run_mlm", folder, f"{how}-{kind}", model="plain", extra=options[kind], **more)
        for kind in TAUGHT
        for how, more in processes.items()
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, dict[str, list[int]]]:
    folder = tmp_path_factory.mktemp("runs")
    make_workspace(folder)
    trainer, loop = "run_mlm", "run_mlm_no_trainer"
    jobs = [
        run(trainer, folder, "trainer"),
        *killed_and_resumed(trainer, folder, "trainer-killed"),
        run(loop, folder, "loop", extra=STREAMED),
        *killed_and_resumed(loop, folder, "loop-killed", extra=STREAMED),
        run(trainer, folder, "two", ranks=2, extra=STREAMED),
        *killed_and_resumed(trainer, folder, "two-killed", ranks=2, extra=STREAMED),
        run(trainer, folder, "one-plain", model="plain", extra={"validation_lines": 3}),
        run(trainer, folder, "two-plain", ranks=2, model="plain", extra={"validation_lines": 3}),
        run(trainer, folder, "four-plain", ranks=4, model="plain"),
        run(trainer, folder, "two-local", ranks=2, model="plain", extra={"average_tokens_across_devices": False}),
        run(loop, folder, "loop-plain", model="plain"),
        run(loop, folder, "loop-two-plain", ranks=2, model="plain"),
        *killed_and_resumed(loop, folder, "fsdp2-plain", False, ranks=2, model="plain", fsdp2=True),
        *killed_and_resumed(trainer, folder, "fsdp2-trainer", False, ranks=2, model="plain", fsdp2=True),
        run("run_clm", folder, "clm", model="gpt2", extra={"freeze_body_steps": STEPS - 1}),
        run(trainer, folder, "nan", nan=SAVE * ACCUMULATION + 2),
        run(loop, folder, "loop-nan", nan=SAVE * ACCUMULATION + 2),
        run(trainer, folder, "full", fail=5),
        *taught(folder),
    ]
    file = folder / "runs.json"
    file.write_text(json.dumps(jobs))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, str(Path(__file__).with_name("forked_runs.py")), str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    codes: dict[str, list[int]] = {}
    for job, result in zip(jobs, json.loads(file.with_suffix(".json.codes").read_text())):
        name = Path(job["arguments"][job["arguments"].index("--output_dir") + 1]).name
        codes.setdefault(name, []).append(max(map(abs, result)))
    return folder, codes


def log(folder: Path) -> str:
    return (folder / "runs.json.log").read_text()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("name", ["trainer", "loop", "two"])
def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(runs, name: str):
    folder, codes = runs
    assert codes[name] == [0], log(folder)[-5000:]
    assert codes[f"{name}-killed"] == [9, 9, 0], log(folder)[-5000:]
    expected, actual = weights(folder / name), weights(folder / f"{name}-killed")
    assert actual.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(actual[key], tensor), key
    assert not list((folder / f"{name}-killed").glob(".saving*"))


@pytest.mark.parametrize(
    "name", ["two-plain", "four-plain", "loop-plain", "loop-two-plain", "fsdp2-plain", "fsdp2-trainer"]
)
def test_the_same_global_batches_give_the_same_model(runs, name: str):
    """Whatever the number of processes and the script; without dropout, which each process draws for itself."""
    folder, codes = runs
    assert codes["one-plain"] == [0] and codes[name][-1] == 0, log(folder)[-5000:]
    expected, actual = weights(folder / "one-plain"), weights(folder / name)
    assert actual.keys() == expected.keys()
    start = load_file(folder / "plain" / "model.safetensors")
    for key, tensor in expected.items():
        torch.testing.assert_close(
            actual[key], tensor, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}"
        )
    moved = [key for key in expected if not torch.allclose(start[key], expected[key], atol=1e-3)]
    assert len(moved) > len(expected) / 2


@pytest.mark.parametrize("kind", TAUGHT)
@pytest.mark.parametrize("how", ["two", "fsdp2"])
def test_translations_train_the_same_model_in_two_processes(runs, how: str, kind: str):
    """Each has half of the pairs of a batch, which are told apart from those of both."""
    folder, codes = runs
    assert codes[f"one-{kind}"] == codes[f"{how}-{kind}"] == [0], log(folder)[-5000:]
    expected, actual = weights(folder / f"one-{kind}"), weights(folder / f"{how}-{kind}")
    start = load_file(folder / "plain" / "model.safetensors")
    for key, tensor in expected.items():
        torch.testing.assert_close(
            actual[key], tensor, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}"
        )
    body = [key for key in expected if ".layer." in key]
    assert sum(not torch.allclose(start[key], expected[key], atol=1e-3) for key in body) > len(body) / 3


@pytest.mark.parametrize("name", ["fsdp2-plain", "fsdp2-trainer"])
def test_shards_become_a_plain_checkpoint(runs, name: str, tmp_path):
    folder, codes = runs
    assert codes[name] == [9, 0], log(folder)[-5000:]
    checkpoint = folder / name / f"checkpoint-{STEPS}"
    assert (checkpoint / "pytorch_model_fsdp_0").is_dir() and not (checkpoint / "model.safetensors").exists()
    consolidate(checkpoint, AutoModelForMaskedLM.from_pretrained(folder / "plain"), tmp_path / "whole")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "whole")
    expected = AutoModelForMaskedLM.from_pretrained(folder / name).state_dict()
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[key]), key
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    with pytest.raises(FileNotFoundError, match="no checkpoint with sharded weights"):
        consolidate(folder / "plain", model, tmp_path / "other")


def test_losses_of_several_processes_are_those_of_one(runs):
    folder, _ = runs

    def losses(name: str) -> list[float]:
        state = json.loads((folder / name / "trainer_state.json").read_text())
        return [entry["loss"] for entry in state["log_history"] if "loss" in entry]

    assert len(losses("one-plain")) == STEPS
    for name in ("two-plain", "four-plain"):
        assert losses(name) == pytest.approx(losses("one-plain"), rel=1e-4)


def test_the_loss_of_each_process_over_its_own_labels(runs):
    """With average_tokens_across_devices=False, as Trainer has it: the mean over processes of their means."""
    folder, codes = runs
    assert codes["two-local"] == [0], log(folder)[-5000:]
    given = (
        ModelArguments(str(folder / "plain")),
        DataArguments(train=[str(folder / "train")], max_seq_length=32, data_cache_dir=str(folder / "cache")),
    )
    setup = prepare(*given, causal=False, seed=3)
    setup.model.train()
    mean = torch.zeros(())
    for rank in range(2):
        batches = list(setup.data.batches(Share(GLOBAL_BATCH // ACCUMULATION // 2, rank, 2), 0, GLOBAL_BATCH))
        labels = sum(count_labels(batch["labels"], causal=False) for batch in batches)
        mean = mean + sum(token_loss(setup.model, setup.model, batch, labels, False) for batch in batches) / 2
    mean.backward()
    norm = torch.stack([parameter.grad.norm() for parameter in setup.model.parameters()]).norm()
    history = json.loads((folder / "two-local" / "trainer_state.json").read_text())["log_history"]
    first = next(entry for entry in history if "loss" in entry)
    assert first["loss"] == pytest.approx(mean.item(), rel=1e-5)
    assert first["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)


def test_evaluation_is_that_of_the_saved_model(runs):
    folder, _ = runs
    results = json.loads((folder / "one-plain" / "all_results.json").read_text())
    model = AutoModelForMaskedLM.from_pretrained(folder / "one-plain")
    tokenizer = AutoTokenizer.from_pretrained(folder / "one-plain")
    bits, sizes = [], []
    for file in sorted((folder / "validation").iterdir()):
        lines = file.read_text().splitlines()
        score = sum(score_masked_lm(model, tokenizer, lines, max_length=32), MaskedLMScore())
        language = file.name.split(".")[0]
        assert results[f"eval_{language}_bits_per_character"] == pytest.approx(score.bits_per_character, rel=1e-5)
        assert results[f"eval_{language}_loss"] == pytest.approx(score.loss, rel=1e-5)
        bits.append(score.bits_per_character)
        sizes.append(sum(map(len, lines)) / sum(len(line.encode()) for line in lines))
    assert results["eval_bits_per_character"] == pytest.approx(sum(bits) / len(bits), rel=1e-5)
    per_byte = sum(bit * size for bit, size in zip(bits, sizes)) / len(bits)
    assert results["eval_bits_per_byte"] == pytest.approx(per_byte, rel=1e-5)
    one, two = (json.loads((folder / name / "all_results.json").read_text()) for name in ("one-plain", "two-plain"))
    assert two["eval_loss"] == pytest.approx(one["eval_loss"], rel=1e-4)


def test_the_best_checkpoint_is_known_and_loads(runs):
    folder, _ = runs
    state = json.loads((folder / "trainer" / "trainer_state.json").read_text())
    by_step = {e["step"]: e["eval_bits_per_character"] for e in state["log_history"] if "eval_loss" in e}
    best = min(by_step, key=by_step.get)
    assert state["best_model_checkpoint"] == str(folder / "trainer" / f"checkpoint-{best}")
    for name in ("trainer", "loop"):  # the checkpoints of both are models, too
        last = weights(folder / name)
        model = AutoModelForMaskedLM.from_pretrained(folder / name / f"checkpoint-{STEPS}")
        for key, tensor in last.items():
            assert torch.equal(model.state_dict()[key], tensor), key
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
        assert model.config.sparse_prediction is False


def test_decoder_with_a_frozen_body(runs):
    folder, codes = runs
    assert codes["clm"] == [0], log(folder)[-5000:]
    start, end = weights(folder / "gpt2"), weights(folder / "clm")
    moved = {key for key in start if not torch.equal(start[key], end[key])}
    assert any(key.endswith("wte.weight") for key in moved) and any("primitives" in key for key in moved)
    first = weights(folder / "clm" / f"checkpoint-{SAVE}")
    assert {key for key in start if not torch.equal(start[key], first[key])} == {
        key for key in start if "wte" in key or "lm_head" in key
    }
    AutoModelForCausalLM.from_pretrained(folder / "clm")


@pytest.mark.parametrize("name", ["nan", "loop-nan"])
def test_a_loss_that_is_no_number_stops_the_run(runs, name: str):
    folder, codes = runs
    assert codes[name] == [1]
    found = log(folder)
    first = SAVE * GLOBAL_BATCH + GLOBAL_BATCH // ACCUMULATION
    message = f"The loss of step {SAVE + 1} is"
    assert message in found and f"samples {first} to {first + 3} (" in found
    assert f"the last checkpoint is {folder / name / f'checkpoint-{SAVE}'}" in found
    assert sorted(path.name for path in (folder / name).glob("checkpoint-*")) == [f"checkpoint-{SAVE}"]


def test_a_full_disk_leaves_the_last_good_checkpoint(runs):
    folder, codes = runs
    assert codes["full"] == [1]
    found = log(folder)
    assert f"Checkpoint checkpoint-{2 * SAVE} could not be written ([Errno 28] No space left on device)" in found
    assert f"The last good one is {folder / 'full' / f'checkpoint-{SAVE}'}" in found
    assert sorted(
        path.name for path in (folder / "full").iterdir() if "checkpoint" in path.name or path.name[0] == "."
    ) == [f"checkpoint-{SAVE}"]
    AutoModelForMaskedLM.from_pretrained(folder / "full" / f"checkpoint-{SAVE}")


def test_every_model_of_the_workspace_was_used(runs):
    assert set(MODELS) == {"dropout", "plain", "gpt2"}
