"""Sentence retrieval, SR-T (Tatoeba) and SR-B (Bible): translations found by the hidden states of one layer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
from transformers.utils import logging

from ..scoring.sentences import default_layer, embed_texts, translation_ranks
from ..text.parallel import ParallelText
from .results import Measurement, group_means, ratio_interval
from .subjects import check_subjects, load_encoder
from .tables import CENTRED


def evaluate_retrieval(
    models: Sequence[str | os.PathLike],
    texts: Sequence[ParallelText],
    *,
    name: str = "sentences",
    pivot: str = "English",
    layer: int | None = None,
    center: bool | None = None,
    top: Sequence[int] = (1, 5, 10),
    head_languages: Iterable[str] | None = None,
    max_length: int = 512,
    device: str | None = None,
    trust_remote_code: bool = False,
    on_results: Callable[[list[Measurement]], object] | None = None,
) -> list[Measurement]:
    """Accuracy of finding each sentence's translation among all of its language, in both directions.

    A sentence is the mean of its tokens' hidden states at one layer, special tokens left out; the translation is the
    one of highest cosine, found by exact search (the paper, section 4.3).

    Args:
        models: folders or Hub ids of anything that AutoModel loads.
        texts: see `read_pairs`, `read_segments_by_id` and `read_pair_datasets`.
        name: of the data, for the results.
        pivot: how to call the language of the translations.
        layer: 0, the embeddings, to the number of layers. None: two thirds of them, rounded: the eighth of twelve, as
            in the paper; for a sentence encoder (a checkpoint with modules.json) the last, with its own pooling and the
            modules after it.
        center: None measures with the vectors as they are, as in the paper, and with *centred* ones: less the mean vector
            of a language's sentences, and likewise of their translations. What sentences of one language share then no
            longer counts (Libovický et al., Findings of EMNLP 2020). False or True: only the one or the other.
        top: k of the accuracies; those of at least the number of a language's sentences are left out.
        head_languages: codes of the languages that the source was pretrained on. With them, the means over these
            ("head") and over the others ("tail") are given, too. ["xlm-r"] stands for those of XLM-R.
        max_length: tokens of a sentence; the rest is cut off.
        device: where the model runs; a GPU if there is one by default.
        trust_remote_code: run code that comes with a model.
        on_results: called with the measurements of each model as soon as they are there, so that none is lost where a
            later model fails.

    Returns:
        "top-k from English" and "top-k to English", and both with ", centred", for each model, language and group; each
        with its layer, pool of candidates (`size`) and the value of guessing. How ties count: `retrieval_ranks`. The
        task's name says the layer if one was asked for, so that models of different depths stand side by side by default.

    Raises:
        ValueError: no text, a layer that the model doesn't have, a model without tokenizer or that doesn't fit it.
        OSError: a model that can't be found.
        FloatingPointError: hidden states that are NaN or infinite.
    """
    if not texts:
        raise ValueError("texts is empty; read at least one language.")
    if not top or min(top) < 1:
        raise ValueError(f"top is {list(top)}, but must name at least one number from 1.")
    names = check_subjects(models, trust_remote_code=trust_remote_code)
    found: list[Measurement] = []
    for model_name in names:
        measured: list[Measurement] = []
        subject = load_encoder(model_name, device=device, trust_remote_code=trust_remote_code)
        modules = subject.modules if layer is None else None
        layers = subject.model.config.get_text_config().num_hidden_layers
        chosen = layer if layer is not None else layers if modules is not None else default_layer(subject.model)
        options = {"layer": chosen, "modules": modules, "max_length": max_length}
        task = f"retrieval ({name}{'' if layer is None else f', layer {layer}'})"
        embed = partial(embed_texts, subject.model, subject.tokenizer, **options)
        shown = logging.tqdm(texts, desc=f"Retrieval, {model_name}", unit="language", delay=2, leave=False)
        for text, centre, both in translation_ranks(
            shown, embed, center=(False, True) if center is None else (center,)
        ):
            for direction, ranks in zip(("from", "to"), both):
                for k in top:
                    if k < len(text) or k == min(top):
                        hits = (ranks < k).numpy().astype(np.float64)
                        measured.append(
                            Measurement(
                                model_name,
                                task,
                                text.language,
                                f"top-{k} {direction} {pivot}{CENTRED if centre else ''}",
                                float(hits.mean()),
                                *ratio_interval(hits),
                                size=len(text),
                                data=text.data,
                                layer=chosen,
                                centred=centre,
                                chance=min(1.0, k / len(text)),
                            )
                        )
        measured += group_means(measured, head_languages)
        found += measured
        if on_results is not None:
            on_results(measured)
    return found
