"""PretrainingTrainer and its parts in this process: parameter groups, loss, resuming, errors before the work starts."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import LM_HEADS, make_config
from transformers import get_scheduler


pytest.importorskip("datasets")

from ofa_transformers.training import (
    DataArguments,
    ModelArguments,
    PretrainingArguments,
    PretrainingTrainer,
    prepare,
    pretrain,
)
from ofa_transformers.training.arguments import CHECKPOINTING_ARGUMENT
from ofa_transformers.training.checkpoints import last_checkpoint, new_checkpoint
from ofa_transformers.training.objective import count_labels, token_loss
from ofa_transformers.training.optimization import delay_body, parameter_groups

from .workspace import make_workspace


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trainer")
    make_workspace(folder)
    return folder


def arguments(folder: Path, output: Path, model: str = "plain", **changes):
    data = {key: changes.pop(key) for key in ("max_seq_length", "sampling_sizes", "validation") if key in changes}
    data = {"max_seq_length": 32, "data_cache_dir": str(folder / "cache"), **data}
    training = {
        "output_dir": str(output), "max_steps": 4, "save_steps": 2, "per_device_train_batch_size": 4, "use_cpu": True,
        "report_to": "none", "disable_tqdm": True, "learning_rate": 1e-2,
    }  # fmt: skip
    tokenizer = changes.pop("tokenizer_name", None)
    return (
        ModelArguments(str(folder / model), tokenizer_name=tokenizer),
        DataArguments(train=[str(folder / "train")], **data),
        PretrainingArguments(**(training | changes)),
    )


@pytest.mark.parametrize("family", ["xlm-roberta", "gpt2", "llama"])
@pytest.mark.parametrize("dense", [False, True], ids=["ofa", "stock"])
def test_loss_is_the_mean_over_labels_however_the_batch_is_cut(family: str, dense: bool):
    torch.manual_seed(3)
    model = LM_HEADS[family](make_config(family, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).eval()
    model = model.to_dense() if dense else model
    causal = family != "xlm-roberta"
    ids = torch.randint(3, 120, (6, 10))
    labels = ids.masked_fill(torch.rand(ids.shape) < 0.7, -100)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    expected = model(**batch).loss
    expected.backward()
    gradients = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    model.zero_grad()
    total = count_labels(labels, causal)
    parts = [{name: tensor[rows] for name, tensor in batch.items()} for rows in (slice(0, 1), slice(1, 6))]
    losses = [token_loss(model, model, part, total, causal) for part in parts]
    assert sum(losses).item() == pytest.approx(expected.item(), rel=1e-5)
    sum(losses).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6)
    assert getattr(model.config, "sparse_prediction", False) is False


def test_parameter_groups():
    model = LM_HEADS["xlm-roberta"](make_config("xlm-roberta"))
    decayed = [name for name, parameter in model.named_parameters() if parameter.dim() > 1]
    options = {
        "learning_rate": 1e-4,
        "weight_decay": 0.1,
        "embedding_learning_rate": 1e-3,
        "embedding_weight_decay": 0.0,
    }
    groups = parameter_groups(model, decayed, **options)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    table = {(group["name"], group["weight_decay"]): group for group in groups}
    assert {key: group["lr"] for key, group in table.items()} == {
        ("body", 0.1): 1e-4, ("body", 0.0): 1e-4, ("embeddings", 0.0): 1e-3,
    }  # fmt: skip
    own = [p for group in groups if group["name"] == "embeddings" for p in group["params"]]
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert {id(p) for p in own} == {id(embeddings.weight), id(embeddings.primitives.weight), id(head.bias)}
    default = parameter_groups(model, decayed, learning_rate=1e-4, weight_decay=0.1)
    assert {group["lr"] for group in default} == {1e-4}


def test_body_starts_later():
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    groups = [{"params": parameters[:1], "name": "body"}, {"params": parameters[1:], "name": "embeddings", "lr": 2.0}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    scheduler = get_scheduler("linear", optimizer, 0, 10)
    delay_body(scheduler, 3, warmup_steps=2)
    rates = []
    for _ in range(6):
        rates.append([round(group["lr"], 6) for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    assert [embeddings for _, embeddings in rates] == [2.0, 1.8, 1.6, 1.4, 1.2, 1.0]
    assert [body for body, _ in rates] == [0, 0, 0, 0.35, 0.6, 0.5]
    with pytest.raises(ValueError, match="freeze_body_steps needs one of the schedules"):
        delay_body(torch.optim.lr_scheduler.StepLR(optimizer, 1), 3)


def test_resuming_with_another_batch_size_goes_on_in_the_data(folder, tmp_path):
    pretrain(*arguments(folder, tmp_path / "out", max_steps=2))
    setup_arguments = arguments(folder, tmp_path / "out", max_steps=4, per_device_train_batch_size=2)
    pretrain(*setup_arguments)
    states = [json.loads((tmp_path / "out" / f"checkpoint-{step}" / "data_state.json").read_text()) for step in (2, 4)]
    assert [state["position"] for state in states] == [8, 8 + 4]
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert history["global_step"] == 4 and history["epoch"] == 1


def test_resuming_a_finished_run_changes_nothing(folder, tmp_path):
    pretrain(*arguments(folder, tmp_path / "out", max_steps=2))
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    pretrain(*arguments(folder, tmp_path / "out", max_steps=2))
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before


def test_a_checkpoint_of_another_shape(folder, tmp_path):
    pretrain(*arguments(folder, tmp_path / "out", max_steps=2))
    for changes, message in (
        ({"vocab_size": 500}, r"checkpoint-2 holds \S+ of shape \(18\d.*\), but the model's is of shape \(500"),
        ({"vocab_size": 184, "num_hidden_layers": 3}, r"checkpoint-2 has no \S+\.layer\.2\.\S+, but the model's"),
    ):
        LM_HEADS["xlm-roberta"](make_config("xlm-roberta", **changes)).save_pretrained(tmp_path / "other")
        given = arguments(folder, tmp_path / "out", tokenizer_name=str(folder / "plain"))
        given[0].model_name_or_path = str(tmp_path / "other")
        with pytest.raises(ValueError, match=message):
            pretrain(*given)


def test_a_checkpoint_of_another_kind(folder, tmp_path):
    with pytest.raises(ValueError, match=r"has no data_state.json"):
        pretrain(*arguments(folder, tmp_path / "out", resume_from_checkpoint=str(folder / "plain")))
    with pytest.raises(FileExistsError, match="holds a model, but no checkpoint"):
        pretrain(*arguments(folder, folder / "plain"))


def test_an_unfinished_checkpoint_is_none(tmp_path):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    with new_checkpoint(tmp_path, 5, accelerator) as written:
        (written / "file").write_text("x")
        assert last_checkpoint(tmp_path) is None
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
    (tmp_path / ".saving" / "checkpoint-6").mkdir(parents=True)  # what a killed run leaves
    message = r"checkpoint-7 could not be written \(full\).*last good one is .*checkpoint-5"
    with pytest.raises(OSError, match=message), new_checkpoint(tmp_path, 7, accelerator):
        raise OSError("full")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]
    with new_checkpoint(tmp_path, 5, accelerator) as written:  # again, in place of the first
        (written / "file").write_text("y")
    assert (tmp_path / "checkpoint-5" / "file").read_text() == "y"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_steps": -1}, "give a positive number of steps"),
        ({"max_seq_length": 100}, "max_seq_length=100, but .* take at most 62 tokens"),
        ({"tokenizer_name": "gpt2"}, "ids go up to .* but the model has embeddings for"),
        ({"sampling_sizes": "sizes.json"}, "has no size for swh_Latn, zho"),
        ({"validation": ["none.txt"]}, "none.txt is not a file"),
    ],
)
def test_bad_arguments(folder, tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sizes.json").write_text('{"deu": 3}')
    if "tokenizer_name" in changes:
        changes = {"tokenizer_name": str(folder / changes["tokenizer_name"])}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        pretrain(*arguments(folder, tmp_path / "out", **changes))
    assert not list((tmp_path).glob("out/*"))


def test_padding_that_does_not_fit(folder, tmp_path, tiny_tokenizers):
    tokenizer = tiny_tokenizers["wordpiece"]  # pads with 0
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    model = LM_HEADS["xlm-roberta"](make_config("xlm-roberta", vocab_size=500))
    model.save_pretrained(tmp_path / "model")
    model_arguments, data_arguments, _ = arguments(folder, tmp_path, tokenizer_name=str(tmp_path / "tokenizer"))
    model_arguments.model_name_or_path = str(tmp_path / "model")
    with pytest.raises(ValueError, match="it pads with token 0, but the model with 1"):
        prepare(model_arguments, data_arguments, causal=False, seed=0)


@pytest.fixture
def bfloat16(monkeypatch):
    """As if this processor multiplied it: it can, slowly."""
    monkeypatch.setattr("ofa_transformers.utils.precision.cpu_multiplies_bfloat16", lambda: True)


def test_what_reaches_the_loader_and_the_samples(folder, tmp_path):
    options = {
        "dataloader_num_workers": 1, "dataloader_prefetch_factor": 3, "dataloader_persistent_workers": True,
        "dataloader_multiprocessing_context": "fork", "data_seed": 5, "seed": 9,
    }  # fmt: skip
    given = arguments(folder, tmp_path / "out", **options)
    assert given[2].sample_seed == 5 and arguments(folder, tmp_path, seed=9)[2].sample_seed == 9
    setup = prepare(*given[:2], causal=False, seed=given[2].sample_seed, loader_options=given[2].loader_options)
    loader = PretrainingTrainer(setup, given[2]).get_train_dataloader().loader
    assert (loader.num_workers, loader.prefetch_factor, loader.persistent_workers) == (1, 3, True)
    assert loader.multiprocessing_context.get_start_method() == "fork" and not loader.pin_memory


def test_the_samples_have_their_seed_and_dropout_another(folder, tmp_path):
    """As positions and masks are `data_seed`'s, it changes a run as `seed` would, were it for the samples alone."""

    def weights(name: str, **seeds: int) -> bytes:
        pretrain(*arguments(folder, tmp_path / name, "plain", save_strategy="no", **seeds))  # without dropout
        return (tmp_path / name / "model.safetensors").read_bytes()

    assert weights("a", seed=5) == weights("b", seed=6, data_seed=5) != weights("c", seed=5, data_seed=6)


