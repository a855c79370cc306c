"""A plain accelerate loop in this process: train, save the state, load it again, train on."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from ofa_transformers import OfaForMaskedLM

from .workload import GLOBAL_BATCH_SIZE, LEARNING_RATE, MaskedSequences, assert_tied, make_model


STEPS = 6


def train(steps: range, tied: bool, state_in: Path | None = None, state_out: Path | None = None) -> OfaForMaskedLM:
    accelerator = Accelerator(cpu=True)
    model = make_model(tied=tied)
    loader = DataLoader(MaskedSequences(STEPS * GLOBAL_BATCH_SIZE), batch_size=GLOBAL_BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=STEPS)
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
    if state_in:
        accelerator.load_state(str(state_in))
    model.train()
    for batch in accelerator.skip_first_batches(loader, steps.start):
        if steps.start == steps.stop:
            break
        accelerator.backward(model(**batch).loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        steps = range(steps.start + 1, steps.stop)
    if state_out:
        accelerator.save_state(str(state_out))
    return accelerator.unwrap_model(model)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_save_state_and_load_state(tied: bool, tmp_path: Path):
    uninterrupted = train(range(STEPS), tied)
    before = make_model(tied=tied).state_dict()
    train(range(3), tied, state_out=tmp_path / "state")
    resumed = train(range(3, STEPS), tied, state_in=tmp_path / "state")

    assert resumed.state_dict().keys() == uninterrupted.state_dict().keys()
    for name, tensor in uninterrupted.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=0)
    # Both factors were trained, and stayed shared where they are tied.
    for name in ("weight", "primitives.weight"):
        key = f"roberta.embeddings.word_embeddings.{name}"
        assert not torch.equal(uninterrupted.state_dict()[key], before[key])
    if tied:
        assert_tied(resumed)

    resumed.save_pretrained(tmp_path / "model")
    reloaded = OfaForMaskedLM.from_pretrained(tmp_path / "model")
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(reloaded.state_dict()[name], tensor), name


def test_sparse_prediction_trains_to_the_same_weights():
    """The loss at labelled positions only is the loss of the full logits, so training with it is the same."""

    def weights(sparse_prediction: bool) -> dict[str, torch.Tensor]:
        model = make_model(sparse_prediction=sparse_prediction)
        # Plain gradient descent keeps differences in proportion to those of the gradients.
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for batch in DataLoader(MaskedSequences(3 * GLOBAL_BATCH_SIZE), batch_size=GLOBAL_BATCH_SIZE):
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return model.state_dict()

    full, sparse = weights(False), weights(True)
    for name, tensor in full.items():
        torch.testing.assert_close(sparse[name], tensor, rtol=1e-4, atol=1e-6)
