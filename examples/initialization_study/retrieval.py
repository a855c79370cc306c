"""Retrieval of translations with a sentence encoder, at its last layer and at the layer of the paper."""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ofa_transformers.scoring.batching import batches_by_length
from ofa_transformers.scoring.sentences import translation_ranks
from ofa_transformers.text.parallel import ParallelText


@torch.no_grad()
def embed(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str], layers: list[int], prefix: str = ""
) -> list[torch.Tensor]:
    """For each of the layers (N, D) float32: the mean of all tokens' states, as sentence encoders pool them."""
    ids = tokenizer([prefix + text for text in texts], truncation=True, max_length=256, verbose=False)["input_ids"]
    results = [torch.empty(len(texts), model.config.hidden_size) for _ in layers]
    for batch in batches_by_length([len(tokens) for tokens in ids], tokens_per_batch=4096):
        padded = tokenizer.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="pt")
        states = model(**padded, output_hidden_states=True).hidden_states
        mask = padded["attention_mask"].unsqueeze(-1).float()
        for result, layer in zip(results, layers):
            result[batch] = (states[layer].float() * mask).sum(1) / mask.sum(1)
    return results


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: dict[str, ParallelText],
    layers: dict[str, int],
    prefix: str = "",
) -> dict[str, dict[str, dict[str, float]]]:
    """Name of a layer -> language -> top-1 and top-5 accuracy in percent, from English ("to") and back ("from")."""
    texts = [pairs[language] for language in sorted(pairs)]
    lines = list(dict.fromkeys(line for text in texts for line in (*text.translations, *text.texts)))
    places = {line: place for place, line in enumerate(lines)}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, states in zip(layers, embed(model, tokenizer, lines, list(layers.values()), prefix)):
        ranked = translation_ranks(
            texts, lambda some, states=states: states[[places[line] for line in some]], center=[False]
        )
        found[name] = {
            language: {
                f"{direction}_top{k}": round(100 * (ranks < k).double().mean().item(), 2)
                for direction, ranks in zip(("to", "from"), both)
                for k in (1, 5)
            }
            for language, (_, _, both) in zip(sorted(pairs), ranked)
        }
    return found
