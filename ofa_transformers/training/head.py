"""A language-modelling head that the checkpoint doesn't have: fitted before the run, with the body as it is.

An encoder without one (a sentence encoder, say) gets a head of random weights, whose gradients would undo in the first
steps what the body and the rows know.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from ..initialization.calibration import calibrate_bias
from ..initialization.head_bias import read_target_text
from ..models.embeddings import find_head_bias
from .objective import count_labels, token_loss


if TYPE_CHECKING:
    from .setup import Setup

logger = logging.get_logger(__name__)

# AdamW's for the head alone; steps that the loss is looked at over, and by how much it must fall in these to go on.
_LEARNING_RATE, _WINDOW, _LEAST_GAIN = 2e-3, 20, 0.01
_MOST_STEPS = 200
# Lines of each language that the head is fitted on, samples of a step, and the tokens of a sample.
_LINES, _SAMPLES, _TOKENS = 2000, 8, 128
# Positions of its samples, for their masks; those of the run stay below.
_FIRST = 1 << 61


def missing_head(model: PreTrainedModel, missing: Collection[str], name: str, headless: bool = False) -> list[str]:
    """The parameters of the head that a checkpoint doesn't have.

    Args:
        model: loaded.
        missing: keys that the checkpoint didn't have.
        name: of the checkpoint, for messages.
        headless: the model has no head by intention: all of it is body.

    Raises:
        ValueError: the checkpoint lacks weights of the body: it is incomplete.
    """
    base = model.base_model
    body = {id(parameter) for parameter in base.parameters()} if headless or base is not model else set()
    absent = [key for key in missing if key in dict(model.named_parameters(remove_duplicate=False))]
    parameters = {key: model.get_parameter(key) for key in absent}
    if lost := sorted(key for key, parameter in parameters.items() if id(parameter) in body and "pooler" not in key):
        raise ValueError(
            f"{name} has no weights for {', '.join(lost[:3])}{' and others' * (len(lost) > 3)}: the checkpoint is "
            "incomplete, or its weights have other names than its configuration says. Fetch it again."
        )
    return sorted(key for key, parameter in parameters.items() if id(parameter) not in body)


def fit_head(setup: Setup, seed: int) -> int:
    """Fits the head's missing weights to the text until its loss flattens; everything else stays as it is.

    The head's bias is set by `calibrate_bias` first and last. The same on every process.

    Args:
        setup: whose model is changed in place.
        seed: of samples, masks and dropout.

    Returns:
        The steps that it took.
    """
    model, tokenizer, data = setup.model, setup.tokenizer, setup.data
    lines = {language: list(islice(data.texts[language].lines(), _LINES)) for language in data.schedule.languages}
    text = read_target_text(tokenizer, (line for some in lines.values() for line in some))
    bias = find_head_bias(model)
    if bias is not None:
        bias.data.copy_(text.log_probabilities)
    chosen = {key: model.get_parameter(key) for key in setup.new_weights}
    fitted = {id(parameter): parameter for parameter in chosen.values() if parameter is not bias}
    if not fitted:
        return 0
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    generator = torch.Generator().manual_seed(seed)
    samples = [
        ids[:_TOKENS] for language in data.schedule.languages for ids in data.encoder(lines[language][: _LINES // 4])
    ]
    losses: list[float] = []
    try:
        for parameter, _ in before:
            parameter.requires_grad_(id(parameter) in fitted)
        optimizer = torch.optim.AdamW(list(fitted.values()), lr=_LEARNING_RATE)
        with (
            torch.random.fork_rng(devices=[]),
            logging.tqdm(total=_MOST_STEPS, desc="Fitting the head", unit="step", leave=False) as bar,
        ):
            torch.manual_seed(seed)
            model.train()
            while len(losses) < _MOST_STEPS and not _is_flat(losses):
                drawn = torch.randint(len(samples), (_SAMPLES,), generator=generator).tolist()
                batch = data.collate(
                    [
                        {"input_ids": samples[number], "position": _FIRST + len(losses) * _SAMPLES + place}
                        for place, number in enumerate(drawn)
                    ]
                )
                loss = token_loss(model, model, batch, count_labels(batch["labels"], setup.causal), setup.causal)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.item())
                bar.set_postfix(loss=f"{losses[-1]:.3f}")
                bar.update()
    finally:
        for parameter, trained in before:
            parameter.requires_grad_(trained)
    model.eval()
    calibrate_bias(model, tokenizer, text)
    logger.warning(
        f"The checkpoint has no language-modelling head. A new one was fitted in {len(losses)} steps, with the body as it "
        f"is: loss {losses[0]:.2f} -> {losses[-1]:.2f}."
    )
    return len(losses)


def _is_flat(losses: list[float]) -> bool:
    """Whether the last steps brought hardly anything."""
    if len(losses) < 2 * _WINDOW:
        return False
    last, earlier = (sum(losses[start:][:_WINDOW]) / _WINDOW for start in (-_WINDOW, -2 * _WINDOW))
    return last > (1 - _LEAST_GAIN) * earlier
