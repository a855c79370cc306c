"""Choosing the class of a checkpoint, loading it, and checking what was loaded."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.utils import cached_file, logging

from ..utils.quiet import quiet
from ..utils.reading import in_one_line, reading
from .dependents import vocabulary_tensors
from .modeling_ofa import FAMILIES, OfaForMaskedLM, OfaPreTrainedMixin


logger = logging.get_logger(__name__)

# Architectures that the authors' checkpoints name, and what reads them.
_AUTHORS_CLASSES = {
    "XLMRobertaAssembledForMaskedLM": OfaForMaskedLM,
    "RobertaAssembledForMaskedLM": OfaForMaskedLM,
    "XLMRobertaForMaskedLMUpdated": transformers.XLMRobertaForMaskedLM,
    "RobertaForMaskedLMUpdated": transformers.RobertaForMaskedLM,
}
_SENTENCEPIECE_FILES = ("sentencepiece.bpe.model", "tokenizer.model", "spiece.model")
# How names of classes with a language-modelling head end, and what loads them.
_LANGUAGE_MODELS = {
    "ForMaskedLM": AutoModelForMaskedLM,
    "ForPreTraining": AutoModelForMaskedLM,
    "ForCausalLM": AutoModelForCausalLM,
    "LMHeadModel": AutoModelForCausalLM,
}
# Pretraining that tells replaced or masked spans apart, and predicts no tokens.
_OTHER_PRETRAINING = {"ElectraForPreTraining", "FunnelForPreTraining", "SplinterForPreTraining"}
# Arguments of the loading of a model that are arguments of the loading of its configuration and code, too.
_ACCESS = ("revision", "token", "cache_dir", "trust_remote_code", "local_files_only", "force_download", "subfolder")


def load_config(source: str | os.PathLike, hub_kwargs: dict[str, Any], argument: str = "source") -> PreTrainedConfig:
    """The configuration of a checkpoint; `hub_kwargs` may hold arguments of the model's loading, which are left out.

    Code that comes with a checkpoint is run only if they hold `trust_remote_code=True`; nobody is asked.

    Raises:
        ValueError: it is damaged, of an unknown kind, or needs such code.
        OSError: there is none.
    """
    try:
        with _reading(f"{argument}: the configuration of {str(source)!r} could not be read"):
            config = AutoConfig.from_pretrained(source, **_access(hub_kwargs))
    except OSError as error:
        # Offline, Transformers doesn't say what it looked for.
        raise OSError(
            f"{argument}: {str(source)!r} has no configuration that can be reached. {in_one_line(error)}"
        ) from error
    classes = getattr(config, "architectures", None)
    if classes is not None and not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise ValueError(
            f"{argument}: the configuration of {str(source)!r} says architectures {classes!r:.60}, which must be a list of "
            "names of classes; correct config.json, or fetch it again."
        )
    return config


def load_tokenizer(
    name: str | os.PathLike, argument: str, remedy: str = "Fetch it again, or name another.", **hub_kwargs: Any
) -> PreTrainedTokenizerBase:
    """A tokenizer that knows more than special tokens; `trust_remote_code` as in `load_config`.

    Raises:
        ValueError: there is none, it is damaged, or needs code that comes with it.
    """
    problem = f"{argument}: no tokenizer could be loaded from {str(name)!r}. {remedy}"
    hub_kwargs.setdefault("trust_remote_code", False)
    try:
        with _reading(problem):
            tokenizer = AutoTokenizer.from_pretrained(name, **hub_kwargs)
            empty = is_empty(tokenizer)
            if not empty:
                tokenizer("a")  # with settings of the wrong kind it can't be called
    except OSError as error:
        raise ValueError(f"{problem} ({in_one_line(error)})") from error
    if empty:
        raise ValueError(f"{argument}: {name} has no tokenizer files, or what is in them holds no tokenizer. {remedy}")
    return tokenizer


def has_tokenizer(name: str | os.PathLike) -> bool:
    """Whether files of a tokenizer come with a checkpoint, whole or damaged."""
    files = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", *_SENTENCEPIECE_FILES)
    if os.path.isdir(name):
        return any(os.path.lexists(os.path.join(name, file)) for file in files)
    found = (cached_file(name, file, _raise_exceptions_for_missing_entries=False) for file in files)
    return any(file is not None for file in found)


@contextmanager
def _reading(problem: str) -> Iterator[None]:
    """As `reading`; of code that comes with a checkpoint it says how that is run."""
    try:
        with reading(problem):
            yield
    except ValueError as error:
        if "trust_remote_code" in str(error.__cause__):
            raise ValueError(
                f"{problem}: it comes with code of its own, which is run only where that is asked for: pass "
                "trust_remote_code=True (--trust-remote-code, where the command has it) if you trust it."
            ) from error
        raise


def is_empty(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer knows special tokens only: what AutoTokenizer makes of a folder without tokenizer files."""
    return len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)) <= 1


