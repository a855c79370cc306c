"""Retrieval of translations with the hidden states of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..models.sentence_modules import SentenceModules, pooled
from ..text.parallel import ParallelText
from ..utils.search import retrieval_ranks
from .batching import Rows, batches_by_length, evaluation_mode, input_length
from .framing import special_frame, text_ids


@torch.no_grad()
def embed_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    layer: int | None = None,
    modules: SentenceModules | None = None,
    max_length: int | None = None,
    tokens_per_batch: int = 4096,
) -> torch.Tensor:
    """(N, D) float32: the mean, over a text's tokens without special tokens, of the hidden states after `layer` layers.

    The paper uses the eighth layer of twelve (section 4.3). Layer 0 is the embeddings. Layers above the chosen one are
    not computed. Longer texts are cut off at `max_length` tokens (default: the longest input of model and tokenizer);
    a text without tokens gets zeros. Equal texts are embedded once, so that their vectors are equal to the last digit.

    Args:
        model: encoder or decoder, with or without head; of an encoder-decoder the encoder is used.
        tokenizer: its tokenizer.
        texts: N texts.
        layer: from 0 to the number of layers; `default_layer` where neither it nor `modules` is given.
        modules: of a sentence encoder; in place of `layer` and mean, a text's vector is what they make of the last layer.
        max_length: tokens of a text, special tokens included.
        tokens_per_batch: bound on the tokens, padding included, of one forward pass.

    Raises:
        ValueError: a layer that the model doesn't have.
        FloatingPointError: hidden states that are NaN or infinite.
    """
    layers = model.config.get_text_config().num_hidden_layers
    if layer is None:
        layer = layers if modules is not None else default_layer(model)
    if not 0 <= layer <= layers:
        raise ValueError(f"layer={layer}, but the model has layers 0 (the embeddings) to {layers}")
    body = model.get_encoder() if model.config.is_encoder_decoder else model.base_model
    device = next(model.parameters()).device
    places = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    prefix, suffix = special_frame(tokenizer)
    room = max(input_length(model, tokenizer, max_length) - len(prefix) - len(suffix), 0)
    content = [own[:room] for own in text_ids(tokenizer, list(places))]
    ids = Rows([[*prefix, *own, *suffix] for own in content])
    special = Rows([[*(1 for _ in prefix), *(0 for _ in own), *(1 for _ in suffix)] for own in content])
    padding = tokenizer.pad_token_id or 0  # the attention mask hides it
    result = torch.zeros(len(places), model.config.get_text_config().hidden_size)
    with evaluation_mode(model), hidden_states_at(body, layer, layers) as states:
        for batch in batches_by_length(ids.lengths.tolist(), tokens_per_batch):
            if not ids.lengths[batch[-1]]:
                continue  # texts without tokens
            hidden = states(ids.padded(batch, padding).to(device), ids.within(batch).long().to(device))
            if modules is not None:
                result[batch] = pooled(hidden, ids.within(batch).to(device), modules.pooling).cpu()
                continue
            weights = (1 - special.padded(batch, 1)).to(device, hidden.dtype).unsqueeze(-1)
            # Products with zero would keep what is NaN.
            sums = hidden.masked_fill(weights == 0, 0).sum(1, dtype=torch.float32)
            result[batch] = (sums / weights.sum(1, dtype=torch.float32).clamp(min=1)).cpu()
    if not torch.isfinite(result).all():
        raise FloatingPointError(f"The hidden states of {type(model).__name__} at layer {layer} are NaN or infinite.")
    if modules is not None:
        result = modules.after_pooling(result)
    return result[[places[text] for text in texts]]


class _Reached(Exception):
    """Carries the hidden states out of the forward pass."""

    def __init__(self, states: torch.Tensor) -> None:
        self.states = states


@contextlib.contextmanager
def hidden_states_at(body: torch.nn.Module, layer: int, layers: int) -> Iterator:
    """A function of token ids and attention mask that gives the hidden states (B, L, D) after `layer` layers.

    They are what goes into the next layer, where the pass is left. Where there is no next one, or where the layers
    are no list of modules (ALBERT's), all is computed.
    """
    stacks = [module for module in body.modules() if isinstance(module, torch.nn.ModuleList) and len(module) == layers]

    def stop(module: torch.nn.Module, arguments: tuple, options: dict) -> None:
        raise _Reached(arguments[0] if arguments else options["hidden_states"])

    def states(ids: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
        try:
            output = body(input_ids=ids, attention_mask=attention, output_hidden_states=not hooked)
        except _Reached as reached:
            return reached.states
        return output.hidden_states[layer]

    hooked = layer < layers and len(stacks) == 1
    hook = stacks[0][layer].register_forward_pre_hook(stop, with_kwargs=True) if hooked else None
    try:
        yield states
    finally:
        if hook is not None:
            hook.remove()


def translation_ranks(
    texts: Sequence[ParallelText],
    embed: Callable[[list[str]], torch.Tensor],
    *,
    center: Sequence[bool] = (False, True),
) -> Iterator[tuple[ParallelText, bool, tuple[torch.Tensor, torch.Tensor]]]:
    """How far down each line's translation is found, text by text; what several texts translate is embedded once.

    Args:
        texts: of N lines each.
        embed: of lines their vectors (n, D).
        center: whether the mean vectors of both sides are subtracted, in turn.

    Yields:
        A text, whether its vectors were centred, and `retrieval_ranks` (N,): of the lines by their translations, and
        of the translations by the lines.
    """
    rows = {line: row for row, line in enumerate(dict.fromkeys(line for text in texts for line in text.translations))}
    pivots = embed(list(rows))
    for text in texts:
        theirs, ours = embed(text.texts), pivots[[rows[line] for line in text.translations]]
        for centre in center:
            pair = (centered(ours), centered(theirs)) if centre else (ours, theirs)
            yield text, centre, retrieval_ranks(*pair)


def retrieval_accuracy(queries: torch.Tensor, candidates: torch.Tensor, *, k: int = 1) -> float:
    """Share of queries (N, D) whose own candidate, the row of the same number, is among the `k` of highest cosine.

    Chance is k / N. How ties count: `retrieval_ranks`.

    Raises:
        ValueError: other shapes than pairs have, or a k beyond N.
    """
    size = len(queries)
    if not 1 <= k <= size:
        raise ValueError(f"k={k} must lie between 1 and the number of candidates, {size}")
    return (retrieval_ranks(queries, candidates)[0] < k).double().mean().item()


def centered(vectors: torch.Tensor) -> torch.Tensor:
    """(N, D) less the mean of all rows: what texts of one language have in common."""
    return vectors - vectors.mean(dim=0)


def default_layer(model: PreTrainedModel) -> int:
    """Two thirds of the layers, rounded: the eighth of twelve, which the paper takes."""
    return two_thirds(model.config)


def two_thirds(config: PreTrainedConfig) -> int:
    """`default_layer` of a model with this configuration."""
    return round(config.get_text_config().num_hidden_layers * 2 / 3)
