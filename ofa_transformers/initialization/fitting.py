"""Rows fitted to what the source made of the same text: token distillation (Dobler et al., 2025, arXiv 2505.20133)."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..scoring.batching import evaluation_mode
from ..scoring.sentences import hidden_states_at
from .frozen_body import draw_batches, frozen, minimize
from .inputs import Inputs, Source
from .mapping.token_mapping import TokenMapping
from .methods.fitted import FitSettings
from .rows import TargetRows
from .run import Run
from .settings import InitializationSettings
from .source_states import SourceStates, StateDistance, read_states


logger = logging.get_logger(__name__)


def states_to_fit(inputs: Inputs, source: Source, settings: InitializationSettings, run: Run) -> SourceStates | None:
    """What rows are to be fitted to; None if the method fits nothing. Errors are those of `read_states`."""
    chosen = FitSettings.of(settings)
    if chosen is None:
        return None
    number = chosen.steps * chosen.batch_size
    options = {"layer": chosen.layer, "own": chosen.own_states}
    with run("fitting"):
        return run.once("states", lambda: read_states(inputs, source.model, number, settings.seed, **options))


def fit_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    mapping: TokenMapping,
    made: TargetRows,
    states: SourceStates | None,
    settings: InitializationSettings,
    run: Run,
) -> None:
    """Fits the model's new rows, in place in `model` and `made`, so that its states are the source's; nothing without states.

    The loss is the squared distance of the means over segments, and over whole lines, from the source's, each as a
    share of their variance. Copied and special rows, rows of tokens that the text lacks, primitives and body stay. On
    another number of threads the last digits may differ.
    """
    if states is None:
        return
    chosen = FitSettings.of(settings)
    with run("fitting"):
        occurring = np.zeros(mapping.shape[0], dtype=bool)
        occurring[np.unique(states.ids.numbers)] = True
        new = np.flatnonzero(occurring & mapping.new)
        if not len(new):
            logger.warning("Nothing is fitted: no new token occurs in the lines.")
            return
        table = model.get_input_embeddings().weight
        fitted = _fitted(model, tokenizer, torch.from_numpy(new), states, chosen, settings.seed)
        with torch.no_grad():
            for weight in (table.data, made.rows["input"]):
                weight[torch.from_numpy(new)] = fitted.to(weight)


def _fitted(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    new: torch.Tensor,
    states: SourceStates,
    chosen: FitSettings,
    seed: int,
) -> torch.Tensor:
    table = model.get_input_embeddings()
    device = table.weight.device
    rows = torch.nn.Parameter(table.weight.detach()[new.to(device)].float())
    place = torch.full((len(table.weight),), -1, device=device)
    place[new] = torch.arange(len(new), device=device)
    distance = StateDistance(states, tokenizer.pad_token_id or 0)
    scale = float(table.weight.detach().float().square().mean().sqrt())
    layers = model.config.get_text_config().num_hidden_layers
    batches = draw_batches(states.ids.lengths, chosen.batch_size, seed)
    with evaluation_mode(model), frozen(model), hidden_states_at(model.base_model, states.layer, layers) as forward:

        def loss() -> torch.Tensor:
            with _rows_in_place(table, rows, place):
                return distance(forward, next(batches), device)

        first, last = minimize([rows], loss, chosen, scale=scale, title="Fitting rows")
    logger.info(
        "Fitted %d rows: the distance from the source's states fell from %.3f to %.3f of their variance.",
        len(new),
        first / 2,
        last / 2,
    )
    return rows.detach()


@contextmanager
def _rows_in_place(table: torch.nn.Embedding, rows: torch.Tensor, place: torch.Tensor) -> Iterator[None]:
    """The embeddings look up `rows` for the tokens that have a place among them."""
    primitives = getattr(table, "primitives", None)

    def replaced(module: torch.nn.Module, given: tuple, output: torch.Tensor) -> torch.Tensor:
        places = place[given[0]]
        found = functional.embedding(places.clamp(min=0), rows).to(output.dtype)
        found = found if primitives is None else primitives(found)
        return torch.where((places >= 0)[..., None], found, output)

    hook = table.register_forward_hook(replaced)
    try:
        yield
    finally:
        hook.remove()
