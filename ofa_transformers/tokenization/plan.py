"""What is settled about a new tokenizer before it is trained: everything but the pieces."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.utils import logging

from .backend import with_backend
from .normalization import keeping_accents_and_case


logger = logging.get_logger(__name__)

BYTE_PIECES = [f"<0x{byte:02X}>" for byte in range(256)]

Algorithm = Literal["unigram", "bpe", "wordpiece"]

# Settings by which BERT's, ALBERT's and other classes make their normaliser.
_KEPT_BY_CLASS = {"do_lower_case": False, "strip_accents": False, "keep_accents": True}

ROBERTA_TOKENS = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "mask_token": "<mask>",
}
BERT_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


@dataclass
class Plan:
    """What is settled before the training: everything but the pieces.

    Attributes:
        tokenizer: with normalizer, pre-tokenizer and decoder; the training gives it its model.
        first, last: added tokens before and after the pieces.
        unk: the token for unknown characters.
        options: of the model.
        like: the tokenizer that is followed.
        keeps_accents: accents and case are kept where `like` strips and folds them.
    """

    algorithm: Algorithm
    tokenizer: Tokenizer
    first: list[AddedToken]
    last: list[AddedToken]
    unk: str | None
    options: dict[str, Any]
    like: PreTrainedTokenizerBase | None = None
    keeps_accents: bool = False

    @property
    def names(self) -> list[str]:
        return [token.content for token in self.first]

    @property
    def prefix(self) -> str:
        return self.options.get("continuing_subword_prefix") or ""

    @property
    def byte_level(self) -> bool:
        parts = (self.tokenizer.normalizer, self.tokenizer.pre_tokenizer)
        return any(part is not None and b'"ByteLevel"' in part.__getstate__() for part in parts)

    def normalize(self, text: str) -> str:
        normalizer = self.tokenizer.normalizer
        return text if normalizer is None else normalizer.normalize_str(text)

    def finish(self, vocab_size: int, model_max_length: int | None) -> PreTrainedTokenizerBase:
        for token in self.last + self.first:
            add = self.tokenizer.add_special_tokens if token.special else self.tokenizer.add_tokens
            add([token])
        size = self.tokenizer.get_vocab_size()
        if size < vocab_size:
            logger.warning(f"The text gave {size} tokens, fewer than vocab_size={vocab_size}.")
        if self.like is None:
            return _finish(self.tokenizer, self.algorithm, 512 if model_max_length is None else model_max_length)
        tokenizer = with_backend(self.like, with_templates(self.tokenizer, self.like.backend_tokenizer))
        if model_max_length is not None:
            tokenizer.model_max_length = tokenizer.init_kwargs["model_max_length"] = model_max_length
        if self.keeps_accents:
            for name, value in _KEPT_BY_CLASS.items():
                if name in vars(tokenizer):
                    setattr(tokenizer, name, value)
                    tokenizer.init_kwargs[name] = value
            logger.warning(
                "Accents and case are kept, which the tokenizer of like strips or folds; same_normalizer=True "
                "(--same-normalizer) does as it does."
            )
        return tokenizer


def plan_for(algorithm: Algorithm) -> Plan:
    """Normalisation, pre-tokenization and special tokens of XLM-R, RoBERTa or cased BERT."""
    options: dict[str, Any] = {}
    if algorithm == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        # the rules behind XLM-R's precompiled "nmt_nfkc"
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
        )
        tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    elif algorithm == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer = Tokenizer(models.WordPiece())
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(prefix="##")
        options = {"continuing_subword_prefix": "##"}
    tokens = BERT_TOKENS if algorithm == "wordpiece" else ROBERTA_TOKENS
    mask = tokens["mask_token"]
    first = [token for token in dict.fromkeys(tokens.values()) if token != mask]
    return Plan(
        algorithm,
        tokenizer,
        first=[AddedToken(token, normalized=False, special=True) for token in first],
        # The mask comes last, as in XLM-R and RoBERTa, and like theirs takes the space before it, so that "a <mask>" and
        # "a word" tokenize alike.
        last=[AddedToken(mask, lstrip=algorithm != "wordpiece", normalized=False, special=True)],
        unk=None if algorithm == "bpe" else tokens["unk_token"],
        options=options,
    )


def plan_like(like: PreTrainedTokenizerBase, algorithm: Algorithm | None, same_normalizer: bool = False) -> Plan:
    backend = Tokenizer.from_str(like.backend_tokenizer.to_str())
    model = json.loads(backend.model.__getstate__())
    kind = model.get("type", type(backend.model).__name__)
    found = {"Unigram": "unigram", "BPE": "bpe", "WordPiece": "wordpiece"}.get(kind)
    if found is None:
        raise ValueError(f"like has a model of type {kind}, which can't be trained; Unigram, BPE and WordPiece can")
    if algorithm not in (None, found):
        raise ValueError(f"algorithm={algorithm!r} is not that of like, {found!r}; leave one of them out")
    parts = (part.__getstate__() for part in (backend.normalizer, backend.pre_tokenizer) if part is not None)
    if found == "unigram" and not any(b'"Metaspace"' in part for part in parts):
        raise ValueError("like is a Unigram tokenizer that does not mark words by Metaspace; train without like")
    size = backend.get_vocab_size()
    added = sorted(backend.get_added_tokens_decoder().items())
    first = [(index, token) for index, token in added if index < size / 2]
    last = [token for index, token in added if index >= size / 2]
    if found == "unigram":
        unk = model["vocab"][model["unk_id"]][0] if model.get("unk_id") is not None else None
    else:
        unk = model.get("unk_token")
    if unk is not None and unk not in [token.content for _, token in first]:
        last = [token for token in last if token.content != unk]
        # In its order: classes such as T5's take it from a fixed place.
        first.append((backend.token_to_id(unk), AddedToken(unk, normalized=False, special=True)))
    first = [token for _, token in sorted(first, key=lambda entry: entry[0])]
    names = {
        "unigram": ("byte_fallback",),
        "bpe": ("continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges"),
        "wordpiece": ("continuing_subword_prefix", "max_input_chars_per_word"),
    }[found]
    options = {name: model[name] for name in names if model.get(name) is not None}
    tokenizer = Tokenizer({"unigram": models.Unigram, "bpe": models.BPE, "wordpiece": models.WordPiece}[found]())
    normalizer = backend.normalizer
    kept = normalizer if same_normalizer else keeping_accents_and_case(normalizer)
    for part, value in (("normalizer", kept), ("pre_tokenizer", backend.pre_tokenizer), ("decoder", backend.decoder)):
        if value is not None:
            setattr(tokenizer, part, value)
    return Plan(found, tokenizer, first, last, unk, options, like, keeps_accents=kept is not normalizer)


def check_size(vocab_size: int, symbols: int, plan: Plan) -> None:
    special = len(plan.first) + len(plan.last)
    if vocab_size <= symbols + special:
        raise ValueError(
            f"vocab_size={vocab_size} is smaller than the alphabet: the text needs {symbols} "
            f"{'bytes' if plan.byte_level else 'characters'} and {special} special tokens; ask for more "
            f"than {symbols + special}"
        )


def with_templates(tokenizer: Tokenizer, like: Tokenizer) -> Tokenizer:
    """`tokenizer` with the post-processor, truncation and padding of `like`, and its own ids in them."""
    state, model = json.loads(tokenizer.to_str()), json.loads(like.to_str())

    def renumber(part: Any) -> Any:
        if isinstance(part, dict):
            if set(part) == {"id", "ids", "tokens"}:  # of TemplateProcessing
                return part | {"ids": [tokenizer.token_to_id(token) for token in part["tokens"]]}
            return {key: renumber(value) for key, value in part.items()}
        if isinstance(part, list):
            if len(part) == 2 and isinstance(part[0], str) and isinstance(part[1], int):  # Roberta-, BertProcessing
                return [part[0], tokenizer.token_to_id(part[0])]
            return [renumber(value) for value in part]
        return part

    state["post_processor"] = renumber(model["post_processor"])
    state["truncation"], state["padding"] = model["truncation"], model["padding"]
    if state["padding"] is not None:
        state["padding"]["pad_id"] = tokenizer.token_to_id(state["padding"]["pad_token"])
    return Tokenizer.from_str(json.dumps(state, ensure_ascii=False))


def _finish(tokenizer: Tokenizer, algorithm: Algorithm, model_max_length: int) -> PreTrainedTokenizerFast:
    bert = algorithm == "wordpiece"
    tokens = BERT_TOKENS if bert else ROBERTA_TOKENS
    opening, closing = tokens["cls_token"], tokens["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{opening}:0 $A:0 {closing}:0",
        pair=f"{opening}:0 $A:0 {closing}:0 " + (f"$B:1 {closing}:1" if bert else f"{closing}:0 $B:0 {closing}:0"),
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (opening, closing)],
    )
    mask = next(
        token for token in tokenizer.get_added_tokens_decoder().values() if token.content == tokens["mask_token"]
    )
    inputs = ["input_ids", "token_type_ids", "attention_mask"] if bert else ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=model_max_length,
        model_input_names=inputs,
        clean_up_tokenization_spaces=False,
        **{**tokens, "mask_token": mask},
    )
