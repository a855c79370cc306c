"""That a device computes what the CPU does: one function a check, which returns figures and raises where they are wrong.

All of it is tiny; `device` may be the CPU itself, which is how these functions are kept from rotting.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_models import DECODERS, FAMILY_NAMES, REPRESENTATIVES, make_batch, make_model, without_labels
from torch.nn import functional as F
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel

from ofa_transformers import OfaInitializer, WordVectors
from ofa_transformers.models.factorization import factorize
from ofa_transformers.models.loss_ofa import blocked_cross_entropy
from ofa_transformers.tokenization import train_tokenizer
from ofa_transformers.utils.search import nearest_neighbors


# What the demo ships, read without the demo, which trains and so needs more.
DEMO = Path(__file__).resolve().parents[2] / "ofa_transformers" / "demo"
SEED_MODEL = DEMO / "seed_model"
HALVES = (torch.bfloat16, torch.float16)
DTYPES = (torch.float32, *HALVES)
CHECKS: dict[str, Callable[[str], dict[str, Any]]] = {}


def text_of(*languages: str) -> dict[str, dict[str, str]]:
    """language_Script -> segment id -> text."""
    files = {language: DEMO / "data" / f"{language}.tsv" for language in languages}
    return {
        language: dict(line.split("\t", 1) for line in path.read_text(encoding="utf-8").splitlines())
        for language, path in files.items()
    }


class NotHere(Exception):
    """A check that this machine can't make; says why."""


