"""A language-modelling head calibrated to text: it predicts each token about as often as the text has it.

By its bias where it has one, else by the rows of new tokens. Beyond the paper; docs/how-it-works.md has the evidence.
Everything is computed on one thread: the number of them would show in the last bits.
"""

import math

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..models.embeddings import find_head_bias
from ..models.loss_ofa import OutputProjection
from ..scoring.batching import evaluation_mode
from ..utils.reading import in_one_line
from ..utils.threads import one_thread
from .head_bias import TargetText
from .mapping.token_mapping import TokenMapping
from .predictions import PredictedLines
from .rows import TargetRows
from .run import Run


logger = logging.get_logger(__name__)

_TOKENS = 4096  # of the text that are read
_BATCH = 16  # rows that are decoded at a time
# States that a bias is compared with, and times that it is; more of either gains next to nothing.
_COMPARED, _TIMES = 256, 2
# Of the least squares in `_unit`: a share of the states' mean square, and the standard deviation of h·u around 1 from which
# on rows aren't moved. A trained decoder has 0.03 to 0.1; states that have nothing in common would have more.
_RIDGE, _MOST_SPREAD = 0.1, 0.3


def calibrate_head(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: TargetText | None,
    mapping: TokenMapping,
    made: TargetRows,
    run: Run,
) -> str | None:
    """Calibrates the head in its place to the text, where there is some; says what it has now, as the report does.

    Args:
        model: the adapted model; its bias is changed, or the new rows of its output embeddings.
        tokenizer: its tokenizer.
        text: to predict.
        mapping: how rows were made.
        made: the rows, kept as the model's.
        run: keeps time.

    Returns:
        "carried" and "log_probability": the bias that [`make_bias`] made. "calibrated": the bias of `calibrate_bias`.
        "calibrated_rows": no bias, rows of `calibrate_rows`. None: neither.
    """
    has_bias = find_head_bias(model) is not None
    if text is None:
        return "carried" if has_bias else None
    with run("head bias"):
        if has_bias:
            return "calibrated" if calibrate_bias(model, tokenizer, text) else "log_probability"
        new = torch.from_numpy(mapping.new)
        if not calibrate_rows(model, tokenizer, text, new):
            return None
        rows = made.rows["output" if "output" in made.rows else "input"]
        rows[new] = model.get_output_embeddings().weight.detach()[new].to(rows)
        return "calibrated_rows"


@torch.no_grad()
def calibrate_bias(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: TargetText) -> bool:
    """Sets the head's bias so that the model predicts each token about as often as the text has it.

    A head's outputs h favour some tokens wherever they come from: in the source this makes up for a part of the
    frequencies, for new rows e_v it is an accident, and log probabilities log p_v come on top of it. With mean m and
    covariance S of h at masked positions of the text, the bias

        b_v = log p_v - m·e_v - ½ e_v' S e_v

    makes the expectation of exp(h·e_v + b_v) equal to p_v, were h normally distributed. m·e_v and e_v' S e_v are mean and
    variance of the token's logit without bias. Since h isn't, and the exponentials of one position depend on one another,
    b_v + log p_v - log q_v takes its place, twice, where q_v is the mean probability that the model gives the token. The
    evidence is in examples/replication.

    Args:
        model: the adapted model; changed in place.
        tokenizer: its tokenizer.
        text: to predict.

    Returns:
        Whether it did: False for a model without such a bias, and with a warning where outputs aren't finite.
    """
    bias = find_head_bias(model)
    if bias is None or model.config.is_encoder_decoder:
        return False
    former = bias.clone()
    bias.zero_()
    with evaluation_mode(model), one_thread():
        outputs = _Outputs(model, tokenizer, text)
        if outputs.moments.count < 2:
            bias.copy_(former)
            return False
        shift = outputs.moments.mean() + outputs.moments.variance() / 2
        if not torch.isfinite(shift).all():
            bias.copy_(former)
            logger.warning("The head's bias is not calibrated: the model's outputs on target_text are not finite.")
            return False
        wanted = text.log_probabilities.to(shift)
        made = wanted - shift
        if outputs.states is not None:
            for _ in range(_TIMES):
                made += wanted - outputs.log_frequencies(made, _COMPARED)
    bias.copy_(made)
    return True


