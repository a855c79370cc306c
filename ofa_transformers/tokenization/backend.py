"""Fast tokenizers of Transformers and what is under them."""

from __future__ import annotations

import copy
import os
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase
from transformers.utils import cached_file

from ..models.checkpoints import load_tokenizer
from .sentencepiece_model import bare_sentencepiece, load_sentencepiece


def load_fast_tokenizer(tokenizer: PreTrainedTokenizerBase | str | os.PathLike) -> PreTrainedTokenizerBase:
    """A fast tokenizer, loaded if it is named.

    Raises:
        ValueError: one that is slow, or comes without a tokenizer.json: a conversion on the way could differ from the
            tokenizer that the model was trained with, and nobody would see it.
    """
    if isinstance(tokenizer, (str, os.PathLike)):
        name = os.fspath(tokenizer)
        if os.path.isdir(name):
            found = os.path.isfile(os.path.join(name, "tokenizer.json"))
        elif bare_sentencepiece(name) is not None:
            return load_sentencepiece(name)
        elif Path(name).exists():
            raise ValueError(
                f"{name} is a file; name the folder that holds tokenizer.json, a SentencePiece file .model, or a Hub id"
            )
        else:
            found = cached_file(name, "tokenizer.json", _raise_exceptions_for_missing_entries=False) is not None
        if not found:
            raise ValueError(
                f"{name} has no tokenizer.json, only the files of a slow tokenizer. Converting one can change how text "
                f"is cut, so it is not done on the way: save AutoTokenizer.from_pretrained({name!r}) with "
                "save_pretrained, check that it cuts your text as before, and name that folder; or name its SentencePiece "
                "file .model alone, which is compared with SentencePiece itself"
            )
        tokenizer = load_tokenizer(name, "tokenizer")
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ValueError(
            f"tokenizer is a {type(tokenizer).__name__}, which is slow (no tokenizer.json); convert it with "
            "AutoTokenizer.from_pretrained(...) and check that it cuts your text as before"
        )
    return tokenizer


def plain_backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A copy of the backend without truncation, padding and sampling."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    for name in ("dropout", "alpha", "nbest_size"):  # BPE dropout, subword regularization of Unigram
        if getattr(backend.model, name, None):
            setattr(backend.model, name, None)
    return backend


def with_backend(tokenizer: PreTrainedTokenizerBase, backend: Tokenizer) -> PreTrainedTokenizerBase:
    """A copy of `tokenizer`, class and settings included, with another backend."""
    other = copy.deepcopy(tokenizer)
    other._tokenizer = backend
    for name in ("_vocab", "_merges"):  # what the classes of Transformers were built from
        other.__dict__.pop(name, None)
    for name in ("vocab", "merges", "tokenizer_file", "vocab_file", "merges_file", "tokenizer_object"):
        other.init_kwargs.pop(name, None)
    if "_vocab_size" in vars(other):  # MLuke's class counts its pieces when it is made, for get_vocab
        other._vocab_size = backend.get_vocab_size(with_added_tokens=False)
    if getattr(other, "vocab_file", None) is not None:  # the old one, which must not be saved beside the new
        other.vocab_file = None
    # CLIP's class puts spaces where words end by wrapping a method of its backend.
    wrap = getattr(other, "_wrap_decode_method_backend_tokenizer", None)
    if wrap is not None:
        wrap()
    follow_source_language(other)
    return other


def follow_source_language(tokenizer: PreTrainedTokenizerBase) -> None:
    """Has a translation model's tokenizer put the token of its source language where its class puts it, by its id now."""
    if (
        isinstance(getattr(type(tokenizer), "src_lang", None), property)
        and tokenizer.src_lang in tokenizer.get_vocab()
    ):
        tokenizer.src_lang = tokenizer.src_lang
