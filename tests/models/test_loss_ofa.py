"""The language-modelling loss without logits: alone, in every family, and whatever stands around the projection."""

import threading

import pytest
import torch
from tiny_models import EMBEDDING_SIZE, FAMILY_NAMES, SEQ2SEQ, VOCAB_SIZE, make_batch, make_config, make_model
from torch import nn
from transformers import ModernBertConfig, ModernBertForMaskedLM, Trainer, TrainingArguments

import ofa_transformers as ofa
from ofa_transformers.models import loss_ofa
from ofa_transformers.models.loss_ofa import blocked_cross_entropy


@pytest.mark.parametrize("embedding_size", [None, EMBEDDING_SIZE], ids=["dense", "factorized"])
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_sparse_prediction_gives_the_same_loss_and_gradients(family, embedding_size):
    batch = make_batch()
    plain = make_model(family, embedding_size=embedding_size)
    sparse = make_model(family, embedding_size=embedding_size, sparse_prediction=True)
    expected = plain(**batch)
    output = sparse(**batch, output_hidden_states=True)
    assert (
        output.logits is None and len(output["decoder_hidden_states" if family in SEQ2SEQ else "hidden_states"]) == 3
    )
    torch.testing.assert_close(output.loss, expected.loss)
    torch.testing.assert_close(sparse(**batch, return_dict=False)[0], expected.loss)
    expected.loss.backward()
    output.loss.backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(sparse.get_parameter(name).grad, parameter.grad, rtol=1e-4, atol=1e-6)
    # Without labels, and for inspection, the logits are there.
    labels = batch.pop("labels")
    if family in SEQ2SEQ:
        batch["decoder_input_ids"] = plain.prepare_decoder_input_ids_from_labels(labels)
    torch.testing.assert_close(sparse(**batch).logits, plain(**batch).logits)


def test_sparse_prediction_divides_by_the_items_that_trainer_counts():
    batch = make_batch()
    for family in ("xlm-roberta", "llama"):
        model = make_model(family, sparse_prediction=True)
        labelled = (batch["labels"][:, 1:] if family == "llama" else batch["labels"]) != -100
        total = model(**batch).loss * labelled.sum()
        torch.testing.assert_close(model(**batch, num_items_in_batch=40).loss, total / 40)
        torch.testing.assert_close(model(**batch, num_items_in_batch=torch.tensor(40)).loss, total / 40)


def test_sparse_prediction_without_a_labelled_position_is_zero():
    batch = make_batch()
    batch["labels"].fill_(-100)
    loss = make_model("xlm-roberta", sparse_prediction=True)(**batch).loss
    assert loss == 0
    loss.backward()


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("block_elements", [1, 700, 10**9])
def test_blocked_cross_entropy_equals_the_plain_one(with_bias, softcap, block_elements):
    torch.manual_seed(0)
    hidden, weight, bias = (torch.randn(*shape, requires_grad=True) for shape in ((23, 6), (70, 6), (70,)))
    labels = torch.randint(0, 70, (23,))
    labels[[2, 20]] = -100
    inputs = (hidden, weight, bias) if with_bias else (hidden, weight)
    logits = hidden @ weight.T + (bias if with_bias else 0)
    expected = nn.functional.cross_entropy(softcap * torch.tanh(logits / softcap) if softcap else logits, labels)
    gradients = torch.autograd.grad(3 * expected, inputs)
    options = {"block_elements": block_elements, "softcap": softcap}
    loss = blocked_cross_entropy(hidden, weight, labels, bias if with_bias else None, **options)
    torch.testing.assert_close(loss, expected)
    for ours, plain in zip(torch.autograd.grad(3 * loss, inputs), gradients):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-7)
    with torch.no_grad():
        without_gradients = blocked_cross_entropy(hidden, weight, labels, bias if with_bias else None, **options)
    torch.testing.assert_close(without_gradients, expected)


