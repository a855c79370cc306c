"""Train a target tokenizer on text of many languages.

The result is a tokenizer of the `tokenizers` library. Its own Unigram and WordPiece trainers iterate over randomly seeded
hash maps and give another vocabulary each time, so the Unigram pieces come from sentencepiece (which trained XLM-R's) and
the WordPiece trainer is given an order of its alphabet: same text and seed, same tokenizer, on any number of threads.

Languages are sampled with probability proportional to n^alpha, n their number of characters (Conneau and Lample, 2019;
alpha 0.3 as XLM-R, Conneau et al., 2020), so that small languages get pieces of their own.
"""

from __future__ import annotations

import io
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import sentencepiece
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging


logger = logging.get_logger(__name__)

# sentencepiece adds up its expectations by thread, so that their number shows in the last digits: it is always the same
_TRAINING_THREADS = 8

Algorithm = Literal["unigram", "bpe", "wordpiece"]

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


def train_tokenizer(
    texts: Mapping[str, Iterable[str]],
    vocab_size: int,
    *,
    algorithm: Algorithm = "unigram",
    alpha: float = 0.3,
    max_characters: int | None = None,
    model_max_length: int = 512,
    seed: int = 0,
) -> PreTrainedTokenizerFast:
    """Train a tokenizer on `texts` and return it, complete: `save_pretrained` writes a folder AutoTokenizer loads.

    Args:
        texts: language -> lines of text. A list or another iterable that can be read twice is read twice; a generator
            is spooled to a temporary file. Memory holds the trainer's table of distinct words, never the text.
        vocab_size: number of tokens wanted, special tokens included. A small text may give fewer (with a warning).
        algorithm: `"unigram"` with XLM-R's normalisation, word boundaries and special tokens; `"bpe"`, byte-level, with
            RoBERTa's; `"wordpiece"` with cased BERT's.
        alpha: exponent of the language sampling, p ~ n^alpha with n in characters: 1 keeps the proportions of the
            text, 0 gives all languages the same share.
        max_characters: bound on the characters the trainer reads. Default: as many as `texts` has.
        model_max_length: written to the tokenizer's configuration, in tokens.
        seed: decides which lines are repeated or left out by the sampling.

    Raises:
        ValueError: `texts` is empty or a language has no text; `alpha` is outside [0, 1]; `algorithm` is unknown;
            `vocab_size` is smaller than the alphabet of the text plus the special tokens.
    """
    if algorithm not in ("unigram", "bpe", "wordpiece"):
        raise ValueError(f"algorithm={algorithm!r} is not known; choose 'unigram', 'bpe' or 'wordpiece'")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} lies outside [0, 1]")
    if max_characters is not None and max_characters < 1:
        raise ValueError(f"max_characters={max_characters} must be at least 1, or None for all of the text")
    if isinstance(texts, str) or not isinstance(texts, Mapping):
        raise ValueError(f"texts must map each language to its lines of text; got {type(texts).__name__}")
    if not texts:
        raise ValueError("texts is empty: give at least one language")
    for language, lines in texts.items():
        if isinstance(lines, (str, bytes)):
            raise ValueError(f"texts[{language!r}] is one string; give an iterable of lines")

    tokens = BERT_TOKENS if algorithm == "wordpiece" else ROBERTA_TOKENS
    tokenizer = _untrained(algorithm)
    # the mask comes last, as in XLM-R and RoBERTa
    first = [token for token in dict.fromkeys(tokens.values()) if token != tokens["mask_token"]]
    corpora = [_Corpus(language, texts[language], tokenizer) for language in sorted(texts)]
    try:
        for corpus in corpora:
            corpus.measure()
        empty = [corpus.language for corpus in corpora if not corpus.characters]
        if empty:
            raise ValueError(f"no text for: {', '.join(empty)}")
        alphabet = sorted(set().union(*(corpus.alphabet for corpus in corpora)))
        needed = len(alphabet) + len(first) + 1
        if vocab_size <= needed:
            raise ValueError(
                f"vocab_size={vocab_size} is smaller than the alphabet: the text needs {len(alphabet)} "
                f"{'bytes' if algorithm == 'bpe' else 'characters'} and {len(first) + 1} special tokens; ask for more "
                f"than {needed}"
            )
        factors = _repeats([corpus.characters for corpus in corpora], alpha, max_characters)
        sampled = (line for corpus, factor in zip(corpora, factors) for line in corpus.sample(factor, seed))
        fill = {"unigram": _fill_unigram, "bpe": _fill_bpe, "wordpiece": _fill_wordpiece}[algorithm]
        fill(tokenizer, sampled, vocab_size - 1, first, alphabet)
    finally:
        for corpus in corpora:
            corpus.close()
    return _finish(tokenizer, algorithm, tokens, vocab_size, model_max_length)


def _untrained(algorithm: Algorithm) -> Tokenizer:
    """Normalisation and pre-tokenization of XLM-R, RoBERTa or cased BERT, without a vocabulary."""
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
    return tokenizer