def test_trainers_pinned_memory_is_for_accelerators(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    options = PretrainingArguments(output_dir=str(tmp_path), dataloader_pin_memory=False).loader_options
    assert options["pin_memory"] is False
    assert PretrainingArguments(output_dir=str(tmp_path)).loader_options["pin_memory"] is True


def test_a_compiled_model_trains_and_is_saved_as_any(folder, tmp_path):
    saved = []
    for name, options in (("plain", {}), ("compiled", {"torch_compile": True, "torch_compile_backend": "eager"})):
        pretrain(*arguments(folder, tmp_path / name, "plain", max_steps=2, **options))
        saved.append(load_file(tmp_path / name / "model.safetensors"))
    assert saved[0].keys() == saved[1].keys()
    for key, tensor in saved[0].items():
        torch.testing.assert_close(saved[1][key], tensor, rtol=1e-5, atol=1e-6)


def test_optimizers_that_group_parameters_by_themselves(folder, tmp_path, monkeypatch):
    class Other(torch.optim.SGD):
        __module__ = "elsewhere"

    monkeypatch.setattr(
        PretrainingTrainer, "get_optimizer_cls_and_kwargs", lambda *_: (Other, {"lr": 0.1, "params": []})
    )
    given = arguments(folder, tmp_path / "out", embedding_learning_rate=1e-3)
    setup = prepare(*given[:2], causal=False, seed=0)
    with pytest.raises(ValueError, match=r"groups parameters by itself.*embedding_learning_rate"):
        PretrainingTrainer(setup, given[2]).create_optimizer()


def test_evaluation_has_the_precision_of_training(folder, tmp_path, bfloat16):
    given = arguments(folder, tmp_path / "out", max_steps=1, bf16=True, validation=[str(folder / "validation")])
    setup = prepare(*given[:2], causal=False, seed=0)
    trainer = PretrainingTrainer(setup, given[2])
    seen = []
    layer = next(module for module in setup.model.modules() if isinstance(module, torch.nn.Linear))
    layer.register_forward_hook(lambda module, _, output: seen.append((module.training, output.dtype)))
    trainer.evaluate()
    trainer.train()
    trainer.evaluate()
    assert set(seen) == {(False, torch.bfloat16), (True, torch.bfloat16)}


def test_learning_with_all_options(folder, tmp_path, bfloat16):
    """bfloat16, gradient checkpointing, accumulation, own rates: the loss falls, and both factors move."""
    given = arguments(
        folder, tmp_path / "out", max_steps=30, bf16=True, gradient_accumulation_steps=2,
        embedding_learning_rate=3e-2, freeze_body_steps=5, save_strategy="no", logging_steps=1,
        validation=[str(folder / "validation")], weight_decay=0.01,
        **{CHECKPOINTING_ARGUMENT: True},
    )  # fmt: skip
    model_arguments, data_arguments, training_arguments = given
    setup = prepare(model_arguments, data_arguments, causal=False, seed=0)
    trainer = PretrainingTrainer(setup, training_arguments)
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_loss"] < before["eval_loss"] - 0.3
    assert after["eval_bits_per_byte"] < after["eval_bits_per_character"] < before["eval_bits_per_character"]
    assert math.isfinite(after["eval_deu_loss"])
    assert {parameter.dtype for parameter in setup.model.parameters()} == {torch.float32}
