"""Adapters of PEFT on factorized models: of the body, of the embeddings, and what is refused."""

from pathlib import Path

import pytest
import torch
from tiny_models import (
    EMBEDDING_SIZE,
    FAMILY_NAMES,
    LM_HEADS,
    REPRESENTATIVES,
    SEQ2SEQ,
    VOCAB_SIZE,
    make_config,
    table_width,
)
from transformers import AutoModelForMaskedLM, AutoModelForTokenClassification, set_seed
from transformers.pytorch_utils import Conv1D


peft = pytest.importorskip("peft", reason="PEFT is not installed: pip install ofa-transformers[peft]")

ATTENTION = {"xlm-roberta": ["query", "value"], "bert": ["query", "value"], "llama": ["q_proj", "v_proj"]}


# Every family tied and untied, at a size below the width and at the width; every pair of these for one of each kind.
# Untied, a stock encoder-decoder doesn't use the table that it shows.
CASES = [
    pytest.param(family, tied, size, id=f"{family}-{'tied' if tied else 'untied'}-{size}")
    for family in FAMILY_NAMES
    for tied in (True, False)
    for size in (EMBEDDING_SIZE, table_width(family))
    if (tied or family not in SEQ2SEQ) and (family in REPRESENTATIVES or tied == (size == EMBEDDING_SIZE))
]


def make_model(family: str, tied: bool = True, **changes: object) -> torch.nn.Module:
    set_seed(0)
    return LM_HEADS[family](make_config(family, tie_word_embeddings=tied, **changes))


def name_of(model: torch.nn.Module, wanted: torch.nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is wanted)


def a_linear_layer(model: torch.nn.Module) -> str:
    """The name of a layer in the body, for adapters to have something beside the embeddings."""
    kinds = (torch.nn.Linear, Conv1D)
    head = model.get_output_embeddings()
    return next(name for name, module in model.named_modules() if isinstance(module, kinds) and module is not head)


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(4, VOCAB_SIZE, (4, 9), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}


def train(model: torch.nn.Module, steps: int = 3, dropout: bool = True) -> list[float]:
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    losses = []
    model.train(dropout)
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
    ids = batch()["input_ids"]
    decoder = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    return model.eval()(input_ids=ids, **decoder).logits


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
    losses = train(model, steps=16)
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
    losses = train(model, steps=16)
    assert losses[-1] < losses[0]
    parameters = dict(model.named_parameters())
    assert all(not torch.equal(parameters[name], tensor) for name, tensor in before.items())
    model.save_pretrained(tmp_path / "adapter")
    reloaded = peft.PeftModel.from_pretrained(
        AutoModelForMaskedLM.from_pretrained(tmp_path / "base"), tmp_path / "adapter"
    )
    torch.testing.assert_close(logits(reloaded), logits(model))


def check_the_round_trip(base: torch.nn.Module, config: object, folder: Path) -> torch.nn.Module:
    """Trains an adapter, saves and loads it, merges it, saves and loads what was merged; returns the merged model."""
    base.save_pretrained(folder / "base")
    before = logits(base)
    model = peft.get_peft_model(base, config)
    torch.testing.assert_close(logits(model), before)
    losses = train(model, steps=6, dropout=False)
    assert losses[-1] < losses[0]
    expected = logits(model)
    assert (expected - before).abs().max() > 1e-3
    model.save_pretrained(folder / "adapter")
    # Loaded, and merged without a forward pass before.
    loaded = peft.PeftModel.from_pretrained(type(base).from_pretrained(folder / "base"), folder / "adapter")
    merged = loaded.merge_and_unload()
    merged.save_pretrained(folder / "merged")
    again, info = type(base).from_pretrained(folder / "merged", output_loading_info=True)
    assert not any(info.values())
    loaded = peft.PeftModel.from_pretrained(type(base).from_pretrained(folder / "base"), folder / "adapter")
    for other in (loaded, merged, again, model.merge_and_unload()):
        torch.testing.assert_close(logits(other), expected, rtol=1e-4, atol=1e-5)
    return again


