"""How probable a language model finds held-out text: perplexity of (masked) tokens, bits per character and per byte."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from transformers import AutoModelForMaskedLM
from transformers.utils import logging

from ..scoring.causal_lm import score_causal_lm
from ..scoring.masked_lm import DEFAULT_STRIDE, Scheme, check_masking, score_masked_lm
from ..scoring.score import MaskedLMScore
from .results import Measurement, group_means, ratio_interval
from .subjects import check_subjects, language_model_class, load_language_model


def evaluate_perplexity(
    models: Sequence[str | os.PathLike],
    texts: Mapping[str, Iterable[str]],
    *,
    name: str = "text",
    data: Mapping[str, str] | None = None,
    max_texts: int | None = None,
    scheme: Scheme = "word",
    stride: int = DEFAULT_STRIDE,
    head_languages: Iterable[str] | None = None,
    max_length: int | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    on_results: Callable[[list[Measurement]], object] | None = None,
) -> list[Measurement]:
    """Bits per character, bits per byte, perplexity and the share of unknown characters, of each language's texts.

    Bits per character and per byte compare across tokenizers, those of masked LMs with each other and those of decoders
    with each other; with the scheme "token" they don't. Perplexity, e to the mean loss of a token, never does. A masked
    language model predicts every token once, the rest of its word masked (`score_masked_lm`); a causal one predicts each
    token from those before it (`score_causal_lm`). What a tokenizer can't write is charged at 8 bits a byte.

    Args:
        models: folders or Hub ids of masked or causal language models.
        texts: language -> texts, one a line; blank ones are left out.
        name: of the data, for the results.
        data: language -> the exact data.
        max_texts: of each language, from the first.
        scheme: of masked language models, "word" or "token".
        stride: likewise; one token of so many is masked at a time. At least 2.
        head_languages: see `evaluate_retrieval`.
        max_length: tokens of a window; default: what model and tokenizer take.
        device, trust_remote_code, on_results: see `evaluate_retrieval`.

    Returns:
        The measures for each model, language and group, with intervals by the bootstrap over texts. The task says what a
        masked language model predicted: "perplexity (NAME, words masked)" or "perplexity (NAME, tokens masked)", and the stride where
        it isn't the default.

    Raises:
        ValueError: a language without text, another scheme or a stride below 2, a model without language-modelling head
            or tokenizer, or that doesn't fit it.
        OSError: a model that can't be found.
        FloatingPointError: a loss that is NaN or infinite.
    """
    check_masking(scheme, stride)
    names = check_subjects(models, trust_remote_code=trust_remote_code, heads=True)
    read = {
        language: list(itertools.islice((line for line in lines if line.strip()), max_texts))
        for language, lines in texts.items()
    }
    if empty := [language for language, lines in read.items() if not lines]:
        raise ValueError(f"There is no text of {empty[0]}; give it some, or leave the language out.")
    if not read:
        raise ValueError("texts is empty; give at least one language.")
    found: list[Measurement] = []
    for model_name in names:
        measured: list[Measurement] = []
        subject = load_language_model(model_name, device=device, trust_remote_code=trust_remote_code)
        masked = language_model_class(model_name, trust_remote_code) is AutoModelForMaskedLM
        how = f", {scheme}s masked" + (f", stride {stride}" if stride != DEFAULT_STRIDE else "")
        task = f"perplexity ({name}{how if masked else ''})"
        for language in logging.tqdm(read, desc=f"Perplexity, {model_name}", unit="language", delay=2, leave=False):
            lines = read[language]
            if masked:
                scores = score_masked_lm(
                    subject.model, subject.tokenizer, lines, scheme=scheme, stride=stride, max_length=max_length
                )
            else:
                scores = score_causal_lm(subject.model, subject.tokenizer, lines, max_length=max_length)
            if not np.isfinite([score.nats for score in scores]).all():
                raise FloatingPointError(f"The loss of {model_name} on text of {language} is NaN or infinite.")
            origin = (data or {}).get(language, "")
            for metric, *numbers in _measures(lines, scores, "masked-token perplexity" if masked else "perplexity"):
                measured.append(Measurement(model_name, task, language, metric, *numbers, len(lines), data=origin))
        measured += group_means(measured, head_languages)
        found += measured
        if on_results is not None:
            on_results(measured)
    return found


def _measures(
    lines: Sequence[str], scores: Sequence[MaskedLMScore], perplexity: str
) -> list[tuple[str, float, float, float]]:
    """Name, value, and the bounds of the interval, of each measure."""
    characters = np.array([score.characters for score in scores])
    bits = np.array([score.bits for score in scores])
    ratios = {
        "bits per character": (bits, characters),
        "bits per byte": (bits, np.array([len(line.encode()) for line in lines])),
        perplexity: (np.array([score.nats for score in scores]), np.array([score.tokens for score in scores])),
        "unknown characters": (np.array([score.unknown_characters for score in scores]), characters),
    }
    rows = []
    for name, (above, below) in ratios.items():
        values = [above.sum() / below.sum(), *ratio_interval(above, below)]
        rows.append((name, *(math.exp(value) if name == perplexity else float(value) for value in values)))
    return rows
