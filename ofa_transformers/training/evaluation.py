"""Held-out text of every language: loss, and the bits per character and byte that compare across tokenizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from itertools import islice

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models.sentence_modules import SentenceModules
from ..scoring.causal_lm import score_causal_lm
from ..scoring.masked_lm import score_masked_lm
from ..scoring.score import MaskedLMScore
from ..scoring.sentences import embed_texts, retrieval_accuracy
from ..text.corpus import LanguageText
from .progress import PREFIX, RETRIEVAL


def read_validation(texts: Mapping[str, LanguageText], lines: int) -> dict[str, list[str]]:
    """The first `lines` lines of each language.

    Raises:
        ValueError: a language without any.
    """
    read = {language: list(islice(text.lines(), lines)) for language, text in texts.items()}
    if empty := [language for language, found in read.items() if not found]:
        raise ValueError(f"No validation text for: {', '.join(empty)}; leave these languages out or give them text.")
    return read


def score_languages(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, Sequence[str]],
    accelerator: Accelerator,
    *,
    causal: bool = False,
    max_length: int | None = None,
    tokens_per_batch: int = 4096,
) -> dict[str, MaskedLMScore]:
    """language -> score, the same on all processes, which divide the text among them.

    Where the weights are sharded, each process needs all others for every batch, so that all of them score everything.

    Args:
        model: not wrapped; its shards may be distributed.
        tokenizer: its tokenizer.
        texts: language -> held-out lines.
        accelerator: of the run, in whose precision the forward passes are computed.
        causal: a decoder; else a masked LM, whose words are masked (`score_masked_lm`).
        max_length: tokens in a window.
        tokens_per_batch: bound on the tokens, padding included, of one forward pass.
    """
    sharded = accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)
    rank, count = (0, 1) if sharded else (accelerator.process_index, accelerator.num_processes)
    flat = [(language, line) for language in texts for line in texts[language]][rank::count]
    score = score_causal_lm if causal else score_masked_lm
    options = {"max_length": max_length, "tokens_per_batch": tokens_per_batch}
    with accelerator.autocast():
        scores = score(model, tokenizer, [line for _, line in flat], **options)
    sums = {language: MaskedLMScore() for language in texts}
    for (language, _), one in zip(flat, scores):
        sums[language] += one
    if count > 1:
        table = torch.tensor([astuple(score) for score in sums.values()], dtype=torch.float64)
        table = accelerator.reduce(table.to(accelerator.device), reduction="sum").tolist()
        sums = {language: MaskedLMScore(nats, *map(round, counts)) for language, (nats, *counts) in zip(sums, table)}
    return sums


def metrics(scores: Mapping[str, MaskedLMScore], texts: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Means over languages, and the values of each.

    `loss` is in nats a token, `bits_per_character` and `bits_per_byte` (UTF-8) charge what the tokenizer can't write
    (`MaskedLMScore.bits`), and `unknown_share` is the share of characters that this is.
    """
    table = {}
    for language, score in scores.items():
        size = sum(len(line.encode()) for line in texts[language])
        table[language] = {
            "loss": score.loss,
            "bits_per_character": score.bits_per_character,
            "bits_per_byte": score.bits / size,
            "unknown_share": score.unknown_share,
        }
    names = list(next(iter(table.values())))
    means = {name: sum(row[name] for row in table.values()) / len(table) for name in names}
    return means | {f"{language}_{name}": row[name] for language, row in table.items() for name in names}


def retrieval(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    layer: int | None = None,
    tokens_per_batch: int = 4096,
    modules: SentenceModules | None = None,
) -> dict[str, float]:
    """`retrieval`: the share of lines that find their translation, from the pivot to a language; mean, and of each.

    Args:
        pairs: language -> (lines of the pivot, their translations).
        layer: of the hidden states; None for the one that retrieval takes.
        tokens_per_batch: bound on the tokens, padding included, of one forward pass.
        modules: of a sentence encoder, whose vectors are compared where no layer is asked for.
    """
    modules = modules if layer is None else None
    options = {"layer": layer, "modules": modules, "tokens_per_batch": tokens_per_batch}
    found = {
        language: retrieval_accuracy(*(embed_texts(model, tokenizer, lines, **options) for lines in sides))
        for language, sides in pairs.items()
    }
    if not found:
        return {}
    return {RETRIEVAL: sum(found.values()) / len(found)} | {
        f"{name}_{RETRIEVAL}": share for name, share in found.items()
    }


def check_measure(
    name: str, texts: Mapping[str, Sequence[str]], pairs: Mapping[str, tuple[Sequence[str], Sequence[str]]]
) -> None:
    """That the measure which shall choose among checkpoints is one of `metrics` or of `retrieval`.

    Raises:
        ValueError: it isn't; the message lists them.
    """
    known = []
    if texts:
        known += metrics(dict.fromkeys(texts, MaskedLMScore(1.0, 1, 1)), dict.fromkeys(texts, "a"))
    if pairs:
        known += [RETRIEVAL, *(f"{language}_{RETRIEVAL}" for language in pairs)]
    if name.removeprefix(PREFIX) not in known:
        raise ValueError(
            f"metric_for_best_model={name!r} is no measure of held-out text; there are {', '.join(known)}."
        )