@torch.no_grad()
def calibrate_rows(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: TargetText, new: torch.Tensor
) -> bool:
    """Moves the new rows of output embeddings without a bias (decoders'), so that the model predicts each of these tokens
    about as often as the text has it.

    What a bias b_v would add to a token's logit, the row e_v + b_v u adds, if h·u = 1 whatever the state h: u is the
    least squares' answer, and right to a few percent, since a decoder's states have much in common. It is short (some
    hundredth of a row), so that rows which are tied to the input's move by little. b_v is found as in `calibrate_bias`,
    by comparing frequencies. All other rows stay, and with them what the source makes of its own tokens.

    Args:
        model: the adapted model; changed in place.
        tokenizer: its tokenizer.
        text: to predict.
        new: (V,) bool, the rows that may move.

    Returns:
        Whether it did: not where there is a bias, nor for models without output embeddings, encoder-decoders, those that
        make something else of their outputs than probabilities, and those whose states have too little in common; and
        with a warning where outputs aren't finite, or the model can't be run.
    """
    projection = model.get_output_embeddings()
    weight = getattr(projection, "weight", None)
    if weight is None or find_head_bias(model) is not None or model.config.is_encoder_decoder or not new.any():
        return False
    new = new.to(weight.device)
    bias = torch.zeros(len(weight), device=weight.device)
    with evaluation_mode(model), one_thread():
        try:
            outputs = _Outputs(model, tokenizer, text)
        except Exception as error:  # models that need more than text
            logger.warning(
                "The head's rows are not calibrated: the model can't be run on text alone (%s).", in_one_line(error)
            )
            return False
        if outputs.moments.count and not torch.isfinite(outputs.moments.mean()).all():
            logger.warning("The head's rows are not calibrated: the model's outputs on target_text are not finite.")
            return False
        unit = None if outputs.states is None else _unit(projection, outputs.states)
        if unit is None:
            return False
        for _ in range(_TIMES):
            bias[new] += (text.log_probabilities.to(bias) - outputs.log_frequencies(bias))[new]
    weight[new] = (weight[new].float() + bias[new, None] / outputs.scale * unit).to(weight)
    return True


class _Outputs:
    """What a model makes of text at the positions that [`PredictedLines`] draws.

    Attributes:
        moments: of the logits.
        states: (n, D), what the output embeddings are given; None where the logits aren't their outputs times `scale`.
        scale: 1 for most models.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: TargetText) -> None:
        self.moments, self.scale, self._projection = _Moments(), 1.0, model.get_output_embeddings()
        lines = PredictedLines(model, tokenizer, text.sample)
        states: list[torch.Tensor] = []
        for found in lines.predictions(model, _TOKENS):
            if not self.moments.count:
                self.scale = found.scale
            self.moments.add(found.logits)
            if found.states is not None:
                states.append(found.states)
        drawn = sum(map(len, states))
        self.states = torch.cat(states) if states and drawn == self.moments.count else None

    def log_frequencies(self, bias: torch.Tensor, count: int | None = None) -> torch.Tensor:
        """(V,), the logs of the mean probabilities at the first `count` states, with a bias (V,) added to the logits."""
        states = self.states[:count]
        added = bias.to(states.device)
        total = torch.full_like(added, -torch.inf)
        for some in states.split(_BATCH):
            logits = self._projection(some).float() * self.scale + added
            total = torch.logaddexp(total, (logits - logits.logsumexp(dim=1, keepdim=True)).logsumexp(dim=0))
        return (total - math.log(len(states))).to(bias)


def _unit(projection: torch.nn.Module, states: torch.Tensor) -> torch.Tensor | None:
    """(D,) or (D',), the u for which h·u is nearest to 1 over states (n, D), and 1 on average; None if it is far from it.

    Ridge regression in its dual form. Of factorized output embeddings what coordinates are multiplied with counts as h.
    """
    if isinstance(projection, OutputProjection):
        states = projection.before_vocabulary(states)
    device, states = states.device, states.cpu().double()  # not every accelerator has float64
    products = states @ states.T
    ridge = _RIDGE * states.square().sum() / states.shape[1] * torch.eye(len(states))
    unit = states.T @ torch.linalg.solve(products + ridge, products.new_ones(len(states)))
    unit = unit / (states @ unit).mean()
    return unit.float().to(device) if (states @ unit - 1).square().mean().sqrt() < _MOST_SPREAD else None


class _Moments:
    """Mean and variance of each column of what is added, (n, V) at a time; float64 sums of what is left of a first row."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, values: torch.Tensor) -> None:
        if values.device.type == "mps":  # has no float64
            values = values.cpu()
        for rows in values.split(_BATCH):
            if not self.count:
                self.first = rows[0].float()
                self.sums = torch.zeros_like(self.first, dtype=torch.float64)
                self.squares = torch.zeros_like(self.sums)
            rows = rows.float() - self.first
            self.count += len(rows)
            self.sums += rows.sum(dim=0)
            self.squares += rows.square().sum(dim=0)

    def mean(self) -> torch.Tensor:
        return (self.first + self.sums / self.count).float()

    def variance(self) -> torch.Tensor:
        return ((self.squares - self.sums.square() / self.count) / (self.count - 1)).float()
