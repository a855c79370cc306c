"""The vocabulary of a fast tokenizer as arrays, with each token in a form that compares across kinds of tokenizer."""

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import regex
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerBase


TokenizerKind = Literal["byte_level", "metaspace", "wordpiece", "suffix", "plain"]

# The roles of special tokens, in the order in which a token with several of them is matched. `pad` comes last: where it
# shares its token with unk or eos, the other role is the one that the model has learned.
ROLES = ("mask", "cls", "bos", "sep", "eos", "unk", "pad")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of a fast tokenizer by id.

    Attributes:
        tokens: V tokens as the tokenizer spells them, V being the highest id plus 1; None for an id without a token.
        forms: V canonical forms: the UTF-8 bytes that a token stands for (possibly a part of a character), with a
            leading space where the tokenizer marks the begin of a word; None for an id without a token.
        special: (V,) bool, special tokens.
        added: (V,) bool, ordinary tokens that were added to the model's own vocabulary.
        byte_pieces: (V,) bool, the byte fallback of SentencePiece (`<0xE4>`).
        roles: role (of `ROLES`) -> id.
        kind: how the tokenizer marks words: "byte_level" (GPT-2, RoBERTa: `Ġ`), "metaspace" (SentencePiece: `▁`),
            "wordpiece" (a prefix on tokens inside a word: `##`), "suffix" (a mark on word ends: `</w>`), "plain".
        tokenizer: the tokenizer itself.
    """

    tokens: list[str | None]
    forms: list[bytes | None]
    special: np.ndarray
    added: np.ndarray
    byte_pieces: np.ndarray
    roles: dict[str, int]
    kind: TokenizerKind
    tokenizer: PreTrainedTokenizerBase

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def from_tokenizer(cls, tokenizer: PreTrainedTokenizerBase, name: str = "tokenizer") -> "Vocabulary":
        """The vocabulary of a fast tokenizer; `name` is what errors call it.

        Raises:
            ValueError: a tokenizer that isn't fast, or has no tokens.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise ValueError(
                f"{name} must be a fast tokenizer of Transformers (one with a tokenizer.json), but is "
                f"{type(tokenizer).__name__}; load it with AutoTokenizer.from_pretrained(...)."
            )
        vocabulary = backend.get_vocab(with_added_tokens=True)
        if not vocabulary:
            raise ValueError(f"{name} has no tokens.")
        size = max(vocabulary.values()) + 1
        tokens: list[str | None] = [None] * size
        for token, index in vocabulary.items():
            tokens[index] = token

        special, added, byte_pieces = (np.zeros(size, dtype=bool) for _ in range(3))
        roles = {}
        for role in ROLES:
            index = getattr(tokenizer, f"{role}_token_id", None)
            if index is not None and 0 <= index < size and tokens[index] is not None:
                roles[role] = index
                special[index] = True
        additions = backend.get_added_tokens_decoder()
        special[[index for index, token in additions.items() if token.special]] = True
        added[list(additions)] = True
        added &= ~special

        marks = word_marks(backend)
        forms = marks.forms(tokens)
        if marks.byte_fallback:
            for byte in range(256):
                index = vocabulary.get(f"<0x{byte:02X}>")
                if index is not None:
                    forms[index] = bytes([byte])
                    byte_pieces[index] = True
        for index in np.flatnonzero(special | added).tolist():  # these match text just as they are written
            token = tokens[index]
            if token is None:
                continue
            if added[index] and marks.kind == "metaspace":
                token = token.replace(marks.mark, " ")
            elif added[index] and additions[index].single_word and not token.startswith(" "):
                token = " " + token
            forms[index] = token.encode()
        return cls(tokens, forms, special, added, byte_pieces, roles, marks.kind, tokenizer)

    @cached_property
    def exists(self) -> np.ndarray:
        """(V,) bool: ids that have a token."""
        return np.array([token is not None for token in self.tokens])

    @cached_property
    def wordless(self) -> np.ndarray:
        """(V,) bool: tokens that no word should lend a vector: special tokens, unk, and bare boundaries (`▁`, `Ġ`)."""
        blank = np.array([form is not None and not form.strip() for form in self.forms])
        return blank | self.special

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token -> id."""
        return {token: index for index, token in enumerate(self.tokens) if token is not None}

    @cached_property
    def begins_word(self) -> np.ndarray:
        """(V,) bool: tokens whose form begins with a space."""
        return np.array([form is not None and form.startswith(b" ") for form in self.forms])

    @cached_property
    def cuts_at_spaces(self) -> bool:
        """Whether a plain word has the same tokens at the begin of a line, after a space, and among other words.

        So it is where a Metaspace pre-tokenizer cuts, and writes its mark in front of a line, and where nothing before
        it looks across single spaces. XLM-R, T5 and what `train_tokenizer` makes are so.
        """
        parts = [part for part in _parts(self.encoder.pre_tokenizer) if part["type"] != "Sequence"]
        if not parts:
            return False
        *before, cutting = parts
        if cutting["type"] != "Metaspace" or any(part["type"] != "WhitespaceSplit" for part in before):
            return False
        if cutting.get("prepend_scheme") != "always" or not cutting.get("split", True):
            return False
        additions = self.encoder.get_added_tokens_decoder().values()
        if any(regex.fullmatch(r"[\p{L}\p{M}\p{N}\s]*", token.content) for token in additions):
            return False
        return all(_is_local(part) for part in _parts(self.encoder.normalizer))

    @cached_property
    def encoder(self) -> Tokenizer:
        """The tokenizer without truncation, padding and sampling; a copy if it has any of these."""
        backend = self.tokenizer.backend_tokenizer
        # BPE dropout, and subword regularization of Unigram.
        sampling = [name for name in ("dropout", "alpha", "nbest_size") if getattr(backend.model, name, None)]
        if backend.truncation is None and backend.padding is None and not sampling:
            return backend
        backend = Tokenizer.from_str(backend.to_str())
        backend.no_truncation()
        backend.no_padding()
        for name in sampling:
            setattr(backend.model, name, None)
        return backend


@dataclass(frozen=True)
class WordMarks:
    """How a tokenizer marks words, and how its tokens read without the marks."""

    kind: TokenizerKind
    mark: str = ""
    byte_fallback: bool = False

    def forms(self, tokens: list[str | None]) -> list[bytes | None]:
        mark, cut = self.mark, len(self.mark)
        if self.kind == "byte_level":
            alphabet = _byte_alphabet()
            return [None if token is None else _to_bytes(token, alphabet) for token in tokens]
        if self.kind == "metaspace":
            texts = (token and token.replace(mark, " ") for token in tokens)
        elif self.kind == "wordpiece":
            texts = (token and self._without_prefix(token) for token in tokens)
        elif self.kind == "suffix":
            texts = (token and (token[:-cut] + " " if token.endswith(mark) else token) for token in tokens)
        else:
            texts = iter(tokens)
        return [None if text is None else text.encode() for text in texts]

    def _without_prefix(self, token: str) -> str:
        cut = len(self.mark)
        if cut and len(token) > cut and token.startswith(self.mark):
            return token[cut:]
        # BERT cuts around punctuation and Han characters, so that these begin a word only by appearance.
        return token if has_no_words(token) or is_han(token) else " " + token


def has_no_words(text: str) -> bool:
    """Whether a text has characters, but no letters and digits."""
    return bool(text) and not any(char.isalnum() or unicodedata.category(char)[0] == "M" for char in text)


def is_han(text: str) -> bool:
    """Whether a text is one Han character, as BERT's normalizer has it."""
    return len(text) == 1 and (
        "\u3400" <= text <= "\u4dbf"
        or "\u4e00" <= text <= "\u9fff"
        or "\uf900" <= text <= "\ufaff"
        or "\U00020000" <= text <= "\U0003ffff"
    )


