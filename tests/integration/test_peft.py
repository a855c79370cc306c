"""LoRA adapters of PEFT on factorized models."""

from pathlib import Path

import pytest
import torch
from tiny_models import LM_HEADS, VOCAB_SIZE, make_config
from transformers import AutoModelForMaskedLM, AutoModelForTokenClassification, set_seed


peft = pytest.importorskip("peft", reason="PEFT is not installed: pip install ofa-transformers[peft]")

ATTENTION = {"xlm-roberta": ["query", "value"], "bert": ["query", "value"], "llama": ["q_proj", "v_proj"]}


def make_model(family: str, tied: bool = True) -> torch.nn.Module:
    set_seed(0)
    return LM_HEADS[family](make_config(family, tie_word_embeddings=tied))


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(4, VOCAB_SIZE, (4, 9), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}


def train(model: torch.nn.Module, steps: int = 3) -> list[float]:
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    losses = []
    model.train()
    for _ in range(steps):
        loss = model(**batch()).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    return model.eval()(input_ids=batch()["input_ids"]).logits


@pytest.mark.parametrize("targets", ["attention", "all-linear"])
@pytest.mark.parametrize("family", list(ATTENTION))
def test_train_save_load_and_merge(family: str, targets: str, tmp_path: Path):
    base = make_model(family)
    base.save_pretrained(tmp_path / "base")
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    config = peft.LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.0, target_modules=ATTENTION[family] if targets == "attention" else targets
    )
    model = peft.get_peft_model(base, config)
    losses = train(model, steps=8)
    assert losses[-1] < losses[0]
    # Adapters are trained and nothing else.
    for name, tensor in model.get_base_model().state_dict().items():
        if "lora_" not in name:
            assert torch.equal(tensor, before[name.replace(".base_layer", "")]), name

    model.save_pretrained(tmp_path / "adapter")
    auto_class = AutoModelForMaskedLM if family != "llama" else LM_HEADS[family]
    reloaded = peft.PeftModel.from_pretrained(auto_class.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
    torch.testing.assert_close(logits(reloaded), logits(model))

    merged = reloaded.merge_and_unload()
    torch.testing.assert_close(logits(merged), logits(model), rtol=1e-4, atol=1e-5)
    merged.save_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(auto_class.from_pretrained(tmp_path / "merged")), logits(merged))


def test_classification_head_is_trained_and_saved_with_the_adapter(tmp_path: Path):
    make_model("xlm-roberta").save_pretrained(tmp_path / "base")
    labels = {0: "O", 1: "PER", 2: "LOC"}
    base = AutoModelForTokenClassification.from_pretrained(tmp_path / "base", id2label=labels)
    model = peft.get_peft_model(base, peft.LoraConfig(task_type="TOKEN_CLS", r=2, target_modules=["query"]))
    inputs = batch()
    inputs["labels"] = inputs["labels"] % 3
    head = model.base_model.model.classifier.modules_to_save["default"].weight
    before = head.detach().clone()
    model(**inputs).loss.backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    assert not torch.equal(head, before)
    model.save_pretrained(tmp_path / "adapter")
    fresh = AutoModelForTokenClassification.from_pretrained(tmp_path / "base", id2label=labels)
    reloaded = peft.PeftModel.from_pretrained(fresh, tmp_path / "adapter")
    torch.testing.assert_close(logits(reloaded), logits(model))


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_embeddings_trained_in_full_beside_the_adapter(tied: bool, tmp_path: Path):
    """`modules_to_save`: what people do who extend a vocabulary and adapt the body with LoRA."""
    base = make_model("xlm-roberta", tied)
    base.save_pretrained(tmp_path / "base")
    modules = ["word_embeddings", "decoder"]
    config = peft.LoraConfig(r=2, target_modules=["query"], modules_to_save=modules, ensure_weight_tying=tied)
    model = peft.get_peft_model(base, config)
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad and "lora_" not in n}
    assert any("primitives" in name for name in before)
    losses = train(model, steps=8)
    assert losses[-1] < losses[0]
    parameters = dict(model.named_parameters())
    assert all(not torch.equal(parameters[name], tensor) for name, tensor in before.items())
    model.save_pretrained(tmp_path / "adapter")
    reloaded = peft.PeftModel.from_pretrained(
        AutoModelForMaskedLM.from_pretrained(tmp_path / "base"), tmp_path / "adapter"
    )
    torch.testing.assert_close(logits(reloaded), logits(model))
