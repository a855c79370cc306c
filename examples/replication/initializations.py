"""What the replication compares: ways to begin a model with a new vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

from ofa_transformers import OfaInitializer, WordVectors
from ofa_transformers.initialization.calibration import calibrate_bias
from ofa_transformers.initialization.head_bias import read_target_text
from ofa_transformers.initialization.mapping import TokenKind


@dataclass(frozen=True)
class Initialization:
    """One way.

    Attributes:
        title: for tables and pictures.
        method: of the package.
        rules: word weighting, overlap filter and primitives; the default ones where it doesn't say.
        offset: `language_offset`.
        bias: of the head: "carried" over, "unigram" (the log frequency of tokens in the training text), or "calibrated"
            to that text, as `target_text` has it.
        size: of the factorized embeddings, as a share of the hidden size; None for full size.
        pairs: training takes pairs of translations, with this weight of the contrastive loss; None for masked LM alone.
        share: of the steps that take pairs; the others are of masked LM.
        distils: pairs are drawn to the source's vectors of their English lines; they aren't masked, unless
        masked: says that their tokens are predicted, too, in which case the squared error counts less.
        masking: the share of pairs' tokens that is masked.
        joined: both sides of a pair are one sample (translation language modelling).
        trained: "all", "outer" (embeddings, head, and the two layers next to either), "body" (all but the embeddings),
            or "rows first" (the embeddings alone in the first fifth of the steps).
        norms: composed rows get the mean norm of the source's.
        rate: the learning rate.
        decay: it falls in a line to nothing.
    """

    title: str
    method: str = "ofa"
    rules: tuple[tuple[str, str], ...] = ()
    offset: float = 0.0
    bias: str = "calibrated"
    size: float | None = None
    pairs: float | None = None
    share: float = 1.0
    distils: bool = False
    masked: bool = False
    masking: float = 0.15
    joined: bool = False
    trained: str = "all"
    norms: bool = False
    rate: float = 1e-4
    decay: bool = False

    @property
    def beginning(self) -> "Initialization":
        """All that the model before training depends on: this, with nothing said of what it is trained on."""
        fields = (self.method, self.rules, self.offset, self.bias, self.size)
        return Initialization("", *fields, norms=self.norms)


PUBLISHED = (("word_weighting", "uniform"), ("overlap", "all"), ("primitives", "source"))
# The paper's sizes 100, 200 and 400 as shares of 768.
SHARES = {"100": 100 / 768, "200": 200 / 768, "400": 400 / 768}
# Rows, full or factorized, that are compared trained on each of the following: title, method and offset.
ROWS = {
    "offset0.4-c": ("OFA, our rules, offset 0.4", "ofa", 0.4),
    "fvt-c": ("FVT", "fvt", 0.0),
    "focus-c": ("FOCUS", "focus", 0.0),
}
TRAININGS: dict[str, tuple[str, dict]] = {
    "alone": ("masked LM alone", {}),
    "joined": ("masked LM and translation LM in turn", {"pairs": 0.0, "share": 0.5, "joined": True}),
    "half": ("masked LM and pairs in turn", {"pairs": 0.3, "share": 0.5}),
    "distilled": ("masked LM and distillation in turn", {"pairs": 0.3, "share": 0.5, "distils": True}),
    "pairs": ("pairs", {"pairs": 0.3}),
    "taught": ("pairs and distillation in one", {"pairs": 0.3, "distils": True, "masked": True}),
}
INITIALIZATIONS = {
    "random": Initialization("random", method="random", bias="carried"),
    "random-u": Initialization("random, unigram bias", method="random", bias="unigram"),
    "random-c": Initialization("random, calibrated bias", method="random"),
    "fvt": Initialization("FVT", method="fvt", bias="carried"),
    "fvt-u": Initialization("FVT, unigram bias", method="fvt", bias="unigram"),
    "fvt-c": Initialization("FVT, calibrated bias", method="fvt"),
    "focus-u": Initialization("FOCUS, unigram bias", method="focus", bias="unigram"),
    "focus-c": Initialization("FOCUS, calibrated bias", method="focus"),
    "wechsel-u": Initialization("WECHSEL, unigram bias", method="wechsel", bias="unigram"),
    "wechsel-c": Initialization("WECHSEL, calibrated bias", method="wechsel"),
    "ofa": Initialization("OFA as published", rules=PUBLISHED, bias="carried"),
    **{
        f"ofa-{name}": Initialization(f"OFA-{name} as published", rules=PUBLISHED, bias="carried", size=share)
        for name, share in SHARES.items()
    },
    "rules-u": Initialization("OFA, our rules, unigram bias", bias="unigram"),
    "rules-c": Initialization("OFA, our rules, calibrated bias"),
    "offset0.4": Initialization("OFA, our rules, unigram bias, offset 0.4", offset=0.4, bias="unigram"),
    "mixture0.4": Initialization(
        "0.7 OFA + 0.3 FVT, unigram bias, offset 0.4", method="mixture", offset=0.4, bias="unigram"
    ),
    "offset0.2-c": Initialization("OFA, our default (calibrated bias, offset 0.2)", offset=0.2),
    "offset0.4-c": Initialization("OFA, our rules, calibrated bias, offset 0.4", offset=0.4),
    "mixture0.2-c": Initialization("0.7 OFA + 0.3 FVT, calibrated bias, offset 0.2", method="mixture", offset=0.2),
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
    "fvt-c-pairs": Initialization("FVT, calibrated bias, trained on pairs", method="fvt", pairs=0.3),
    **{
        f"offset{offset}-c-pairs": Initialization(
            f"OFA, our rules, calibrated bias, offset {offset}, trained on pairs", offset=offset, pairs=0.3
        )
        for offset in (0.2, 0.4)
    },
    **{
        f"{name}-pairs-{rate}{'-decay' * decay}": Initialization(
            f"{title}, calibrated bias, trained on pairs at a rate {'that falls from' if decay else 'of'} {rate}",
            method,
            offset=offset,
            pairs=0.3,
            rate=float(rate),
            decay=decay,
        )
        for name, title, method, offset, rates, falling_rates in (
            ("fvt-c", "FVT", "fvt", 0.0, [], ["4e-4"]),
            ("fvt0.4-c", "FVT, offset 0.4", "fvt", 0.4, ["2e-4"], []),
            ("offset0.4-c", "OFA, our rules, offset 0.4", "ofa", 0.4, ["4e-4"], ["4e-4"]),
            ("offset0.5-c", "OFA, our rules, offset 0.5", "ofa", 0.5, ["2e-4", "3e-4"], []),
            ("offset0.6-c", "OFA, our rules, offset 0.6", "ofa", 0.6, ["2e-4"], ["4e-4"]),
            ("mixture0.4-c", "0.7 OFA + 0.3 FVT, offset 0.4", "mixture", 0.4, ["2e-4"], ["4e-4"]),
        )
        for decay, some in ((False, rates), (True, falling_rates))
        for rate in some
    },
    "offset0.4-c-200-pairs": Initialization(
        "OFA-200, our rules, calibrated bias, offset 0.4, trained on pairs", offset=0.4, size=SHARES["200"], pairs=0.3
    ),
    # What `ofa run` does (offset 0.4, pairs), what else rows could be trained on, and other rows trained alike.
    **{
        f"{name}{size}-{training}-2e-4": Initialization(
            f"{title}, calibrated bias{', size 200 of 768' if size else ''}, {trained_on}, rate of 2e-4",
            method,
            offset=offset,
            size=SHARES["200"] if size else None,
            rate=2e-4,
            **changed,
        )
        for name, (title, method, offset) in ROWS.items()
        for size in ("", "-200")
        for training, (trained_on, changed) in TRAININGS.items()
    },
    **{
        f"offset0.4-c-{name}-2e-4": Initialization(
            f"OFA, our rules, calibrated bias, offset 0.4, {title}, rate of 2e-4", offset=0.4, rate=2e-4, **changed
        )
        for name, title, changed in (
            *((f"pairs-masked{p}", f"pairs, {p:.0%} masked", {"pairs": 0.3, "masking": p}) for p in (0.2, 0.25, 0.4)),
            ("unaligned", "pairs without the contrastive loss", {"pairs": 0.0}),
            ("rows-first", "pairs, embeddings alone in the first fifth", {"pairs": 0.3, "trained": "rows first"}),
            ("outer", "pairs, no inner layers", {"pairs": 0.3, "trained": "outer"}),
            ("body", "pairs, no embeddings", {"pairs": 0.3, "trained": "body"}),
            ("norms", "pairs, norms as the source's", {"pairs": 0.3, "norms": True}),
        )
    },
    "offset0.5-c-taught-2e-4": Initialization(
        "OFA, our rules, calibrated bias, offset 0.5, pairs and distillation in one, rate of 2e-4",
        offset=0.5,
        rate=2e-4,
        **TRAININGS["taught"][1],
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


def initialize(chosen: Initialization, inputs: Inputs, seed: int) -> PreTrainedModel:
    """The model that training begins with."""
    source = AutoModelForMaskedLM.from_pretrained(inputs.source)
    size = None if chosen.size is None else round(chosen.size * source.config.hidden_size)
    adapted = OfaInitializer.from_pretrained(
        source,
        target_tokenizer=inputs.tokenizer,
        source_tokenizer=inputs.source,
        word_vectors=inputs.vectors,
        method=chosen.method,
        source_languages=inputs.source_languages,
        embedding_size=size,
        language_offset=chosen.offset,
        # FOCUS trains its vectors on it
        target_text=inputs.training_lines if chosen.bias == "calibrated" or chosen.method == "focus" else None,
        seed=seed,
        **dict(chosen.rules),
    )
    if chosen.bias == "unigram":
        text = read_target_text(inputs.tokenizer, inputs.training_lines)
        adapted.model.get_output_embeddings().bias.data.copy_(text.log_probabilities)
    if chosen.norms:
        rows = adapted.model.get_input_embeddings().weight.data
        composed = torch.from_numpy(adapted.mapping.kinds == TokenKind.COMPOSED)
        norms = source.get_input_embeddings().weight.detach().norm(dim=1)
        rows[composed] *= norms.mean() / rows[composed].norm(dim=1, keepdim=True)
        text = read_target_text(inputs.tokenizer, inputs.training_lines)
        adapted.model.get_output_embeddings().bias.data.copy_(text.log_probabilities)
        calibrate_bias(adapted.model, inputs.tokenizer, text)
    return adapted.model