def _fill_unigram(
    tokenizer: Tokenizer, lines: Iterator[str], size: int, first: list[str], alphabet: list[str]
) -> None:
    bos, pad, eos, unk = first
    normalize = tokenizer.normalizer.normalize_str
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text for text in map(normalize, lines) if text and not text.isspace()),
        model_writer=trained,
        model_type="unigram",
        vocab_size=size,
        hard_vocab_limit=False,
        normalization_rule_name="identity",  # the text comes normalised
        character_coverage=1.0,
        max_sentence_length=1 << 24,  # in bytes; longer lines would be left out silently
        num_threads=_TRAINING_THREADS,
        bos_id=0,
        pad_id=1,
        eos_id=2,
        unk_id=3,
        bos_piece=bos,
        pad_piece=pad,
        eos_piece=eos,
        unk_piece=unk,
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    ids = range(model.get_piece_size())
    tokenizer.model = models.Unigram([(model.id_to_piece(i), model.get_score(i)) for i in ids], unk_id=3)
    tokenizer.add_special_tokens(first)


def _fill_bpe(tokenizer: Tokenizer, lines: Iterator[str], size: int, first: list[str], alphabet: list[str]) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=first,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)


def _fill_wordpiece(
    tokenizer: Tokenizer, lines: Iterator[str], size: int, first: list[str], alphabet: list[str]
) -> None:
    # The trainer numbers "##x" as it meets them, in the order of a hash map, and breaks ties by number. Special tokens
    # it numbers first and in their order, so the alphabet is given as such and the model is then made anew without.
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=first + alphabet, show_progress=False)
    scratch = Tokenizer(models.WordPiece(unk_token=BERT_TOKENS["unk_token"]))
    scratch.normalizer, scratch.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    scratch.train_from_iterator(lines, trainer)
    tokenizer.model = models.WordPiece(scratch.get_vocab(), unk_token=BERT_TOKENS["unk_token"])
    tokenizer.add_special_tokens(first)


def _finish(
    tokenizer: Tokenizer, algorithm: Algorithm, tokens: dict[str, str], vocab_size: int, model_max_length: int
) -> PreTrainedTokenizerFast:
    bert = algorithm == "wordpiece"
    # like XLM-R's and RoBERTa's, the mask takes the space before it, so that "a <mask>" and "a word" tokenize alike
    mask = AddedToken(tokens["mask_token"], lstrip=not bert, normalized=False, special=True)
    tokenizer.add_special_tokens([mask])
    size = tokenizer.get_vocab_size()
    if size < vocab_size:
        logger.warning(f"The text gave {size} tokens, fewer than vocab_size={vocab_size}.")
    opening, closing = tokens["cls_token"], tokens["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{opening}:0 $A:0 {closing}:0",
        pair=f"{opening}:0 $A:0 {closing}:0 " + (f"$B:1 {closing}:1" if bert else f"{closing}:0 $B:0 {closing}:0"),
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (opening, closing)],
    )
    inputs = ["input_ids", "token_type_ids", "attention_mask"] if bert else ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=model_max_length,
        model_input_names=inputs,
        clean_up_tokenization_spaces=False,
        **{**tokens, "mask_token": mask},
    )


def _repeats(characters: list[int], alpha: float, max_characters: int | None) -> np.ndarray:
    """How often each language is read, so that its share of the whole becomes n^alpha / sum n^alpha."""
    counts = np.asarray(characters, dtype=np.float64)
    shares = counts**alpha / (counts**alpha).sum()
    total = counts.sum() if max_characters is None else min(max_characters, counts.sum())
    return shares * total / counts


@dataclass
class _Corpus:
    """The lines of one language: measured once, then sampled."""

    language: str
    lines: Iterable[str]
    tokenizer: Tokenizer
    characters: int = 0
    alphabet: set[str] = field(default_factory=set)  # single-symbol pieces that the vocabulary must have
    spool: Any = None

    def measure(self) -> None:
        if iter(self.lines) is self.lines:  # can be read once only
            self.spool = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n")  # noqa: SIM115
        model = self.tokenizer.model
        seen: set[str] = set()
        for number, line in enumerate(self.lines, 1):
            if not isinstance(line, str):
                raise ValueError(
                    f"texts[{self.language!r}] yielded {type(line).__name__} as line {number}; lines must be str"
                )
            if self.spool is not None:
                self.spool.write(" ".join(line.splitlines()) + "\n")
            self.characters += 0 if line.isspace() else len(line)
            if isinstance(model, models.Unigram):
                seen.update(self.tokenizer.normalizer.normalize_str(line))
            elif isinstance(model, models.WordPiece):
                text = self.tokenizer.normalizer.normalize_str(line)
                seen.update(word for word, _ in self.tokenizer.pre_tokenizer.pre_tokenize_str(text))
        if isinstance(model, models.Unigram):
            self.alphabet = {character for character in seen if not character.isspace()} | {"▁"}
        elif isinstance(model, models.WordPiece):
            self.alphabet = {word[0] for word in seen} | {f"##{character}" for word in seen for character in word[1:]}
        else:
            self.alphabet = set(pre_tokenizers.ByteLevel.alphabet())

    def sample(self, factor: float, seed: int) -> Iterator[str]:
        """Each line floor(factor) times, and once more with the probability that is left."""
        generator = np.random.default_rng([seed, zlib.crc32(self.language.encode("utf-8"))])
        whole, rest = divmod(factor, 1)
        if self.spool is not None:
            self.spool.seek(0)
        for line in self.lines if self.spool is None else self.spool:
            for _ in range(int(whole) + (generator.random() < rest)):
                yield line

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()
