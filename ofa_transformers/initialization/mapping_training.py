"""Weights of M trained by the model's own loss: VocADT (Han et al., 2024, arXiv 2410.09644), with M sparse."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import scipy.sparse
import torch
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.utils import logging

from ..models.embeddings import with_new_embeddings
from ..scoring.batching import evaluation_mode
from ..scoring.sentences import hidden_states_at
from .calibration import calibrate_bias
from .frozen_body import draw_batches, frozen, minimize
from .head_bias import make_bias
from .inputs import Inputs, Source
from .mapping.token_mapping import TokenKind, TokenMapping
from .methods import MethodInputs
from .methods.pieces import source_pieces
from .methods.trained_mapping import TrainSettings
from .predictions import LINE_TOKENS, PredictedLines
from .rows import TargetRows, make_rows
from .run import Run
from .settings import InitializationSettings
from .source_states import SourceStates, StateDistance, read_states


logger = logging.get_logger(__name__)

# Numbers among the logits of a decoder's step: 256 MiB in float32.
_LOGITS = 1 << 26


def check_trainable(source: Source, settings: InitializationSettings) -> None:
    """Raises ValueError for a source whose mapping can't be trained, where the method does that."""
    if TrainSettings.of(settings) is not None and source.model.config.is_encoder_decoder:
        raise ValueError(
            f"method={settings.method!r} takes encoders and decoders, but the source is an encoder-decoder; choose another."
        )


def train_mapping(
    mapping: TokenMapping,
    given: MethodInputs,
    inputs: Inputs,
    source: Source,
    settings: InitializationSettings,
    run: Run,
) -> TokenMapping:
    """The mapping with trained weights; as it is if the method trains none.

    A row's weights are the softmax of one number an entry, which begins as the logarithm of its weight, and of one a
    token that is added to those of the pieces among them, the gate. The body, the source's rows, copied and fallback rows
    and the language offset stay, as do the weights of tokens that the text lacks. The loss is the cross-entropy of
    masked (a decoder: of next) tokens; with parallel_text, and for sources without a language-modelling head, also
    the distance from the source's states that "fitted" has. At full size, whatever the size of the result. Memory beside
    the model's: three times the target's rows. On another number of threads the last digits may differ.

    Raises:
        ValueError: as `read_states`.
    """
    chosen = TrainSettings.of(settings)
    if chosen is None:
        return mapping
    number, states, lines = chosen.steps * chosen.batch_size, None, None
    if inputs.parallel_text is not None or source.model.get_output_embeddings() is None:
        states = read_states(inputs, source.model, number, settings.seed)
    if source.model.get_output_embeddings() is not None:
        lines = _lines(inputs, source.model, number, chosen.batch_size, settings.seed)
    occurring = np.zeros(mapping.shape[0], dtype=bool)
    for part in (lines, states):
        if part is not None:
            occurring[np.unique(part.ids.numbers)] = True
    new = np.flatnonzero(occurring & (mapping.kinds == TokenKind.COMPOSED))
    if not len(new):
        logger.warning("No weights are trained: no composed token occurs in the lines.")
        return mapping
    weights = _Weights(mapping, new, given)
    _train(weights, mapping, inputs, source, lines, states, chosen, settings)
    data = mapping.weights.data.copy()
    data[weights.places] = weights.values().detach().numpy()
    matrix = scipy.sparse.csr_array((data, mapping.weights.indices, mapping.weights.indptr), shape=mapping.shape)
    return replace(mapping, weights=matrix)


def _lines(inputs: Inputs, model: PreTrainedModel, number: int, batch_size: int, seed: int) -> PredictedLines:
    """Lines of the text, at most `number`, in random order."""
    order = np.random.default_rng(seed).permutation(len(inputs.lines))[:number]
    tokenizer, share = inputs.target_tokenizer, {}
    if model.can_generate():  # a decoder predicts as many tokens as have room for their logits
        share["share"] = min(1.0, _LOGITS / len(tokenizer) / (batch_size * LINE_TOKENS))
    return PredictedLines(model, tokenizer, [inputs.lines[i] for i in order], seed=seed, **share)