def test_blocked_cross_entropy_follows_autocast():
    torch.manual_seed(0)
    hidden, weight = torch.randn(40, 16, requires_grad=True), torch.randn(300, 16, requires_grad=True)
    labels = torch.randint(0, 300, (40,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = nn.functional.cross_entropy((hidden @ weight.T).float(), labels)
        loss = blocked_cross_entropy(hidden, weight, labels)
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-3)
    (ours,), (plain,) = torch.autograd.grad(loss, [weight]), torch.autograd.grad(expected, [weight])
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, plain, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("block_elements", [700, 10**9])
def test_blocked_cross_entropy_in_parts_of_the_vocabulary(block_elements, monkeypatch):
    torch.manual_seed(0)
    hidden, weight = torch.randn(23, 6, requires_grad=True), torch.randn(70, 6, requires_grad=True)
    bias, labels = torch.randn(70, requires_grad=True), torch.randint(0, 70, (23,))
    results = []
    for part_elements in (10**9, 6 * 32):
        monkeypatch.setattr(loss_ofa, "_PART_ELEMENTS", part_elements)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = blocked_cross_entropy(hidden, weight, labels, bias, block_elements=block_elements)
        results.append([loss, *torch.autograd.grad(loss, (hidden, weight, bias))])
    for whole, parts in zip(*results):
        assert parts.dtype == torch.float32
        torch.testing.assert_close(parts, whole, rtol=0.02, atol=1e-3)


# ------------------------------------------------------------------------------------------ what stands around the head


@pytest.mark.parametrize("family", ["xlm-roberta", "llama"])
def test_labels_may_be_positional_and_the_call_goes_before_the_configuration(family):
    model, batch = make_model(family), make_batch()
    expected = model(**batch)
    names = ["input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds", "encoder_hidden_states"]
    if family == "llama":
        names = ["input_ids", "attention_mask", "position_ids", "past_key_values", "inputs_embeds"]
    else:
        names.append("encoder_attention_mask")
    arguments = [batch.get(name) for name in names]
    for model.config.sparse_prediction, asked in ((True, None), (False, True)):
        output = model(*arguments, batch["labels"], sparse_prediction=asked)
        assert output.logits is None
        torch.testing.assert_close(output.loss, expected.loss)
    model.config.sparse_prediction = True
    assert model(**batch, sparse_prediction=False).logits is not None
    with pytest.raises(TypeError, match="labels"):
        model(*arguments, batch["labels"], labels=batch["labels"])


def test_a_head_with_two_tasks():
    torch.manual_seed(0)
    model = ofa.OfaBertForPreTraining(make_config("bert")).eval()
    batch = {**make_batch(), "next_sentence_label": torch.tensor([0, 1])}
    expected = model(**batch)
    model.config.sparse_prediction = True
    output = model(**batch)
    assert output.prediction_logits is None and output.loss.dim() == 0
    torch.testing.assert_close(output.loss, expected.loss)
    torch.testing.assert_close(output.seq_relationship_logits, expected.seq_relationship_logits)
    del batch["next_sentence_label"]
    assert model(**batch).prediction_logits is not None  # as the stock class: no loss of one task alone


@pytest.mark.parametrize("family", ["xlm-roberta", "bert", "llama"])
@pytest.mark.parametrize("place", ["projection", "head"])
def test_hooks_see_logits_and_what_they_return_counts(family, place):
    model, batch = make_model(family, sparse_prediction=True), make_batch()
    module = model.get_output_embeddings()
    if place == "head" and model.head_modules():
        module = model.head_modules()[-1]
    seen = []

    def double(module, args, logits):
        seen.append(logits.shape)
        return 2 * logits

    handle = module.register_forward_hook(double)
    expected = model(**batch, sparse_prediction=False).loss
    loss = model(**batch).loss
    labelled = (batch["labels"][:, 1:] if family == "llama" else batch["labels"]) != -100
    assert seen == [(2, 11, VOCAB_SIZE), (labelled.sum(), VOCAB_SIZE)]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    handle.remove()
    torch.testing.assert_close(model(**batch).loss, model(**batch, sparse_prediction=False).loss)


def test_threads_share_a_model():
    """One thread waits in the projection's place, asked for a loss, while the other makes logits."""
    model, batch = make_model("xlm-roberta"), make_batch()
    expected = model(**batch)
    asked, answered = threading.Event(), threading.Event()
    losses = []

    def wait(module, args):
        if threading.current_thread() is not threading.main_thread():
            asked.set()
            assert answered.wait(60)

    model.lm_head.dense.register_forward_pre_hook(wait)
    thread = threading.Thread(target=lambda: losses.append(model(**batch, sparse_prediction=True).loss))
    thread.start()
    assert asked.wait(60)
    logits = model(**batch).logits
    answered.set()
    thread.join(60)
    torch.testing.assert_close(logits, expected.logits)
    torch.testing.assert_close(losses[0], expected.loss)


def test_a_model_within_a_model_keeps_its_own_request():
    outer, inner, batch = make_model("xlm-roberta"), make_model("llama"), make_batch()
    expected, expected_inside = outer(**batch).loss, inner(**batch).loss
    inside = []
    hook = outer.lm_head.dense.register_forward_pre_hook(
        lambda *_: inside.extend(
            [inner(input_ids=batch["input_ids"]).logits, inner(**batch, sparse_prediction=True).loss]
        )
    )
    torch.testing.assert_close(outer(**batch, sparse_prediction=True).loss, expected)
    hook.remove()
    assert inside[0].shape == (2, 11, VOCAB_SIZE)
    torch.testing.assert_close(inside[1], expected_inside)


def test_what_is_no_loss_is_not_returned_as_one():
    model, batch = make_model("xlm-roberta", sparse_prediction=True), make_batch()

    class Away(nn.Module):
        """Puts the rows back, as a projection that doesn't call ours could."""

        def forward(self, hidden):
            return hidden.new_zeros(2, 11, VOCAB_SIZE)

    model.lm_head.decoder = Away()
    model.config.embedding_size = None
    with pytest.raises(RuntimeError, match=r"Away, gave logits of the shape \(2, 11, 120\)"):
        model(**batch)


def test_predictions_that_will_be_empty_are_announced(tmp_path, monkeypatch):
    messages = []
    monkeypatch.setattr(loss_ofa.logger, "warning_once", messages.append)
    model = make_model("xlm-roberta", sparse_prediction=True)
    rows = [{name: value[i] for name, value in make_batch().items()} for i in range(2)]
    trainer = Trainer(
        model, TrainingArguments(tmp_path, report_to="none", use_cpu=True, max_steps=1), train_dataset=rows
    )
    trainer.train()
    assert not messages
    trainer.predict(rows)
    assert "predictions are empty" in messages[0] and "sparse_prediction=False" in messages[0]
    model.config.sparse_prediction = False
    assert trainer.predict(rows).predictions.shape == (2, 11, VOCAB_SIZE)


# ------------------------------------------------------------------------------- the field of that name in stock ModernBERT


def test_the_stock_field_of_that_name_is_neither_read_nor_written(tmp_path):
    model = make_model("modernbert", sparse_prediction=True)
    dense, batch = model.to_dense(), make_batch()
    assert dense.config.sparse_prediction is False
    torch.testing.assert_close(dense(**batch).logits, model(**batch, sparse_prediction=False).logits)
    fields = {name: value for name, value in dense.config.to_dict().items() if name != "sparse_prediction"}
    stock = ModernBertForMaskedLM(ModernBertConfig(**fields, sparse_prediction=True)).eval()
    assert stock(**batch).logits.shape[0] == (batch["labels"] != -100).sum()
    stock.save_pretrained(tmp_path)
    ours = ofa.OfaModernBertForMaskedLM.from_pretrained(tmp_path).eval()
    assert ours.config.sparse_prediction is False
    torch.testing.assert_close(ours(**batch).loss, stock(**batch).loss)
    assert ours(**batch).logits.shape == (2, 11, VOCAB_SIZE)


def test_the_flag_may_change_after_construction():
    model, batch = make_model("modernbert", sparse_prediction=True), make_batch()
    model.config.sparse_prediction = False
    assert model(**batch).logits.shape == (2, 11, VOCAB_SIZE)
