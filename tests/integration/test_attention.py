"""Attention implementations and gradient checkpointing leave outputs and gradients as they are."""

import pytest
import torch
from tiny_models import LM_HEADS, VOCAB_SIZE, make_config
from tiny_models import REPRESENTATIVES as FAMILIES
from transformers import PreTrainedModel, set_seed


# Transformers before 5.23 leaves out Gemma 2's bound of attention scores in sdpa.
UNSUPPORTED = {("t5", "flex_attention"), ("gemma2", "sdpa")}


def make_model(family: str, attention: str = "eager") -> PreTrainedModel:
    set_seed(0)
    config = make_config(family, initializer_range=0.2)
    return LM_HEADS[family]._from_config(config, attn_implementation=attention)


def padded_batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(4, VOCAB_SIZE, (3, 10), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 7:], mask[2, 4:] = 0, 0
    ids[mask == 0] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def loss_and_gradients(model: PreTrainedModel) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    loss = model(**padded_batch()).loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("attention", ["sdpa", "flex_attention"])
@pytest.mark.parametrize("family", FAMILIES)
def test_attention_implementations_agree(family: str, attention: str):
    stock_class = LM_HEADS[family].dense_class
    if (family, attention) in UNSUPPORTED:
        pytest.skip(
            f"stock {stock_class.__name__} says that it has {attention}, and fails with it, or did in earlier versions"
        )
    supported = {"sdpa": stock_class._supports_sdpa, "flex_attention": stock_class._supports_flex_attn}[attention]
    if not supported:
        pytest.skip(f"stock {stock_class.__name__} has no {attention}")
    batch = padded_batch()
    visible = batch["attention_mask"].bool()
    # Flex attention would compile its kernels, most of a minute each; uncompiled it computes the same.
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        expected = make_model(family).eval()(**batch).logits[visible]
        model = make_model(family, attention).eval()
        actual = model(**batch).logits[visible]
    assert model.config._attn_implementation == attention
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("use_reentrant", [True, False], ids=["reentrant", "not-reentrant"])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing(family: str, use_reentrant: bool):
    if not LM_HEADS[family].supports_gradient_checkpointing or (family == "deberta-v2" and use_reentrant):
        pytest.skip("the stock class has none, or fails with it")
    plain = loss_and_gradients(make_model(family).eval())
    model = make_model(family).eval()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})
    if use_reentrant:
        # Reentrant checkpointing only sees gradients of its inputs; adapters rely on this switch too.
        model.enable_input_require_grads()
    # Layers are recomputed in training mode only; the configurations drop nothing out.
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
    loss, gradients = loss_and_gradients(model)
    torch.testing.assert_close(loss, plain[0])
    assert gradients.keys() == plain[1].keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain[1][name], rtol=1e-4, atol=1e-6)
