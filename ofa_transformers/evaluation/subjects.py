"""The models that are measured: anything that AutoModel loads, with its tokenizer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from ..models.checkpoints import check_finite, check_fit, language_model_loader, load_config, reading_weights
from ..models.sentence_modules import SentenceModules
from ..utils.quiet import quiet
from .finetuning import check_models, load_tokenizer


@dataclass(frozen=True)
class Subject:
    """A model in evaluation mode, and its tokenizer.

    Attributes:
        name: the folder or Hub id.
        model: in float32, on its device.
        tokenizer: its own, a fast one.
        modules: of a sentence encoder.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    modules: SentenceModules | None = None


def load_encoder(name: str, *, device: str | None = None, trust_remote_code: bool = False) -> Subject:
    """A model without head, for its hidden states, and the modules of a sentence encoder.

    Raises:
        OSError: it can't be found.
        ValueError: no tokenizer, one that doesn't fit, or a checkpoint that is damaged or lacks weights of the model.
    """
    return replace(_load(AutoModel, name, device, trust_remote_code), modules=SentenceModules.read(name))


def load_language_model(name: str, *, device: str | None = None, trust_remote_code: bool = False) -> Subject:
    """A masked or causal language model, whichever the checkpoint holds.

    Raises:
        OSError: it can't be found.
        ValueError: a checkpoint without such a head, which would be drawn at random; a damaged one; no tokenizer,
            or one that doesn't fit.
    """
    return _load(language_model_class(name, trust_remote_code), name, device, trust_remote_code)


def language_model_class(name: str, trust_remote_code: bool = False) -> type:
    """AutoModelForMaskedLM or AutoModelForCausalLM, by the class that a checkpoint was saved from.

    Raises:
        ValueError: a checkpoint of another head, or without.
    """
    config = load_config(name, {"trust_remote_code": trust_remote_code}, "models")
    architectures = getattr(config, "architectures", None) or []
    loaders = [loader for architecture in architectures if (loader := language_model_loader(architecture))]
    if loaders:
        return loaders[0]
    raise ValueError(
        f"{name} has no language-modelling head (it is {', '.join(architectures) or 'of unknown class'}), so that it "
        "gives no probabilities of text; name a masked or causal language model."
    )


def check_subjects(
    models: Sequence[str | os.PathLike], *, trust_remote_code: bool = False, heads: bool = False
) -> list[str]:
    """The models' names, once it is sure that each has configuration and tokenizer, and a language model's head.

    Raises:
        OSError, ValueError: one hasn't, or there is none.
    """
    names = list(map(str, models)) if not isinstance(models, (str, os.PathLike)) else models
    check_models(names, [0], trust_remote_code)
    if len(set(names)) < len(names):
        raise ValueError(f"models has {next(n for n in names if names.count(n) > 1)} more than once; name each once.")
    if heads:
        for name in names:
            language_model_class(name, trust_remote_code)
    return names


def _load(auto_class: type, name: str, device: str | None, trust_remote_code: bool) -> Subject:

    tokenizer = load_tokenizer(name, trust_remote_code)
    with quiet(bars=True), reading_weights("models", name):
        model, loaded = auto_class.from_pretrained(
            name, dtype=torch.float32, trust_remote_code=trust_remote_code, output_loading_info=True
        )
    # Masked LMs are saved without pooler, which no measure here reads.
    if missing := sorted(key for key in loaded["missing_keys"] if "pooler" not in key):
        raise ValueError(
            f"{name} has no weights for {', '.join(missing[:3])}{' and others' * (len(missing) > 3)} of a "
            f"{type(model).__name__}, which would be drawn at random. Name a checkpoint that has them (`ofa convert` "
            "reads those of OFA's authors)."
        )
    check_finite(model, "models", name)
    check_fit(model, tokenizer)
    if tokenizer.pad_token_id is None:  # decoders; the attention mask hides what it is
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Subject(name, model.to(chosen).eval(), tokenizer)
