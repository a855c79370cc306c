"""What a language model predicts at random positions of lines, masked if it predicts masked tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models.embeddings import token_table
from ..models.forward import accepted
from ..scoring.batching import Rows, longest_input
from ..scoring.masked_lm import decode_only


# Tokens of a line; the rest is cut off.
LINE_TOKENS = 64
_MASKED = 0.15
_BATCH = 16  # lines
_IGNORED = -100


@dataclass(frozen=True)
class Prediction:
    """What a model makes of a batch at the drawn positions.

    Attributes:
        logits: (n, V).
        labels: (n,) int64, the tokens that they should predict, -100 where a line ends.
        states: (n, D), what the output embeddings are given; None where the logits aren't their outputs times `scale`.
        scale: 1 for most models; others multiply what their output embeddings give (Granite, Cohere).
    """

    logits: torch.Tensor
    labels: torch.Tensor
    states: torch.Tensor | None
    scale: float


class PredictedLines:
    """Lines of which some tokens are predicted; which, depends on the seed and the order of the calls.

    Args:
        model: a masked language model or a decoder; whose logits are asked for.
        tokenizer: its tokenizer.
        lines: N lines.
        seed: of the draws.
        share: of the tokens.

    Attributes:
        ids: of the lines, special tokens included.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        lines: Sequence[str],
        *,
        seed: int = 0,
        share: float = _MASKED,
    ) -> None:
        encoded = tokenizer(
            list(lines),
            truncation=True,
            max_length=min(LINE_TOKENS, longest_input(model, tokenizer)),
            return_special_tokens_mask=True,
            verbose=False,
        )
        self.ids, self._special = Rows(encoded["input_ids"]), Rows(encoded["special_tokens_mask"])
        self._padding = 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self._causal = tokenizer.mask_token_id is None or model.can_generate()
        self._mask, self._share = tokenizer.mask_token_id, share
        self._draws = torch.Generator().manual_seed(seed)
        self._options = accepted(model, use_cache=False)

    def logits(self, model: PreTrainedModel, batch: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Logits (n, V) at the drawn positions of a batch of lines, and the tokens that they should predict (n,), -100
        where a line ends. None where no position was drawn."""
        ids, attention = self.ids.padded(batch, self._padding), self.ids.within(batch)
        chosen = (torch.rand(ids.shape, generator=self._draws) < self._share) & (self._special.padded(batch, 1) == 0)
        if not chosen.any():
            return None
        labels, inputs = ids, ids
        if self._causal:
            labels = ids.masked_fill(~attention, _IGNORED).roll(-1, dims=1)
            labels[:, -1] = _IGNORED
        else:
            inputs = ids.masked_fill(chosen, self._mask)
        on_device = chosen.to(model.device)
        with decode_only(model, on_device):
            result = model(
                input_ids=inputs.to(model.device), attention_mask=attention.long().to(model.device), **self._options
            )
        size = len(token_table(model))
        logits = next(one for one in result.values() if torch.is_tensor(one) and one.shape[-1:] == (size,))
        # A model that doesn't call its output embeddings as a module gives those of all positions.
        return logits[on_device] if logits.dim() == 3 else logits, labels[chosen].to(logits.device)

    def predictions(self, model: PreTrainedModel, tokens: float) -> Iterator[Prediction]:
        """Of the first lines that have so many tokens together, a batch at a time."""
        count = min(int(np.searchsorted(np.cumsum(self.ids.lengths), tokens)) + 1, len(self.ids.lengths))
        for start in range(0, count, _BATCH):
            found = self.predict(model, range(start, min(start + _BATCH, count)))
            if found is not None:
                yield found

    def predict(self, model: PreTrainedModel, batch: Sequence[int]) -> Prediction | None:
        """As `logits`, with what the output embeddings are given."""
        called: list[tuple[torch.Tensor, torch.Tensor]] = []
        projection = model.get_output_embeddings()
        hook = projection.register_forward_hook(lambda _, given, made: called.append((given[0], made)))
        try:
            found = self.logits(model, batch)
        finally:
            hook.remove()
        if found is None:
            return None
        logits, labels = found
        scale = _ratio(logits, called[-1][1]) if called else 1.0
        seen = len(called) == 1 and _are_close(logits, called[0][1], scale)
        return Prediction(logits, labels, called[0][0] if seen else None, scale)


def _ratio(logits: torch.Tensor, outputs: torch.Tensor) -> float:
    """Of a model that scales what its output embeddings give (Granite's, Cohere's)."""
    if logits.shape != outputs.shape or torch.equal(logits, outputs):
        return 1.0
    place = outputs.abs().argmax()
    return float(logits.flatten()[place] / outputs.flatten()[place])


def _are_close(logits: torch.Tensor, outputs: torch.Tensor, scale: float) -> bool:
    """Up to rounding in half precision; false for logits that are bounded (Gemma 2's)."""
    return logits.shape == outputs.shape and torch.allclose(logits.float(), scale * outputs.float(), rtol=0.01)
