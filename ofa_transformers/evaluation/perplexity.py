"""How probable a language model finds held-out text: pseudo-perplexity, bits per character and per byte."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from transformers import AutoModelForMaskedLM
from transformers.utils import logging

from ..scoring.causal_lm import score_causal_lm
from ..scoring.masked_lm import score_masked_lm
from .results import Measurement, group_means, ratio_interval
from .subjects import check_subjects, language_model_class, load_language_model


def evaluate_perplexity(
    models: Sequence[str | os.PathLike],
    texts: Mapping[str, Iterable[str]],
    *,
    name: str = "text",
    data: Mapping[str, str] | None = None,
    max_texts: int | None = None,
    stride: int = 7,
    head_languages: Iterable[str] | None = None,
    max_length: int | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    on_results: Callable[[list[Measurement]], object] | None = None,
) -> list[Measurement]:
    """Bits per character, bits per byte and perplexity of each language's texts.

    Bits per character and per byte compare across tokenizers; perplexity, e to the mean loss of a token, doesn't. A
    masked language model predicts every token once, with one of `stride` masked at a time (`score_masked_lm`; one that
    is larger than the texts gives the pseudo-perplexity of Salazar et al., 2020); a causal one predicts each token
    from those before it (`score_causal_lm`).

    Args:
        models: folders or Hub ids of masked or causal language models.
        texts: language -> texts, one a line.
        name: of the data, for the results.
        data: language -> the exact data.
        max_texts: of each language, from the first.
        stride: at least 2.
        head_languages: see `evaluate_retrieval`.
        max_length: tokens of a window; default: what model and tokenizer take.
        device, trust_remote_code, on_results: see `evaluate_retrieval`.

    Returns:
        The measures for each model, language and group, with intervals by the bootstrap over texts.

    Raises:
        ValueError: a language without text, a model without language-modelling head or tokenizer, or that doesn't fit
            it.
        OSError: a model that can't be found.
        FloatingPointError: a loss that is NaN or infinite.
    """
    if stride < 2:
        raise ValueError(f"stride is {stride}, but must be at least 2: one token of so many is masked at a time.")
    names = check_subjects(models, trust_remote_code=trust_remote_code, heads=True)
    read = {
        language: [line for line in itertools.islice(lines, max_texts) if line.strip()]
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
        task = f"perplexity ({name})"
        for language in logging.tqdm(read, desc=f"Perplexity, {model_name}", unit="language", delay=2, leave=False):
            lines = read[language]
            if masked:
                scores = score_masked_lm(subject.model, subject.tokenizer, lines, stride=stride, max_length=max_length)
            else:
                scores = score_causal_lm(subject.model, subject.tokenizer, lines, max_length=max_length)
            nats = np.array([score.nats for score in scores])
            tokens = np.array([score.tokens for score in scores])
            if not np.isfinite(nats).all():
                raise FloatingPointError(f"The loss of {model_name} on text of {language} is NaN or infinite.")
            origin = (data or {}).get(language, "")
            for metric, units in (
                ("bits per character", np.array([score.characters for score in scores])),
                ("bits per byte", np.array([len(line.encode()) for line in lines])),
            ):
                bits = nats / math.log(2)
                interval = ratio_interval(bits, units)
                value = float(bits.sum() / units.sum())
                measured.append(
                    Measurement(model_name, task, language, metric, value, *interval, len(lines), data=origin)
                )
            low, high = ratio_interval(nats, tokens)
            perplexity = math.exp(nats.sum() / tokens.sum())
            metric = "pseudo-perplexity" if masked else "perplexity"
            measured.append(
                Measurement(
                    model_name,
                    task,
                    language,
                    metric,
                    perplexity,
                    math.exp(low),
                    math.exp(high),
                    len(lines),
                    data=origin,
                )
            )
        measured += group_means(measured, head_languages)
        found += measured
        if on_results is not None:
            on_results(measured)
    return found
