"""A tiny model's own vocabulary in another order: copied tokens must give what they gave before.

The target has most words of the source in another order, fourteen fewer, six new ones, and its special tokens elsewhere.
Words stand where the source has <s>, <pad> and </s>, so that an id that stayed behind shows.
"""

import inspect
from dataclasses import dataclass

import numpy as np
import torch
from architectures.tiny import VOCAB_SIZE
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import ofa_transformers as ofa
from ofa_transformers.mapping import TokenKind


SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
SPECIAL_IDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
_WORDS = [f"▁w{number}" for number in range(VOCAB_SIZE - len(SPECIAL))]
_NEW = [f"▁n{number}" for number in range(6)]
_DROPPED = 14
_LENGTH, _PADDED = 12, 3


def _tokenizer(tokens: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="<s>", sep_token="</s>", **SPECIAL)


def source_tokenizer() -> PreTrainedTokenizerFast:
    """<s>, <pad>, </s>, <unk> and <mask> with the ids 0 to 4, then words."""
    return _tokenizer([*SPECIAL.values(), *_WORDS])


def target_tokenizer(pad_id: int) -> PreTrainedTokenizerFast:
    """89 tokens, of which the first are words that the source has, but for <pad>."""
    draws = np.random.default_rng(3)
    kept = draws.permutation(_WORDS)[_DROPPED:].tolist()
    others = draws.permutation([*kept[4:], *_NEW]).tolist()
    tokens = [*kept[:4], "<mask>", "</s>", "<unk>", "<s>", *others]
    tokens.insert(pad_id, "<pad>")
    return _tokenizer(tokens)


def word_vectors() -> ofa.WordVectors:
    """Of half of the words and half of the new ones."""
    words = [word.removeprefix("▁") for word in (*_WORDS[::2], *_NEW[::2])]
    vectors = np.random.default_rng(0).normal(size=(len(words), 6)).astype(np.float32)
    return ofa.WordVectors([f"${word}$" for word in words], np.array(["eng"] * len(words)), vectors)


@torch.no_grad()
def fill(model: PreTrainedModel) -> PreTrainedModel:
    """Random values where a new model has none, so that biases and buffers in the wrong order show."""
    generator = torch.Generator().manual_seed(0)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point() and not (tensor.any() and tensor.isfinite().all()):
            tensor.normal_(std=0.1, generator=generator)
    return model.eval()


@dataclass(frozen=True)
class Text:
    """The same text (2, L) in source and target ids, the second line padded, and all copied tokens in both."""

    source: torch.Tensor
    target: torch.Tensor
    attention: torch.Tensor
    source_columns: torch.Tensor
    target_columns: torch.Tensor


def text_of_copied_tokens(mapping: ofa.TokenMapping, pad_ids: tuple[int, int]) -> Text:
    copied = np.flatnonzero(mapping.kinds == TokenKind.COPIED)
    theirs = mapping.weights[copied].indices.astype(np.int64)
    assert len(copied) == VOCAB_SIZE - len(SPECIAL) - _DROPPED
    rest = np.random.default_rng(1).permutation(np.arange(3, len(copied)))
    chosen = np.concatenate([np.arange(3), rest])[: 2 * _LENGTH].reshape(2, _LENGTH)
    attention = torch.ones(2, _LENGTH, dtype=torch.long)
    attention[1, -_PADDED:] = 0
    source, target = (
        torch.from_numpy(ids[chosen]).masked_fill(attention == 0, pad) for ids, pad in zip((theirs, copied), pad_ids)
    )
    return Text(source, target, attention, torch.from_numpy(theirs), torch.from_numpy(copied))


@dataclass(frozen=True)
class Outputs:
    """Hidden states (n, D) and logits (n, C) of C tokens, at the positions that aren't padding."""

    hidden: torch.Tensor | None
    logits: torch.Tensor

    def difference(self, other: "Outputs") -> float:
        """The largest, relative to the largest value."""
        found = (self.logits - other.logits).abs().max() / self.logits.abs().max()
        if self.hidden is not None:
            found = max(found, (self.hidden - other.hidden).abs().max() / self.hidden.abs().max())
        return float(found)


@torch.no_grad()
def run_model(model: PreTrainedModel, ids: torch.Tensor, attention: torch.Tensor, columns: torch.Tensor) -> Outputs:
    takes = inspect.signature(model.forward).parameters
    options = {"use_cache": False} if "use_cache" in takes else {}
    inputs = {"input_ids" if "input_ids" in takes else "inputs": ids}
    if "attention_mask" in takes:
        inputs["attention_mask"] = attention
    decoded = slice(None)
    if "decoder_input_ids" in takes:
        inputs["decoder_input_ids"], decoded = ids[:, :5], slice(5)
    torch.manual_seed(0)  # Reformer draws its hashes
    result = model.eval()(**inputs, **options, output_hidden_states=True)
    kept = attention[:, decoded].bool()
    states = result.get("decoder_hidden_states") or result.get("hidden_states")
    hidden = states[-1][kept] if states and states[-1].shape[:2] == kept.shape else None
    return Outputs(hidden, result.logits[kept][:, columns])
