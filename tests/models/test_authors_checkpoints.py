"""The checkpoints that the authors of OFA published: their layout, and what their code computes with it."""

import os
from pathlib import Path

import pytest
import torch
from adapted_models import save_in_the_authors_layout
from conftest import REPOSITORY
from safetensors.torch import load_file
from tiny_models import make_config
from transformers import AutoModelForMaskedLM, Trainer, TrainingArguments

import ofa_transformers as ofa


GOLDEN = Path(os.environ.get("OFA_SHARED", REPOSITORY.parent / "shared")) / "golden" / "ckpt"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no outputs of the authors' code at {GOLDEN}")
CASES = ["xlmr_16", "xlmr_full"]

# Gradients by the names of the authors -> ours.
OURS = {
    "roberta.embeddings.primitive_embeddings.weight": "roberta.embeddings.word_embeddings.primitives.weight",
    "roberta.embeddings.target_coordinates.weight": "roberta.embeddings.word_embeddings.weight",
    "lm_head.vocab_project.bias": "lm_head.decoder.bias",
    "lm_head.bias": "lm_head.decoder.bias",
}


def load_golden(case: str) -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / case / "golden_io.safetensors")


def inputs_of(golden: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: golden[name] for name in ("input_ids", "attention_mask", "labels")}


@needs_golden
@pytest.mark.parametrize("sparse", [False, True], ids=["plain", "sparse"])
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_are_those_of_the_authors(case, sparse):
    model, info = ofa.OfaForMaskedLM.from_pretrained(GOLDEN / case / "model", output_loading_info=True)
    assert not any(info.values())  # nothing missing, nothing left over
    model.eval()
    model.config.sparse_prediction = sparse
    golden = load_golden(case)
    output = model(**inputs_of(golden), output_hidden_states=True)
    torch.testing.assert_close(output.loss, golden["loss"].reshape(()), rtol=0, atol=1e-5)
    torch.testing.assert_close(output.hidden_states[0], golden["embedding_output"], rtol=0, atol=1e-5)
    torch.testing.assert_close(output.hidden_states[1], golden["layer1_output"], rtol=0, atol=1e-5)
    torch.testing.assert_close(output.hidden_states[-1], golden["last_hidden_state"], rtol=0, atol=1e-5)
    if not sparse:
        torch.testing.assert_close(output.logits, golden["logits"], rtol=0, atol=1e-5)
        at_labels = output.logits[golden["labels"] != -100]
        torch.testing.assert_close(at_labels, golden["logits_at_labels"], rtol=0, atol=1e-5)
    output.loss.backward()
    gradients = load_file(GOLDEN / case / "golden_grads.safetensors")
    for name, expected in gradients.items():
        name = name.removeprefix("grad.")
        torch.testing.assert_close(model.get_parameter(OURS.get(name, name)).grad, expected, rtol=1e-4, atol=1e-6)


@needs_golden
def test_the_full_size_checkpoint_also_loads_as_the_stock_model():
    golden = load_golden("xlmr_full")
    model = AutoModelForMaskedLM.from_pretrained(GOLDEN / "xlmr_full" / "model").eval()
    torch.testing.assert_close(model(**inputs_of(golden)).logits, golden["logits"], rtol=0, atol=1e-5)


@needs_golden
@pytest.mark.parametrize("case", CASES)
def test_all_heads_load_the_body(case):
    body = ofa.OfaForMaskedLM.from_pretrained(GOLDEN / case / "model").roberta.state_dict()
    for head in ("Model", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering",
                 "ForMultipleChoice", "ForCausalLM"):  # fmt: skip
        model = getattr(ofa, f"Ofa{head}").from_pretrained(GOLDEN / case / "model")
        base = getattr(model, "roberta", model)
        for name, value in body.items():
            torch.testing.assert_close(base.state_dict()[name], value, rtol=0, atol=0)


@needs_golden
def test_a_resumed_run_continues_with_the_weights_of_the_checkpoint(tmp_path):
    """Renamings that Transformers undoes at save once made a resumed run lose its embeddings."""
    golden = load_golden("xlmr_16")
    data = [{name: value[i] for name, value in inputs_of(golden).items()} for i in range(3)] * 4

    def run(model, steps, resume=None):
        arguments = TrainingArguments(
            tmp_path / "run", max_steps=steps, save_steps=2, per_device_train_batch_size=3, learning_rate=1e-3,
            report_to="none", use_cpu=True, seed=0, lr_scheduler_type="constant", disable_tqdm=True,
        )  # fmt: skip
        trainer = Trainer(model, arguments, train_dataset=data)
        trainer.train(resume_from_checkpoint=resume)
        return trainer.model

    trained = run(ofa.OfaForMaskedLM.from_pretrained(GOLDEN / "xlmr_16" / "model"), 4)
    checkpoint = tmp_path / "run" / "checkpoint-2"
    saved = load_file(checkpoint / "model.safetensors")
    assert "roberta.embeddings.word_embeddings.primitives.weight" in saved
    assert not [name for name in saved if "target_coordinates" in name or "vocab_project" in name]
    resumed = run(ofa.OfaForMaskedLM.from_pretrained(checkpoint), 4, str(checkpoint))
    for name, value in trained.named_parameters():
        torch.testing.assert_close(resumed.get_parameter(name), value, rtol=0, atol=0)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_the_published_layout_is_read_and_ours_written(tied, tmp_path, caplog):
    torch.manual_seed(0)
    model = ofa.OfaForMaskedLM(make_config("xlm-roberta", tie_word_embeddings=tied)).eval()
    torch.nn.init.normal_(model.lm_head.decoder.bias)
    save_in_the_authors_layout(model, tmp_path / "theirs")
    loaded, info = ofa.OfaForMaskedLM.from_pretrained(tmp_path / "theirs", output_loading_info=True)
    assert not any(info.values()) and loaded.config.embedding_size == model.config.embedding_size
    assert "You are using a model of type" not in caplog.text
    loaded.save_pretrained(tmp_path / "ours")
    again = AutoModelForMaskedLM.from_pretrained(tmp_path / "ours")
    for name, value in model.named_parameters():
        torch.testing.assert_close(loaded.get_parameter(name), value, rtol=0, atol=0)
        torch.testing.assert_close(again.get_parameter(name), value, rtol=0, atol=0)


@pytest.mark.parametrize("family", ["xlm-roberta", "bert"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_stock_checkpoints_load_unfactorized_with_their_bias(family, tied, tmp_path):
    torch.manual_seed(0)
    ours = {"xlm-roberta": ofa.OfaForMaskedLM, "bert": ofa.OfaBertForMaskedLM}[family]
    stock = ours(make_config(family, embedding_size=None, tie_word_embeddings=tied)).to_dense().eval()
    torch.nn.init.normal_(stock.get_output_embeddings().bias)
    stock.save_pretrained(tmp_path)
    loaded, info = ours.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"]
    ids = torch.arange(5, 15)[None]
    torch.testing.assert_close(loaded.eval()(ids).logits, stock(ids).logits, rtol=0, atol=1e-6)
    head = loaded.lm_head if family == "xlm-roberta" else loaded.cls.predictions
    assert head.bias is head.decoder.bias