def word_marks(backend: Tokenizer) -> WordMarks:
    """Read from the tokenizer's parts, not guessed from its tokens."""
    model = backend.model
    decoders = list(_parts(backend.decoder))
    parts = [*_parts(backend.normalizer), *_parts(backend.pre_tokenizer), *decoders]
    types = {part["type"] for part in parts}
    byte_fallback = "ByteFallback" in types or _has_byte_fallback(model)
    if "ByteLevel" in types:
        return WordMarks("byte_level")
    for part in parts:
        if part["type"] == "Metaspace":
            return WordMarks("metaspace", part.get("replacement") or "▁", byte_fallback)
    for part in decoders:  # Llama 2 and Gemma have no Metaspace, but a decoder that puts a space for the mark
        if part["type"] == "Replace" and part.get("content") == " " and "String" in part.get("pattern", {}):
            return WordMarks("metaspace", part["pattern"]["String"], byte_fallback)
    prefix = getattr(model, "continuing_subword_prefix", None)
    if prefix:
        return WordMarks("wordpiece", prefix, byte_fallback)
    if type(model).__name__ == "WordLevel":
        return WordMarks("wordpiece", "")  # every token is a word
    suffix = getattr(model, "end_of_word_suffix", None)
    if suffix:
        return WordMarks("suffix", suffix, byte_fallback)
    return WordMarks("plain", "", byte_fallback)


def _has_byte_fallback(model: models.Model) -> bool:
    if not isinstance(model, models.Unigram):
        return bool(getattr(model, "byte_fallback", False))
    # Unigram doesn't show the setting in Python; its whole state is read only where there is something to fall back on.
    if all(model.token_to_id(f"<0x{byte:02X}>") is None for byte in range(256)):
        return False
    return bool(json.loads(model.__getstate__()).get("byte_fallback"))


def _parts(component: Any) -> Iterator[dict[str, Any]]:
    """The JSON of a normalizer, pre-tokenizer or decoder, and of the members if it is a sequence."""
    if component is None:
        return
    if not isinstance(component, dict):
        component = json.loads(component.__getstate__())
    yield component
    for key in ("normalizers", "pretokenizers", "decoders"):
        for member in component.get(key) or ():
            yield from _parts(member)


# Normalizers that look at a character and the marks that follow it.
_LOCAL_NORMALIZERS = frozenset(
    ("Sequence", "Precompiled", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "StripAccents", "Strip")
)


def _is_local(normalizer: dict[str, Any]) -> bool:
    """Whether a normalizer leaves single spaces alone, and treats what stands between them alike in any line."""
    if normalizer["type"] == "Replace":
        return normalizer["pattern"].get("Regex") in (" {2,}", r"\s+", r"\s{2,}") and normalizer["content"] in (
            " ",
            "▁",
        )
    return normalizer["type"] in _LOCAL_NORMALIZERS


def _byte_alphabet() -> dict[str, int]:
    """Character -> the byte that it stands for in byte-level tokenizers (Radford et al., 2019, GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = sorted(set(range(256)) - set(printable))
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _to_bytes(token: str, alphabet: dict[str, int]) -> bytes:
    try:
        return bytes(map(alphabet.__getitem__, token))
    except KeyError:  # not written in the alphabet, so it stands for itself
        return token.encode()