@pytest.mark.parametrize(("family", "tied", "size"), CASES)
def test_single_tokens(family: str, tied: bool, size: int, tmp_path: Path):
    """`trainable_token_indices`: what people use for new tokens."""
    base = make_model(family, tied, embedding_size=size)
    tokens = sorted(set(batch()["input_ids"].flatten().tolist()))[:12]
    old = base.get_input_embeddings().to_dense()
    config = peft.LoraConfig(r=2, target_modules=[a_linear_layer(base)], trainable_token_indices=tokens)
    made = check_the_round_trip(base, config, tmp_path)
    changed = (made.get_input_embeddings().to_dense() != old).any(dim=1).nonzero().flatten().tolist()
    assert changed == tokens
    assert (made.get_input_embeddings().weight is made.get_output_embeddings().weight) == tied
    assert (made.get_input_embeddings().primitives.weight is made.get_output_embeddings().primitives.weight) == tied


@pytest.mark.parametrize("family", REPRESENTATIVES)
def test_single_tokens_alone(family: str, tmp_path: Path):
    check_the_round_trip(make_model(family), peft.TrainableTokensConfig(token_indices=list(range(4, 60))), tmp_path)


@pytest.mark.parametrize(("family", "tied", "size"), CASES)
def test_embeddings_trained_whole(family: str, tied: bool, size: int, tmp_path: Path):
    base = make_model(family, tied, embedding_size=size)
    tables = [base.get_input_embeddings(), base.get_output_embeddings()]
    modules = [name_of(base, table).split(".")[-1] for table in tables]
    config = peft.LoraConfig(
        r=2, target_modules=[a_linear_layer(base)], modules_to_save=modules, ensure_weight_tying=tied
    )
    if family in SEQ2SEQ:
        with pytest.raises(ValueError, match=r"ensure_weight_tying: .* trainable_token_indices"):
            peft.get_peft_model(base, config)(**batch())
        return
    made = check_the_round_trip(base, config, tmp_path)
    if tied and "lm_head" in modules:  # the names by which PEFT knows tied modules
        assert made.config.tie_word_embeddings
        assert made.get_input_embeddings().weight is made.get_output_embeddings().weight


@pytest.mark.parametrize("place", ["input", "output"])
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_adapters_that_add_to_the_product_are_refused(family: str, place: str):
    size = EMBEDDING_SIZE if place == "input" else table_width(family)
    base = make_model(family, tied=False, embedding_size=size)
    table = base.get_input_embeddings() if place == "input" else base.get_output_embeddings()
    model = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=[name_of(base, table)]))
    with pytest.raises(ValueError, match=r"lora\.layer\..* can't adapt factorized embeddings.*modules_to_save"):
        model(**batch())


@pytest.mark.parametrize("family", ["xlm-roberta", "llama"])
@pytest.mark.parametrize("kind", ["tokens", "copies", "lora"])
def test_the_loss_without_logits_is_that_of_the_adapted_projection(family: str, kind: str):
    """Once returned logits as the loss."""
    base = make_model(family, embedding_size=None if kind == "lora" else EMBEDDING_SIZE)
    output = name_of(base, base.get_output_embeddings())
    config = {
        "tokens": peft.LoraConfig(r=2, target_modules=[a_linear_layer(base)], trainable_token_indices=[5, 6, 7]),
        "copies": peft.LoraConfig(r=2, target_modules=[a_linear_layer(base)], modules_to_save=[output.split(".")[-1]]),
        "lora": peft.LoraConfig(r=2, target_modules=[output], init_lora_weights=False),
    }[kind]
    model = peft.get_peft_model(base, config)
    train(model, steps=1)
    expected = model(**batch(), sparse_prediction=False)
    base.config.sparse_prediction = True
    output = model(**batch())
    assert output.logits is None and output.loss.dim() == 0
    torch.testing.assert_close(output.loss, expected.loss)
    trained = [p for p in model.parameters() if p.requires_grad]
    for ours, plain in zip(torch.autograd.grad(output.loss, trained), torch.autograd.grad(expected.loss, trained)):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-6)
    with model.disable_adapter():
        torch.testing.assert_close(model(**batch()).loss, model(**batch(), sparse_prediction=False).loss)
