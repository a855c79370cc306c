"""A tiny tokenizer of every class that Transformers maps from a model type, trained in the class's own layout."""

import inspect
import json

import conftest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name


# Model types -> class, by the class's own name: several names stand for one class.
MODEL_TYPES: dict[str, list[str]] = {}
for _model_type, _name in TOKENIZER_MAPPING_NAMES.items():
    if _name is not None:
        MODEL_TYPES.setdefault(_name, []).append(_model_type)

_MARK = "▁"
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_PIECES = 200


def fast_class(name: str) -> type[PreTrainedTokenizerFast] | None:
    """The class of that name, or None for a slow one."""
    found = tokenizer_class_from_name(name)
    return found if isinstance(found, type) and issubclass(found, PreTrainedTokenizerFast) else None


def build(tokenizer_class: type[PreTrainedTokenizerFast]) -> PreTrainedTokenizerFast:
    """Special tokens where the class has them, then pieces of the tests' text, cut as the class cuts.

    Raises:
        ImportError: a class with requirements of its own.
    """
    if "vocab" not in inspect.signature(tokenizer_class).parameters and tokenizer_class.model is None:
        return tokenizer_class(tokenizer_object=conftest.build_unigram().backend_tokenizer, **_ROLES)
    options = {"tags_dict": {}} if "tags_dict" in inspect.signature(tokenizer_class).parameters else {}
    state, reserved = _empty(tokenizer_class, options)
    model = state["model"]
    parts = {"added_tokens": [], "post_processor": None, "model": model}
    scratch = Tokenizer.from_str(json.dumps(state | parts))
    kind = model["type"]
    size = len(reserved) + _PIECES
    common = {"special_tokens": reserved, "show_progress": False}
    if kind == "Unigram":
        scratch.model = models.Unigram()
        unk = reserved[min(model["unk_id"], len(reserved) - 1)]
        trainer = trainers.UnigramTrainer(vocab_size=size, unk_token=unk, **common)
    elif kind == "BPE":
        byte_level = '"ByteLevel"' in json.dumps([state["normalizer"], state["pre_tokenizer"]])
        if not byte_level:
            at_mark = pre_tokenizers.Split(_MARK, "merged_with_next")
            own = scratch.pre_tokenizer
            scratch.pre_tokenizer = at_mark if own is None else pre_tokenizers.Sequence([own, at_mark])
        suffix = model.get("end_of_word_suffix")
        scratch.model = models.BPE(unk_token=model.get("unk_token"))
        trainer = trainers.BpeTrainer(
            vocab_size=size + (256 if byte_level else 0),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if byte_level else [],
            **({"end_of_word_suffix": suffix} if suffix else {}),
            **common,
        )
    else:
        scratch.model = models.WordPiece(unk_token=model["unk_token"])
        prefix = model["continuing_subword_prefix"]
        trainer = trainers.WordPieceTrainer(vocab_size=size, continuing_subword_prefix=prefix, **common)
    scratch.train_from_iterator(conftest.TEXT, trainer)
    trained = json.loads(scratch.to_str())["model"]
    pieces = [tuple(piece) for piece in trained["vocab"]] if kind == "Unigram" else trained["vocab"]
    merges = {"merges": [tuple(merge) for merge in trained["merges"]]} if kind == "BPE" else {}
    parameters = inspect.signature(tokenizer_class).parameters
    if "vocab" not in parameters and "kwargs" not in parameters:
        raise ValueError(f"{tokenizer_class.__name__} takes no vocabulary")
    return tokenizer_class(vocab=pieces, **merges, **options)


_ROLES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}


def _empty(tokenizer_class: type[PreTrainedTokenizerFast], options: dict) -> tuple[dict, list[str]]:
    """The state of the class's tokenizer without a vocabulary, and the tokens that it begins with."""
    try:
        state = json.loads(tokenizer_class(**options).backend_tokenizer.to_str())
    except ValueError:  # Pegasus looks for a token that its own default lacks
        state = json.loads(tokenizer_class(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]).backend_tokenizer.to_str())  # fmt: skip
    vocabulary = state["model"]["vocab"]
    pieces = vocabulary if isinstance(vocabulary, list) else sorted(vocabulary.items(), key=lambda item: item[1])
    reserved = [token for token, _ in pieces]
    unk = state["model"].get("unk_token")
    reserved += [] if unk in (None, *reserved) else [unk]
    reserved += _BYTES if state["model"].get("byte_fallback") else []
    return state, list(dict.fromkeys(reserved))