def _access(hub_kwargs: dict[str, Any]) -> dict[str, Any]:
    # Said in so many words: where nothing is said, Transformers asks on the terminal.
    return {"trust_remote_code": False, **{k: v for k, v in hub_kwargs.items() if k in _ACCESS and v is not None}}


def language_model_loader(class_name: str) -> type | None:
    """What loads a class with a masked or causal language-modelling head, which pretraining trains; None for others."""
    if class_name in _OTHER_PRETRAINING:
        return None
    return next((auto for ending, auto in _LANGUAGE_MODELS.items() if class_name.endswith(ending)), None)


def model_class(
    source: Any, config: PreTrainedConfig, hub_kwargs: dict[str, Any] | None = None
) -> type[PreTrainedModel]:
    """The class that a checkpoint was saved from, so that its head is kept.

    Its own code is consulted only with `trust_remote_code=True`, and then comes before a class of Transformers of the
    same name. A checkpoint that names no class is loaded by `AutoModel`; `take_source` sees to it that it has no head.

    Raises:
        ValueError: a class that is known neither to Transformers nor here, or only to the checkpoint's own code.
    """
    if isinstance(source, PreTrainedModel):
        return type(source)
    access = _access(hub_kwargs or {})
    name = (config.architectures or [""])[0]
    ours = {cls.__name__: cls for family in FAMILIES for cls in family.classes.values()}
    known = _AUTHORS_CLASSES.get(name) or ours.get(name)
    if known is not None or not name:
        return known or AutoModel
    auto_map = getattr(config, "auto_map", None) or {}
    own_code = {
        reference.rsplit(".", 1)[-1]: (auto, reference)
        for auto, reference in auto_map.items()
        if auto.startswith("AutoModel") and isinstance(reference, str)
    }
    if name in own_code and access["trust_remote_code"]:
        return _class_of_own_code(source, config, *own_code[name], access)
    known = getattr(transformers, name, None)
    if known is not None:
        return known
    if name in own_code:
        raise ValueError(
            f"source: {name} is code that lies with {str(source)!r}, which isn't run unasked. Read it, and pass "
            "trust_remote_code=True, or --trust-remote-code."
        )
    raise ValueError(
        f"source: the configuration of {str(source)!r} says that it was saved from {name}, which Transformers "
        f"{transformers.__version__} doesn't have. Load the model with what has it, and pass it as source."
    )


def _class_of_own_code(
    source: Any, config: PreTrainedConfig, auto: str, reference: str, access: dict[str, Any]
) -> type[PreTrainedModel]:
    """A class of the checkpoint's own code, which goes along when a model of it is saved."""
    arguments = {name: value for name, value in access.items() if name not in ("trust_remote_code", "subfolder")}
    found = get_class_from_dynamic_module(reference, str(source), **arguments)
    found.register_for_auto_class(auto)
    if type(config).__module__.startswith("transformers_modules."):
        type(config).register_for_auto_class()
    return found


