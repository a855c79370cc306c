"""Retrieval of translations with a sentence encoder, at its last layer and at the layer of the paper."""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ofa_transformers.evaluation import retrieval_accuracy
from ofa_transformers.scoring.batching import batches_by_length
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
    english = sorted({text for both in pairs.values() for text in both.translations})
    row_of = {text: row for row, text in enumerate(english)}
    texts = english + [text for language in sorted(pairs) for text in pairs[language].texts]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, states in zip(layers, embed(model, tokenizer, texts, list(layers.values()), prefix)):
        found[name], start = {}, len(english)
        for language in sorted(pairs):
            size = len(pairs[language].texts)
            theirs = states[start : start + size]
            ours = states[[row_of[text] for text in pairs[language].translations]]
            start += size
            found[name][language] = {
                f"{direction}_top{k}": round(100 * retrieval_accuracy(queries, candidates, k=k), 2)
                for direction, queries, candidates in (("to", ours, theirs), ("from", theirs, ours))
                for k in (1, 5)
            }
    return found
