"""New rows of a masked language model's own output embeddings, from the states in which their tokens are masked.

Beyond the paper; docs/how-it-works.md has the evidence.
"""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..models.loss_ofa import OutputProjection
from ..scoring.batching import evaluation_mode
from ..utils.reading import in_one_line
from ..utils.threads import one_thread
from .head_bias import TargetText
from .mapping.token_mapping import TokenMapping
from .predictions import PredictedLines
from .rows import TargetRows


logger = logging.get_logger(__name__)

# Of the text that are read: no more than make so many multiplications in the body, some 50 s of one thread.
_TOKENS, _PRODUCTS = 1 << 17, 1.5e12
_RATE = 3e10  # multiplications a second
# As many states of a token count as much as its composed row; and the share of their mean variance that is added to all of
# their dimensions'. Chosen on held-out states.
_PRIOR, _RIDGE = 5.0, 10.0


def has_rows_of_states(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, untied: bool) -> bool:
    """Whether text gives rows to a model, by its kind; `untied` says that its output embeddings aren't the input's."""
    predicts_masked = tokenizer.mask_token_id is not None and not model.can_generate()
    return untied and predicts_masked and not model.config.is_encoder_decoder


def seconds_to_read(body: int) -> float:
    """Of one thread, of a text that is long enough, by the parameters of the body."""
    return min(_TOKENS * body, _PRODUCTS) / _RATE


@torch.no_grad()
def rows_of_states(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: TargetText,
    mapping: TokenMapping,
    made: TargetRows,
) -> bool:
    """Moves new rows of output embeddings that aren't the input's to what the text says of them.

    Given a token v, let the head's outputs h at its masked positions be normally distributed with mean m_v, and with the
    same covariance S for all tokens. Then the logits of v are h·w_v and a bias, where w_v = S^-1 (m_v - m) with m the
    mean of all (linear discriminant analysis; S is shrunk to one that is alike in all directions). A token with n_v of
    these positions gets (n_v w_v + 5 e_v) / (n_v + 5), where e_v is its composed row. Copied rows stay, and with them
    what the source makes of its own tokens. The bias is found afterwards, by `calibrate_head`.

    Args:
        model: the adapted model; changed in place.
        tokenizer: its tokenizer.
        text: whose lines are read, so many that a body of 11 M parameters reads 131,072 tokens, and larger ones fewer.
        mapping: how rows were made.
        made: the rows, kept as the model's.

    Returns:
        Whether it did: not where output embeddings are the input's, nor for decoders, whose states are far from normally
        distributed, and encoder-decoders; not where outputs aren't finite, or all alike; and with a warning where the model can't be
        run.
    """
    projection = model.get_output_embeddings()
    weight = getattr(projection, "weight", None)
    if weight is None or not has_rows_of_states(model, tokenizer, "output" in made.rows) or not mapping.new.any():
        return False
    with evaluation_mode(model), one_thread():
        try:
            found = _states(model, tokenizer, text)
        except Exception as error:  # models that need more than text
            logger.warning(
                "The head's rows are composed alone: the model can't be run on text alone (%s).", in_one_line(error)
            )
            return False
    if found is None:
        return False
    states, labels, scale = found
    with one_thread():
        counts = torch.bincount(labels, minlength=len(weight))
        states -= states.mean(dim=0)
        sums = torch.zeros(len(weight), states.shape[1], dtype=states.dtype).index_add_(0, labels, states)
        covariance = states.T @ states / len(states)
        variance = covariance.diagonal().mean()
        if not variance > 0:
            return False
        covariance += _RIDGE * variance * torch.eye(len(covariance), dtype=states.dtype)
        moved = torch.from_numpy(mapping.new) & (counts > 0)
        counts, sums = counts[moved, None], sums[moved]
        of_text = torch.linalg.solve(covariance, (sums / counts).T).T / scale
        composed = weight[moved.to(weight.device)].to(of_text)
        rows = (counts * of_text + _PRIOR * composed) / (counts + _PRIOR)
    weight[moved.to(weight.device)] = rows.to(weight)
    kept = made.rows["output"]
    kept[moved.to(kept.device)] = rows.to(kept)
    return True


def _states(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: TargetText
) -> tuple[torch.Tensor, torch.Tensor, float] | None:
    """What the output embeddings are given (n, D) float64, for which tokens (n,), and what the model multiplies their
    outputs by; None where logits are something else, or nothing can be said of their covariance."""
    projection = model.get_output_embeddings()
    tables = (model.get_input_embeddings(), projection)
    body = model.num_parameters() - sum(table.weight.numel() for table in tables)
    lines = PredictedLines(model, tokenizer, text.lines, seed=1)
    states: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    scale = 1.0
    for found in lines.predictions(model, min(_TOKENS, _PRODUCTS / max(body, 1))):
        if found.states is None:
            return None
        scale = found.scale if not states else scale
        given = (
            projection.before_vocabulary(found.states) if isinstance(projection, OutputProjection) else found.states
        )
        states.append(given.float().cpu())
        labels.append(found.labels.cpu())
    if sum(map(len, states)) < 2:
        return None
    return torch.cat(states).double(), torch.cat(labels), scale
