"""Lines of text to samples of token ids, once for text and tokenizer."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ..scoring.framing import decoder_prefix, special_frame, text_ids
from ..text.corpus import LanguageText


if TYPE_CHECKING:
    import datasets

# Lines that are encoded together; a packed sample never reaches beyond them.
BLOCK_LINES = 1000

Batch = dict[str, torch.Tensor]
Collator = Callable[[Sequence[dict[str, Any]]], Batch]


@dataclass(frozen=True)
class Encoder:
    """Lines of one language to samples of at most `max_length` tokens, the tokenizer's special tokens included.

    `<mask>`, `</s>` and their like that a line happens to hold are text: only what this class adds is a special token.

    Args:
        tokenizer: any; packing puts its sep token (or else its eos token) between lines.
        max_length: tokens of a sample.
        packed: lines joined and cut into samples of full length, the last one shorter; else each line is a sample, and a
            long one several. Nothing is dropped.
        causal: for a decoder: each sample begins with `decoder_prefix`, as texts that are scored do, and each line ends
            with the eos token, unless the tokenizer's template ends texts by itself.

    Raises:
        ValueError: a `max_length` without room for text.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    packed: bool = True
    causal: bool = False
    prefix: list[int] = field(init=False, repr=False)
    suffix: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        prefix, suffix = special_frame(self.tokenizer)
        object.__setattr__(self, "prefix", decoder_prefix(self.tokenizer) if self.causal else prefix)
        object.__setattr__(self, "suffix", suffix)
        if self.room < 1:
            raise ValueError(
                f"max_length={self.max_length} has no room for text beside {len(self.prefix + self.suffix)} special tokens."
            )

    @property
    def room(self) -> int:
        """Tokens of text in a full sample."""
        return self.max_length - len(self.prefix) - len(self.suffix)

    @property
    def separator(self) -> list[int]:
        tokenizer = self.tokenizer
        ids = [i for i in (tokenizer.sep_token_id, tokenizer.eos_token_id) if i is not None]
        return ids[:1]

    @property
    def tokenizer_identity(self) -> str:
        """A hash of the tokenizer."""
        tokenizer = json.loads(self.tokenizer.backend_tokenizer.to_str())
        for last_call in ("truncation", "padding"):  # not of the tokenizer, but of what it was last asked for
            tokenizer.pop(last_call, None)
        return hashlib.sha256(json.dumps(tokenizer).encode()).hexdigest()

    @property
    def identity(self) -> str:
        """A hash of all that samples depend on beside the text."""
        rules = (self.max_length, self.packed, self.separator, BLOCK_LINES, "text has no special tokens")
        if self.causal:
            rules += (self.prefix, self.suffix)
        return hashlib.sha256(repr((self.tokenizer_identity, *rules)).encode()).hexdigest()

    def tokens(self, lines: Sequence[str]) -> list[list[int]]:
        """The tokens of each line alone, none of them special but the unknown one."""
        return text_ids(self.tokenizer, lines)

    def __call__(self, lines: Sequence[str]) -> list[np.ndarray]:
        """Samples, int32, in the order of the text."""
        encoded = self.tokens(lines)
        ends = self.causal and not self.suffix and self.tokenizer.eos_token_id is not None
        if ends:
            encoded = [[*ids, self.tokenizer.eos_token_id] for ids in encoded if ids]
        if self.packed:
            between = [] if ends else self.separator
            joined = [i for ids in encoded if ids for i in (*ids, *between)]
            encoded = [joined[: len(joined) - len(between)]]
        room = self.room
        return [
            np.array([*self.prefix, *ids[start : start + room], *self.suffix], dtype=np.int32)
            for ids in encoded
            for start in range(0, len(ids), room)
        ]


def blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    lines = iter(lines)
    while block := list(itertools.islice(lines, BLOCK_LINES)):
        yield block


def _encoded_rows(text: LanguageText, encoder: Encoder) -> Iterator[dict[str, np.ndarray]]:
    for block in blocks(text.lines()):
        for sample in encoder(block):
            yield {"input_ids": sample}


def encode_to_disk(text: LanguageText, encoder: Encoder, cache_dir: str | None = None) -> datasets.Dataset:
    """All samples of a language in a memory-mapped Arrow file of the `datasets` cache, made once for text and tokenizer.

    Processes may call this at the same time; one writes, and the others wait for it.

    Raises:
        ValueError: text that can't be read, or that the tokenizer makes no token of.
    """
    import datasets
    from datasets.exceptions import DatasetGenerationError

    features = datasets.Features({"input_ids": datasets.List(datasets.Value("int32"))})
    bars = datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()  # the caller shows one over languages
    try:
        dataset = datasets.Dataset.from_generator(
            _encoded_rows,
            features=features,
            gen_kwargs={"text": text, "encoder": encoder},
            cache_dir=cache_dir,
            fingerprint=hashlib.sha256((text.identity + encoder.identity).encode()).hexdigest()[:32],
        )
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, (ValueError, OSError)):
            raise error.__cause__ from None  # it names the file and the line
        raise
    finally:
        if not bars:
            datasets.enable_progress_bars()
    if not len(dataset):
        raise ValueError(f"{text.language} has no text: {', '.join(text.names)}.")
    return dataset.with_format("numpy")