def check(function: Callable[[str], dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    CHECKS[function.__name__] = function
    return function


def difference(found: torch.Tensor, expected: torch.Tensor, limit: float) -> float:
    """The largest difference, as a share of the largest value; raises AssertionError above `limit`."""
    found, expected = (tensor.detach().cpu().double() for tensor in (found, expected))
    assert found.shape == expected.shape, f"{tuple(found.shape)} instead of {tuple(expected.shape)}"
    value = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
    assert value <= limit, f"differs by {value:.2g} of the largest, by {limit:g} at most it should"
    return value


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether float32 products may be rounded to TF32, whatever the program has chosen."""
    backend = torch.backends.cuda.matmul
    # PyTorch 2.9 and later; before there was one switch.
    name, value = (
        ("fp32_precision", "tf32" if allowed else "ieee")
        if hasattr(backend, "fp32_precision")
        else ("allow_tf32", allowed)
    )
    before = getattr(backend, name)
    setattr(backend, name, value)
    try:
        yield
    finally:
        setattr(backend, name, before)


def decaying(rows: int, columns: int) -> torch.Tensor:
    """A matrix whose singular values fall like those of embeddings."""
    draws = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(columns, columns, generator=draws))[0]
    return torch.randn(rows, columns, generator=draws) @ (torch.arange(1, columns + 1) ** -0.7)[:, None].mul(rotation)


@check
def neighbours(device: str) -> dict[str, Any]:
    """Neighbours and cosines are the CPU's to the last bit, ties by lower id, whether TF32 is allowed or not."""
    draws = np.random.default_rng(0)
    candidates = draws.normal(size=(5000, 48)).astype(np.float32)
    candidates[1::2] = candidates[::2]  # each twice
    queries = draws.normal(size=(700, 48)).astype(np.float32)
    expected = nearest_neighbors(queries, candidates, 10, device="cpu")
    for allowed in (False, True):
        with tf32(allowed):
            found = nearest_neighbors(queries, candidates, 10, device=device)
        assert all(np.array_equal(*pair) for pair in zip(found, expected)), f"TF32 {allowed}: other neighbours"
    return {"queries": len(queries), "candidates": len(candidates)}


@check
def factors(device: str) -> dict[str, Any]:
    """Both factors are the CPU's to 1e-5; halves lose nothing, since they are factorized in float64."""
    largest = 0.0
    for dtype in DTYPES:
        matrix = decaying(3000, 48).to(dtype)
        expected = factorize(matrix.float(), 12)
        for allowed in (False, True):
            with tf32(allowed):
                found = factorize(matrix.to(device), 12)
            assert all(part.dtype == torch.float32 and part.device.type == device for part in found)
            largest = max(largest, *(difference(a, b, 1e-5) for a, b in zip(found, expected)))
    # Of lower rank than asked for: another way, by QR.
    matrix = decaying(300, 8) @ torch.randn(8, 48, generator=torch.Generator().manual_seed(1))
    coordinates, primitives = factorize(matrix.to(device), 12)
    largest = max(largest, difference(coordinates @ primitives, matrix, 1e-5))
    return {"largest_difference": largest}


def adaptation() -> dict[str, Any]:
    """A source, a target tokenizer and word vectors of three languages, of what the package ships."""
    text = text_of("eng_Latn", "deu_Latn", "swh_Latn")
    tokenizer = train_tokenizer({name: list(lines.values()) for name, lines in text.items()}, 400, algorithm="bpe")
    pairs = {name.partition("_")[0]: list(lines.items()) for name, lines in text.items()}
    return {
        "source_tokenizer": AutoTokenizer.from_pretrained(SEED_MODEL),
        "target_tokenizer": tokenizer,
        "word_vectors": WordVectors.from_parallel(pairs, dim=16),
        "source_languages": ["eng"],
    }


def mapping(device: str, dtypes: tuple[torch.dtype, ...] = DTYPES) -> dict[str, Any]:
    """A source on the device gives a result on the device: the same mapping, kinds and factors as on the CPU."""
    inputs = adaptation()
    largest = {}
    for dtype in dtypes:
        for size in (None, 16):
            made = []
            for place in ("cpu", device):
                source = AutoModelForMaskedLM.from_pretrained(SEED_MODEL, dtype=dtype).to(place)
                made.append(OfaInitializer.from_pretrained(source, embedding_size=size, device=place, **inputs))
                assert source.device.type == made[-1].model.device.type == torch.device(place).type
                assert made[-1].model.dtype == source.dtype == dtype
            ours, theirs = (one.mapping for one in made)
            assert np.array_equal(ours.kinds, theirs.kinds)
            assert np.array_equal(ours.weights.indices, theirs.weights.indices)
            np.testing.assert_allclose(theirs.weights.data, ours.weights.data, atol=1e-5)
            tables = [one.model.get_input_embeddings() for one in made]
            limit = 1e-5 if dtype == torch.float32 else 2 * torch.finfo(dtype).eps  # rounded to it at the end
            found = [difference(tables[1].weight, tables[0].weight, limit)]
            if size is not None:
                found.append(difference(tables[1].primitives.weight, tables[0].primitives.weight, limit))
                dense = made[1].model.to_dense()
                assert dense.device.type == torch.device(device).type
            found.append(difference(made[1].model.lm_head.decoder.bias, made[0].model.lm_head.decoder.bias, limit))
            largest[f"{dtype}".removeprefix("torch.") + f", {size or 'full'}"] = max(found)
    return {"tokens": ours.shape[0], "largest_difference": max(largest.values()), "by_precision_and_size": largest}


CHECKS["mapping"] = mapping


def gradients(model: PreTrainedModel, batch: dict[str, torch.Tensor], **options: Any) -> tuple[torch.Tensor, dict]:
    model.zero_grad()
    loss = model(**batch, **options).loss
    loss.backward()
    return loss, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def models(device: str, families: tuple[str, ...] = FAMILY_NAMES) -> dict[str, Any]:
    """Logits, loss and gradients of every family are the CPU's; half precision, dense form, resizing and generation run."""
    largest = 0.0
    for family in families:
        model, batch = make_model(family), make_batch()
        place = {name: tensor.to(device) for name, tensor in batch.items()}
        moved = make_model(family).to(device)
        with torch.no_grad():
            inputs = without_labels(model, batch)
            expected = model(**inputs).logits
            inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
            largest = max(largest, difference(moved(**inputs).logits, expected, 1e-4))
            largest = max(largest, difference(moved.to_dense()(**inputs).logits, expected, 1e-4))
        loss, expected_gradients = gradients(model, batch)
        for sparse in (False, True):
            found, own = gradients(moved, place, sparse_prediction=sparse)
            largest = max(largest, difference(found, loss, 1e-5))
            for name, gradient in expected_gradients.items():
                # Those that are nothing but rounding, the keys' biases, have no digits to compare.
                scale = max(float(gradient.abs().max()), 1e-3)
                assert float((own[name].cpu() - gradient).abs().max()) <= 1e-4 * scale, f"{family}: {name}"
        if family in DECODERS:
            ids = place["input_ids"][:, :4]
            # No cache of fixed size, and no choice by chance.
            assert moved.generate(input_ids=ids, max_new_tokens=2, do_sample=False).shape[1] > 4
        moved.resize_token_embeddings(model.config.vocab_size + 3, mean_resizing=False)
        assert moved.get_input_embeddings().weight.device.type == torch.device(device).type
        half = make_model(family).to(device, torch.bfloat16)
        assert torch.isfinite(half(**place, sparse_prediction=True).loss)
    return {"families": len(families), "largest_difference": largest}


CHECKS["models"] = models


@check
def loss(device: str) -> dict[str, Any]:
    """The blocked loss and its gradients are the plain ones: float32, and halves by autocast; with bias and soft cap."""
    draws = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(90, 24, generator=draws), torch.randn(800, 24, generator=draws)
    bias = torch.randn(800, generator=draws)
    labels = torch.randint(800, (90,), generator=draws).masked_fill(torch.arange(90) % 4 == 0, -100).to(device)
    largest = {}
    for dtype in DTYPES:
        if dtype == torch.float16 and device == "cpu":
            continue  # products of it are made on GPUs
        for softcap in (None, 5.0):
            results = []
            for blocked in (False, True):
                parts = [part.to(device).requires_grad_() for part in (hidden, weight, bias)]
                with torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32):
                    if blocked:
                        value = blocked_cross_entropy(
                            parts[0], parts[1], labels, parts[2], block_elements=20_000, softcap=softcap
                        )
                    else:
                        logits = F.linear(*parts).float()
                        logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
                        value = F.cross_entropy(logits, labels)
                value.backward()
                results.append([value, *(part.grad for part in parts)])
            limit = 1e-5 if dtype == torch.float32 else 3e-2
            worst = max(difference(b, a, limit) for a, b in zip(*results))
            largest[f"{dtype}".removeprefix("torch.") + (", capped" if softcap else "")] = worst
    return {"largest_difference": largest["float32"], "by_precision": largest}


@check
def compiled(device: str) -> dict[str, Any]:
    """`torch.compile`: the whole forward pass is one graph, and a training step gives the same gradients."""
    on_cpu = device != "cuda"
    backend, smaller = ("aot_eager", {"num_hidden_layers": 1}) if on_cpu else ("inductor", {})
    largest = 0.0
    for sparse in (True,) if on_cpu else (False, True):
        torch._dynamo.reset()
        model, other = (make_model("xlm-roberta", sparse_prediction=sparse, **smaller).to(device) for _ in range(2))
        batch = {name: tensor.to(device) for name, tensor in make_batch().items()}
        loss, expected = gradients(model, batch)
        found, own = gradients(torch.compile(other, backend=backend), batch)
        largest = max(largest, difference(found, loss, 1e-4))
        for name, gradient in expected.items():
            gap = float((own[f"_orig_mod.{name}"] - gradient).abs().max())
            assert gap <= 1e-4 * max(float(gradient.abs().max()), 1e-3), f"{name}: {gap:.2g}"
    torch._dynamo.reset()
    return {"backend": backend, "largest_difference": largest}


@check
def resume(device: str) -> dict[str, Any]:
    """Continued pretraining in bfloat16 that goes on from a checkpoint ends with the same bits as without a break."""
    needed = [name for name in ("accelerate", "datasets") if importlib.util.find_spec(name) is None]
    if needed:
        raise NotHere(f"needs {' and '.join(needed)}")
    import shutil

    from safetensors.torch import load_file

    from ofa_transformers.training import DataArguments, ModelArguments, PretrainingArguments, pretrain

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train").mkdir()
        for language, lines in text_of("deu_Latn").items():
            (folder / "train" / f"{language}.txt").write_text("\n".join(lines.values()) + "\n", encoding="utf-8")

        def train(output: Path) -> dict[str, torch.Tensor]:
            data = DataArguments(
                train=[str(folder / "train")], max_seq_length=32, data_cache_dir=str(folder / "cache")
            )
            options = {"report_to": "none", "disable_tqdm": True, "learning_rate": 1e-3, "bf16": True}
            options |= {"max_steps": 4, "save_steps": 2, "per_device_train_batch_size": 4, "use_cpu": device == "cpu"}
            pretrain(ModelArguments(str(SEED_MODEL)), data, PretrainingArguments(output_dir=str(output), **options))
            return load_file(output / "model.safetensors")

        whole = train(folder / "whole")
        shutil.copytree(folder / "whole" / "checkpoint-2", folder / "half" / "checkpoint-2")
        resumed = train(folder / "half")
    assert whole.keys() == resumed.keys()
    others = [name for name, tensor in whole.items() if not torch.equal(tensor, resumed[name])]
    assert not others, f"other bits: {', '.join(others[:3])}"
    return {"tensors": len(whole)}


# The same with less to do.
TINY = {
    "mapping": lambda device: mapping(device, (torch.bfloat16,)),
    "models": lambda device: models(device, REPRESENTATIVES[:2]),
}