def factorized_class(source_class: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """The Ofa class with the same head.

    Raises:
        ValueError: an architecture that doesn't factorize; names those that do.
    """
    if issubclass(source_class, OfaPreTrainedMixin):
        return source_class
    for family in FAMILIES:
        found = family.classes.get(source_class.__name__)
        if found is not None:
            return found
    names = [name for family in FAMILIES for name in (family.stock, *(stock for stock, _ in family.aliases))]
    raise ValueError(
        f"embedding_size: {source_class.__name__} can't be factorized. The heads of {', '.join(names)} can; pass "
        "embedding_size=None to adapt this model at full size, and factorize_model(model, size) afterwards."
    )


@contextmanager
def reading_weights(argument: str, checkpoint: Any) -> Iterator[None]:
    """Makes one kind of error of those that loading a damaged checkpoint raises.

    Raises:
        ValueError: it is damaged; names the argument and the checkpoint.
    """
    problem = (
        f"{argument}: the weights of {str(checkpoint)!r} could not be read; the checkpoint is damaged, cut short, "
        "or of another shape than its configuration says. Fetch it again"
    )
    try:
        with _reading(problem):
            yield
    except OSError as error:
        if str(checkpoint) in str(error):
            raise
        raise ValueError(f"{problem}. ({type(error).__name__}: {in_one_line(error)})") from error


def count_bytes(model: PreTrainedModel) -> int:
    """Of the parameters, tied ones once: the size of its weights in a file."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def check_finite(model: PreTrainedModel, argument: str, checkpoint: Any) -> None:
    """That all weights are finite numbers; with others, whatever the model is given, it answers NaN.

    Raises:
        ValueError: one isn't; it is named.
    """
    for name, parameter in model.named_parameters():
        if parameter.is_meta or not parameter.is_floating_point():
            continue
        # The sum is quick; where it overflows, each number is looked at.
        if not torch.isfinite(parameter.detach().sum()) and not torch.isfinite(parameter.detach()).all():
            raise ValueError(
                f"{argument}: {name} of {str(checkpoint)!r} has NaN or infinite values; the training that wrote it broke "
                "down, or the checkpoint is damaged. Name an earlier one, or fetch it again."
            )


def take_source(source: Any, source_class: type[PreTrainedModel], hub_kwargs: dict[str, Any]) -> PreTrainedModel:
    """A model of our own to change: the loaded checkpoint, or a copy; factors of an Ofa model multiplied out.

    A copy shares with the source what has an entry for each token, which is never written to, but replaced.

    Raises:
        ValueError: a damaged or incomplete checkpoint.
    """
    if isinstance(source, OfaPreTrainedMixin):
        return source.to_dense()
    if isinstance(source, PreTrainedModel):
        table = getattr(input_embeddings(source), "weight", None)
        shared = [] if table is None else vocabulary_tensors(source, len(table))[0]
        return copy.deepcopy(source, {id(one.tensor): one.tensor for one in shared})
    with reading_weights("source", source):
        model, loaded = source_class.from_pretrained(
            source, output_loading_info=True, **{"trust_remote_code": False, **hub_kwargs}
        )
    _check_complete(source, source_class, model, loaded)
    check_finite(model, "source", source)
    return model.to_dense() if isinstance(model, OfaPreTrainedMixin) else model


def _check_complete(source: Any, source_class: type, model: PreTrainedModel, loaded: dict[str, Any]) -> None:
    """Raises ValueError for a checkpoint without all of the model's weights, or with a head that isn't loaded."""
    # Transformers makes a pooler anew where a checkpoint of another head has none, as XLM-R's.
    missing = sorted(name for name in loaded["missing_keys"] if "pooler" not in name.split("."))
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise ValueError(
            f"source: {str(source)!r} has no {shown}: the checkpoint is incomplete, or its weights have other names than "
            "its configuration says. Fetch it again; if it is meant to be so, load the model yourself and pass it as "
            "source."
        )
    left = sorted(loaded["unexpected_keys"])
    if source_class is AutoModel and left:
        raise ValueError(
            f"source: the configuration of {str(source)!r} doesn't say of which class it is, and {type(model).__name__} "
            f"leaves out {', '.join(left[:3])}. Write the class into config.json, for example "
            f'"architectures": ["{type(model).__name__.removesuffix("Model")}ForMaskedLM"], or load the model and pass it '
            "as source."
        )


def input_embeddings(model: PreTrainedModel) -> nn.Module | None:
    """The module that looks tokens up, or None where Transformers doesn't know it."""
    try:
        return model.get_input_embeddings()
    except NotImplementedError:
        return None


def check_saved(model: PreTrainedModel, folder: str | os.PathLike, variant: str | None = None) -> None:
    """That a checkpoint that was just written loads key by key: nothing is missing, left over, or of another shape.

    Its weights are read only where keys are missing that may have been left out as tied to others.

    Args:
        model: what was written.
        folder: where to.
        variant: as it was given to `save_pretrained`.

    Raises:
        RuntimeError: it doesn't load as what was saved.
    """
    options = {"variant": variant, "output_loading_info": True, "local_files_only": True}
    with quiet():
        _, loaded = type(model).from_pretrained(folder, device_map={"": "meta"}, **options)
    own = model.state_dict()
    missing = sorted(set(loaded.pop("missing_keys")) & set(own))
    problems = {name.replace("_", " "): sorted(map(str, keys)) for name, keys in loaded.items() if keys}
    if missing and not problems:
        with quiet():
            again = type(model).from_pretrained(folder, dtype=model.dtype, **options)[0].state_dict()
        missing = [name for name in missing if not torch.equal(again[name], own[name].to(again[name].device))]
    if missing:
        problems["missing keys"] = missing
    if problems:
        shown = "; ".join(f"{name}: {', '.join(keys)}" for name, keys in problems.items())
        raise RuntimeError(
            f"The checkpoint of {type(model).__name__} that was written doesn't load as what was saved ({shown}), and was "
            "removed. Please report this, with the model's configuration."
        )


def check_fit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """That a model has a row for each token, and pads with the same one.

    Raises:
        ValueError: it doesn't.
    """
    rows = model.get_input_embeddings().num_embeddings  # of scattered weights (ZeRO-3), too
    highest = max(tokenizer.get_vocab().values())
    if highest >= rows:
        raise ValueError(
            f"The tokenizer doesn't fit the model: its ids go up to {highest:,}, but the model has embeddings for "
            f"{rows:,} tokens. Give the model its own tokenizer, or adapt it to this one with `ofa adapt`."
        )
    ours, theirs = tokenizer.pad_token_id, getattr(model.get_input_embeddings(), "padding_idx", None)
    if None not in (ours, theirs) and ours != theirs:
        raise ValueError(
            f"The tokenizer doesn't fit the model: it pads with token {ours}, but the model with {theirs}. Give the "
            f"model its own tokenizer, or adapt it to this one with `ofa adapt`."
        )
    if highest + 1 < rows / 2:
        logger.warning(
            f"The tokenizer uses {highest + 1:,} of the model's {rows:,} embeddings; is it the model's own?"
        )
