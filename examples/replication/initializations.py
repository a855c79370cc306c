"""What the replication compares: ways to begin a model with a new vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from other_study import Arm, make_mapping
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ofa_transformers import OfaInitializer, WordVectors
from ofa_transformers.initialization.head_bias import calibrate_bias, read_target_text
from ofa_transformers.mapping import TokenKind


@dataclass(frozen=True)
class Initialization:
    """One way.

    Attributes:
        title: for tables and pictures.
        rows: "ofa"; "random" or "fvt" with the overlap copied; "mixture", 0.7 of OFA's and 0.3 of FVT's composed rows;
            or "external", made by another package (see `external.py`).
        rules: word weighting, overlap filter and primitives; the default ones where it doesn't say.
        offset: `language_offset`.
        bias: of the head: "carried" over, "unigram" (the log frequency of tokens in the training text), or "calibrated"
            to that text, as `target_text` has it.
        size: of the factorized embeddings, as a share of the hidden size; None for full size.
    """

    title: str
    rows: str = "ofa"
    rules: tuple[tuple[str, str], ...] = ()
    offset: float = 0.0
    bias: str = "calibrated"
    size: float | None = None


PUBLISHED = (("word_weighting", "uniform"), ("overlap", "all"), ("primitives", "source"))
# The paper's sizes 100, 200 and 400 as shares of 768.
SHARES = {"100": 100 / 768, "200": 200 / 768, "400": 400 / 768}
INITIALIZATIONS = {
    "random": Initialization("random", rows="random", bias="carried"),
    "random-u": Initialization("random, unigram bias", rows="random", bias="unigram"),
    "random-c": Initialization("random, calibrated bias", rows="random"),
    "fvt": Initialization("FVT", rows="fvt", bias="carried"),
    "fvt-u": Initialization("FVT, unigram bias", rows="fvt", bias="unigram"),
    "fvt-c": Initialization("FVT, calibrated bias", rows="fvt"),
    "focus-u": Initialization("FOCUS, unigram bias", rows="external", bias="unigram"),
    "focus-c": Initialization("FOCUS, calibrated bias", rows="external"),
    "wechsel-u": Initialization("WECHSEL, unigram bias", rows="external", bias="unigram"),
    "wechsel-c": Initialization("WECHSEL, calibrated bias", rows="external"),
    "ofa": Initialization("OFA as published", rules=PUBLISHED, bias="carried"),
    **{
        f"ofa-{name}": Initialization(f"OFA-{name} as published", rules=PUBLISHED, bias="carried", size=share)
        for name, share in SHARES.items()
    },
    "rules-u": Initialization("OFA, our rules, unigram bias", bias="unigram"),
    "rules-c": Initialization("OFA, our rules, calibrated bias"),
    "offset0.4": Initialization("OFA, our rules, unigram bias, offset 0.4", offset=0.4, bias="unigram"),
    "mixture0.4": Initialization(
        "0.7 OFA + 0.3 FVT, unigram bias, offset 0.4", rows="mixture", offset=0.4, bias="unigram"
    ),
    "offset0.2-c": Initialization("OFA, our default (calibrated bias, offset 0.2)", offset=0.2),
    "offset0.4-c": Initialization("OFA, our rules, calibrated bias, offset 0.4", offset=0.4),
    "mixture0.2-c": Initialization("0.7 OFA + 0.3 FVT, calibrated bias, offset 0.2", rows="mixture", offset=0.2),
    **{
        f"offset0.2-c-{name}": Initialization(f"OFA-{name}, our default", offset=0.2, size=share)
        for name, share in SHARES.items()
    },
    "offset0.2-c-200-s": Initialization(
        "OFA-200, our default, primitives of the source",
        rules=(("primitives", "source"),),
        offset=0.2,
        size=SHARES["200"],
    ),
}


@dataclass(frozen=True)
class Inputs:
    """What all initialisations are made of."""

    source: Path
    source_languages: list[str]
    tokenizer: PreTrainedTokenizerBase
    vectors: WordVectors
    training_lines: Sequence[str]
    external: Path


def initialize(name: str, inputs: Inputs, seed: int) -> PreTrainedModel:
    """The model that training begins with."""
    chosen = INITIALIZATIONS[name]
    source = AutoModelForMaskedLM.from_pretrained(inputs.source)
    embeddings = source.get_input_embeddings().weight.detach()
    calibrated = chosen.rows == "ofa" and chosen.bias == "calibrated"
    adapted = OfaInitializer.from_pretrained(
        source,
        target_tokenizer=inputs.tokenizer,
        source_tokenizer=inputs.source,
        word_vectors=inputs.vectors,
        source_languages=inputs.source_languages,
        embedding_size=None if chosen.size is None else round(chosen.size * embeddings.shape[1]),
        language_offset=chosen.offset,
        target_text=inputs.training_lines if calibrated else None,
        seed=seed,
        **dict(chosen.rules),
    )
    weight = adapted.model.get_input_embeddings().weight.data
    if chosen.rows == "external":
        path = inputs.external / f"{name.rpartition('-')[0]}.npy"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; external.py makes it, in the package's own environment.")
        weight.copy_(torch.from_numpy(np.load(path)))
    elif chosen.rows != "ofa":
        tokenizer = AutoTokenizer.from_pretrained(inputs.source)
        kind = Arm("", rows="random" if chosen.rows == "random" else "fvt")
        mapping = make_mapping(
            kind, tokenizer, inputs.tokenizer, inputs.vectors, inputs.source_languages, len(embeddings)
        )
        rows = torch.as_tensor(mapping.apply(embeddings, seed=seed))
        if chosen.rows == "mixture":
            composed = torch.from_numpy(adapted.mapping.kinds == TokenKind.COMPOSED)
            plain = torch.as_tensor(adapted.mapping.apply(embeddings, seed=seed))
            weight[composed] += 0.3 * (rows - plain)[composed]  # the offset stays whole
        else:
            weight.copy_(rows)
    if chosen.bias == "carried" or calibrated:
        return adapted.model
    text = read_target_text(inputs.tokenizer, inputs.training_lines)
    if chosen.bias == "unigram":
        adapted.model.get_output_embeddings().bias.data.copy_(text.log_probabilities)
    else:  # as target_text=inputs.training_lines would have done, but for these rows
        calibrate_bias(adapted.model, inputs.tokenizer, text)
    return adapted.model
