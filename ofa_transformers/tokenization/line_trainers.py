"""BPE and WordPiece, trained by the tokenizers library on sampled lines.

Its WordPiece trainer iterates over randomly seeded hash maps, too, and is given an order of its alphabet.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from ..text.corpus import checked
from ..utils.progress import stage
from .plan import BYTE_PIECES, Plan, check_size
from .word_counts import sampling_factors


# sentencepiece's default: of the characters of a text, these have pieces and the others are written in bytes
CHARACTER_COVERAGE = 0.9995


def train_bpe(plan: Plan, texts, size: int, alpha: float, max_characters: int | None, seed: int) -> None:
    bytes_ = BYTE_PIECES if plan.options.get("byte_fallback") else []
    scratch = Tokenizer(models.BPE(unk_token=plan.unk))
    if plan.tokenizer.normalizer is not None:
        scratch.normalizer = plan.tokenizer.normalizer
    if plan.byte_level:
        scratch.pre_tokenizer = plan.tokenizer.pre_tokenizer
    else:  # a piece lies in one word, also where the tokenizer itself cuts lines nowhere (Llama 2)
        at_mark = pre_tokenizers.Split("▁", "merged_with_next")
        own = plan.tokenizer.pre_tokenizer
        scratch.pre_tokenizer = at_mark if own is None else pre_tokenizers.Sequence([own, at_mark])

    def fill(lines: Iterator[str], alphabet: list[str]) -> None:
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=plan.names + bytes_,
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=False,
            **{
                name: plan.options[name]
                for name in ("continuing_subword_prefix", "end_of_word_suffix")
                if plan.options.get(name)
            },
        )
        with stage("Training"):
            scratch.train_from_iterator(lines, trainer)
        state = json.loads(scratch.model.__getstate__())
        plan.tokenizer.model = models.BPE(
            state["vocab"], [tuple(merge) for merge in state["merges"]], unk_token=plan.unk, **plan.options
        )

    _sampled(plan, scratch, texts, size, alpha, max_characters, seed, fill)


def train_wordpiece(plan: Plan, texts, size: int, alpha: float, max_characters: int | None, seed: int) -> None:
    scratch = Tokenizer(models.WordPiece(unk_token=plan.unk))
    for part in ("normalizer", "pre_tokenizer"):
        if getattr(plan.tokenizer, part) is not None:
            setattr(scratch, part, getattr(plan.tokenizer, part))

    def fill(lines: Iterator[str], alphabet: list[str]) -> None:
        # The trainer numbers "##x" as it meets them, in the order of a hash map, and breaks ties by number. Special
        # tokens it numbers first and in their order, so the alphabet is given as such.
        trainer = trainers.WordPieceTrainer(
            vocab_size=size,
            special_tokens=plan.names + alphabet,
            continuing_subword_prefix=plan.prefix,
            show_progress=False,
        )
        with stage("Training"):
            scratch.train_from_iterator(lines, trainer)
        plan.tokenizer.model = models.WordPiece(
            scratch.get_vocab(with_added_tokens=True), unk_token=plan.unk, **plan.options
        )

    _sampled(plan, scratch, texts, size, alpha, max_characters, seed, fill)


def _sampled(plan, scratch, texts, size, alpha, max_characters, seed, fill) -> None:
    """Measures the text, checks that its alphabet fits, and trains on a sample."""
    corpora = [_Corpus(language, texts[language], plan, scratch) for language in sorted(texts)]
    try:
        for corpus in corpora:
            corpus.measure()
        empty = [corpus.language for corpus in corpora if not corpus.characters]
        if empty:
            raise ValueError(f"no text for: {', '.join(empty)}")
        factors = sampling_factors([corpus.characters for corpus in corpora], alpha, max_characters)
        alphabet = _alphabet(corpora, factors.tolist(), plan)
        bytes_ = len(BYTE_PIECES) if plan.options.get("byte_fallback") else 0
        check_size(size + len(plan.last), len(alphabet) + bytes_, plan)
        fill((line for corpus, factor in zip(corpora, factors) for line in corpus.sample(factor, seed)), alphabet)
    finally:
        for corpus in corpora:
            corpus.close()


def _alphabet(corpora: list[_Corpus], factors: list[float], plan: Plan) -> list[str]:
    """Symbols that get a token, weighted as the languages are sampled: those of a small one are no rare ones."""
    if plan.byte_level:
        return sorted(pre_tokenizers.ByteLevel.alphabet())
    counts: dict[str, float] = {}
    for corpus, factor in zip(corpora, factors):
        for symbol, count in corpus.symbols.items():
            counts[symbol] = counts.get(symbol, 0) + factor * count
    if plan.options.get("byte_fallback"):  # what is very rare stays with the bytes
        ranked = sorted(counts, key=lambda symbol: (counts[symbol], symbol))
        rare = np.cumsum([counts[symbol] for symbol in ranked]) <= (1 - CHARACTER_COVERAGE) * sum(counts.values())
        return sorted(symbol for symbol, left_out in zip(ranked, rare) if not left_out)
    return sorted(counts)


@dataclass
class _Corpus:
    """The lines of one language: measured once, then sampled."""

    language: str
    lines: Iterable[str]
    plan: Plan
    scratch: Tokenizer
    characters: int = 0
    symbols: Counter[str] = field(default_factory=Counter)  # that the vocabulary must have
    spool: Any = None

    def measure(self) -> None:
        if iter(self.lines) is self.lines:  # can be read once only
            self.spool = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n")  # noqa: SIM115
        words: set[str] = set()
        for line in self._one_by_one():
            if self.spool is not None:
                self.spool.write(line + "\n")
            if line.isspace():
                continue
            self.characters += len(line)
            if self.plan.algorithm == "wordpiece":
                text = self.plan.normalize(line)
                words.update(word for word, _ in self.scratch.pre_tokenizer.pre_tokenize_str(text))
            elif not self.plan.byte_level:  # as cut: Llama's and NLLB's mark of a word comes with the pre-tokenizer
                cut = self.scratch.pre_tokenizer.pre_tokenize_str(self.plan.normalize(line))
                self.symbols.update("".join(word for word, _ in cut))
        for word in words:
            self.symbols.update([word[0], *(self.plan.prefix + character for character in word[1:])])

    def _one_by_one(self) -> Iterator[str]:
        return (" ".join(line.splitlines()) for line in checked(self.language, self.lines))

    def sample(self, factor: float, seed: int) -> Iterator[str]:
        """Each line floor(factor) times, and once more with the probability that is left."""
        generator = np.random.default_rng([seed, zlib.crc32(self.language.encode("utf-8"))])
        whole, rest = divmod(factor, 1)
        if self.spool is not None:
            self.spool.seek(0)
        for line in self._one_by_one() if self.spool is None else (line[:-1] for line in self.spool):
            for _ in range(int(whole) + (generator.random() < rest)):
                yield line

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()