class _Weights:
    """The weights of some rows of M, with a gradient.

    Args:
        mapping: the beginning.
        new: (n,) target ids of these rows.
        given: tells the pieces of a token.

    Attributes:
        tokens: `new` as a tensor.
        places: (e,) of their entries in `mapping.weights.data`.
        parameters: what is trained: (e,) and, for the gate, (n,).
    """

    def __init__(self, mapping: TokenMapping, new: np.ndarray, given: MethodInputs) -> None:
        matrix = mapping.weights
        self.tokens = torch.from_numpy(new)
        lengths = np.diff(matrix.indptr)[new]
        first = np.cumsum(lengths) - lengths
        self.places = np.arange(lengths.sum()) + np.repeat(matrix.indptr[new] - first, lengths)
        self._columns, self._first = (
            torch.from_numpy(ids.astype(np.int64)) for ids in (matrix.indices[self.places], first)
        )
        row = np.repeat(np.arange(len(new)), lengths)
        pieces, columns = source_pieces(given, new)
        width = matrix.shape[1]
        is_piece = np.isin(row * width + matrix.indices[self.places], np.searchsorted(new, pieces) * width + columns)
        self._row, self._is_piece = torch.from_numpy(row), torch.from_numpy(is_piece)
        self._start = torch.from_numpy(matrix.data[self.places]).clamp(min=1e-6).log()
        self.parameters = [torch.nn.Parameter(torch.zeros(size)) for size in (len(row), len(new))]

    def values(self) -> torch.Tensor:
        """(e,), those of a row sum to 1."""
        move, gate = self.parameters
        powers = self._start + move + torch.where(self._is_piece, gate[self._row], 0)
        most = torch.full_like(gate, -torch.inf).scatter_reduce(0, self._row, powers.detach(), "amax")
        exponentials = (powers - most[self._row]).exp()
        return exponentials / torch.zeros_like(gate).index_add(0, self._row, exponentials)[self._row]

    def rows(self, source_rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """(n, D) of source rows (V_s, D)."""
        device = source_rows.device
        columns, first, values = self._columns.to(device), self._first.to(device), values.to(device)
        return functional.embedding_bag(columns, source_rows, first, mode="sum", per_sample_weights=values)


def _adapted(
    source: Source, mapping: TokenMapping, inputs: Inputs, settings: InitializationSettings
) -> tuple[PreTrainedModel, TargetRows]:
    """A model of the mapping, which has the source's own tensors but for what is made anew, and its rows."""
    made = make_rows(source.embeddings, mapping, None, settings, Run())
    bias = make_bias(source.embeddings.bias, mapping, inputs.text, settings)
    shared = {id(tensor): tensor for tensor in (*source.model.parameters(), *source.model.buffers())}
    model, special = copy.deepcopy((source.model, source.special), shared)
    special.apply(model)
    model = with_new_embeddings(model, source.embeddings, made.rows, bias, made.others)
    if inputs.text is not None:
        calibrate_bias(model, inputs.target_tokenizer, inputs.text)
    return model, made


def _train(
    weights: _Weights,
    mapping: TokenMapping,
    inputs: Inputs,
    source: Source,
    lines: PredictedLines | None,
    states: SourceStates | None,
    chosen: TrainSettings,
    settings: InitializationSettings,
) -> None:
    model, made = _adapted(source, mapping, inputs, replace(settings, embedding_size=None))
    seed, padding = settings.seed, inputs.target_tokenizer.pad_token_id or 0
    tables = {"input": model.get_input_embeddings().weight}
    if "output" in made.rows:
        tables["output"] = model.get_output_embeddings().weight
    new = weights.tokens.to(model.device)
    sources = {part: matrix.detach() for part, matrix in source.embeddings.matrices()}
    with torch.no_grad():  # offsets, which aren't trained
        values = weights.values()
        beside = {part: tables[part][new].float() - weights.rows(sources[part], values) for part in tables}
    drawn = None if lines is None else draw_batches(lines.ids.lengths, chosen.batch_size, seed)
    drawn_states = None if states is None else draw_batches(states.ids.lengths, chosen.batch_size, seed + 1)
    distance = None if states is None else StateDistance(states, padding)
    layers = model.config.get_text_config().num_hidden_layers

    def loss() -> torch.Tensor:
        values = weights.values()
        rows = {
            id(table): table.index_copy(0, new, (beside[part] + weights.rows(sources[part], values)).to(table.dtype))
            for part, table in tables.items()
        }
        total = values.new_zeros(())
        with _tensors_in_place(model, rows):
            if lines is not None and (found := lines.logits(model, next(drawn))) is not None:
                total = total + functional.cross_entropy(found[0].float(), found[1]).cpu()
            if distance is not None:
                with hidden_states_at(model.base_model, states.layer, layers) as forward:
                    total = total + distance(forward, next(drawn_states), model.device).cpu()
        return total

    with evaluation_mode(model), frozen(model):
        first, last = minimize(weights.parameters, loss, chosen, title="Training weights")
    logger.info("Trained the weights of %d rows: the loss fell from %.3f to %.3f.", len(new), first, last)


@contextmanager
def _tensors_in_place(model: PreTrainedModel, others: Mapping[int, torch.Tensor]) -> Iterator[None]:
    """Inside, the model's parameters are other tensors, given by the parameters' ids."""
    former = []
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if id(parameter) in others:
                former.append((module, name, parameter))
    for module, name, parameter in former:
        module._parameters[name] = others[id(parameter)]
    try:
        yield
    finally:
        for module, name, parameter in former:
            module._parameters[name] = parameter
