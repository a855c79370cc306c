"""Train a target tokenizer on text of many languages.

The result is a tokenizer of the `tokenizers` library. Its own Unigram and WordPiece trainers iterate over randomly seeded
hash maps and give another vocabulary each time, so the Unigram pieces come from sentencepiece (which trained XLM-R's) and
the WordPiece trainer is given an order of its alphabet: same text and seed, same tokenizer, on any number of threads.

Languages are sampled with probability proportional to n^alpha, n their number of characters (Conneau and Lample, 2019;
alpha 0.3 as XLM-R, Conneau et al., 2020), so that small languages get pieces of their own.
"""

from __future__ import annotations

import io
import json
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
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
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.utils import logging

from ..text.corpus import WEIGHT_UNIT, Words, by_language, checked, count_words, sampling_factors
from ..utils.progress import stage
from .backend import load_fast_tokenizer, with_backend


logger = logging.get_logger(__name__)

# sentencepiece adds up its expectations by thread, so that their number shows in the last digits: it is always the same
_TRAINING_THREADS = 8

# about 0.1 KB and 6 microseconds each
_SAMPLE_WORDS = 4_000_000

# sentencepiece's default: of the characters of a text, these have pieces and the others are written in bytes
_CHARACTER_COVERAGE = 0.9995

_BYTE_PIECES = [f"<0x{byte:02X}>" for byte in range(256)]

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
    texts: Mapping[str, Iterable[str]] | Sequence[PathLike],
    vocab_size: int,
    *,
    algorithm: Algorithm | None = None,
    like: PreTrainedTokenizerBase | str | PathLike | None = None,
    alpha: float = 0.3,
    max_characters: int | None = None,
    model_max_length: int | None = None,
    seed: int = 0,
) -> PreTrainedTokenizerBase:
    """Train a tokenizer on `texts` and return it, complete: `save_pretrained` writes a folder AutoTokenizer loads.

    Args:
        texts: language -> lines of text (an iterable, a `pathlib.Path` of a text file, or a data set with a column
            `text`), or a list of paths whose names begin with the language. Unigram reads it once. The others read it
            twice; what can be read once only (a generator) is spooled to a temporary file. Memory holds a table of
            distinct words, never the text.
        vocab_size: number of tokens wanted, special tokens included. A small text may give fewer (with a warning).
        algorithm: `"unigram"` with XLM-R's normalisation, word boundaries and special tokens; `"bpe"`, byte-level, with
            RoBERTa's; `"wordpiece"` with cased BERT's. Default: that of `like`, else `"unigram"`.
        like: a fast tokenizer, or a folder or Hub id with a tokenizer.json. The new tokenizer has its class, settings,
            algorithm, normalisation, word boundaries, templates and added tokens, and pieces of its own. Added tokens
            from the begin of its ids come first again, the others last.
        alpha: exponent of the language sampling, p ~ n^alpha with n in characters: 1 keeps the proportions of the
            text, 0 gives all languages the same share.
        max_characters: bound on the characters the trainer reads. Default: as many as `texts` has.
        model_max_length: written to the tokenizer's configuration, in tokens. Default: that of `like`, else 512.
        seed: decides which lines are repeated or left out by the sampling (not for Unigram, which weights its words).

    Raises:
        ValueError: `texts` is empty or a language has no text; `alpha` is outside [0, 1]; `algorithm` is unknown or not
            that of `like`; `like` can't be followed; `vocab_size` is smaller than the alphabet of the text plus the
            special tokens.
    """
    if algorithm not in (None, "unigram", "bpe", "wordpiece"):
        raise ValueError(f"algorithm={algorithm!r} is not known; choose 'unigram', 'bpe' or 'wordpiece'")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} lies outside [0, 1]")
    if max_characters is not None and max_characters < 1:
        raise ValueError(f"max_characters={max_characters} must be at least 1, or None for all of the text")
    texts = by_language(texts)

    plan = _plan(algorithm or "unigram") if like is None else _plan_like(load_fast_tokenizer(like), algorithm)
    if vocab_size < 1:
        _check_size(vocab_size, 1, plan)
    train = {"unigram": _train_unigram, "bpe": _train_bpe, "wordpiece": _train_wordpiece}[plan.algorithm]
    train(plan, texts, vocab_size - len(plan.last), alpha, max_characters, seed)
    return plan.finish(vocab_size, model_max_length)


@dataclass
class _Plan:
    """What is settled before the training: everything but the pieces.

    Attributes:
        tokenizer: with normalizer, pre-tokenizer and decoder; the training gives it its model.
        first, last: added tokens before and after the pieces.
        unk: the token for unknown characters.
        options: of the model.
        like: the tokenizer that is followed.
    """

    algorithm: Algorithm
    tokenizer: Tokenizer
    first: list[AddedToken]
    last: list[AddedToken]
    unk: str | None
    options: dict[str, Any]
    like: PreTrainedTokenizerBase | None = None

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
        tokenizer = with_backend(self.like, _with_templates(self.tokenizer, self.like.backend_tokenizer))
        if model_max_length is not None:
            tokenizer.model_max_length = tokenizer.init_kwargs["model_max_length"] = model_max_length
        return tokenizer


def _plan(algorithm: Algorithm) -> _Plan:
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
    return _Plan(
        algorithm,
        tokenizer,
        first=[AddedToken(token, normalized=False, special=True) for token in first],
        # The mask comes last, as in XLM-R and RoBERTa, and like theirs takes the space before it, so that "a <mask>" and
        # "a word" tokenize alike.
        last=[AddedToken(mask, lstrip=algorithm != "wordpiece", normalized=False, special=True)],
        unk=None if algorithm == "bpe" else tokens["unk_token"],
        options=options,
    )


def _plan_like(like: PreTrainedTokenizerBase, algorithm: Algorithm | None) -> _Plan:
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
    first = [token for index, token in added if index < size / 2]
    last = [token for index, token in added if index >= size / 2]
    if found == "unigram":
        unk = model["vocab"][model["unk_id"]][0] if model.get("unk_id") is not None else None
    else:
        unk = model.get("unk_token")
    if unk is not None and unk not in [token.content for token in first]:
        last = [token for token in last if token.content != unk]
        first.append(AddedToken(unk, normalized=False, special=True))
    names = {
        "unigram": ("byte_fallback",),
        "bpe": ("continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges"),
        "wordpiece": ("continuing_subword_prefix", "max_input_chars_per_word"),
    }[found]
    options = {name: model[name] for name in names if model.get(name) is not None}
    tokenizer = Tokenizer({"unigram": models.Unigram, "bpe": models.BPE, "wordpiece": models.WordPiece}[found]())
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        if getattr(backend, part) is not None:
            setattr(tokenizer, part, getattr(backend, part))
    return _Plan(found, tokenizer, first, last, unk, options, like)


def _check_size(vocab_size: int, symbols: int, plan: _Plan) -> None:
    special = len(plan.first) + len(plan.last)
    if vocab_size <= symbols + special:
        raise ValueError(
            f"vocab_size={vocab_size} is smaller than the alphabet: the text needs {symbols} "
            f"{'bytes' if plan.byte_level else 'characters'} and {special} special tokens; ask for more "
            f"than {symbols + special}"
        )


# Unigram


def _train_unigram(plan: _Plan, texts, size: int, alpha: float, max_characters: int | None, seed: int) -> None:
    words = count_words(plan.tokenizer, texts, alpha, max_characters=max_characters)
    bytes_ = _BYTE_PIECES if plan.options.get("byte_fallback") else []
    alphabet = set().union(*words.words) | {"▁"}
    _check_size(size + len(plan.last), len(alphabet) + len(bytes_), plan)
    reserved = plan.names + bytes_
    pieces = train_unigram_pieces(words, size - len(reserved))
    vocabulary = [(token, 0.0) for token in reserved] + [(p, s) for p, s in pieces if p not in set(reserved)]
    unk = plan.names.index(plan.unk) if plan.unk is not None else None
    plan.tokenizer.model = models.Unigram(vocabulary, unk_id=unk, byte_fallback=bool(bytes_))


def train_unigram_pieces(words: Words, size: int) -> list[tuple[str, float]]:
    """Up to `size` pieces of a Unigram model with their scores (natural logs of probabilities), best first.

    sentencepiece writes out every occurrence of a word before it counts them again, so it gets a sample of at most
    `_SAMPLE_WORDS`, drawn systematically: each word by its share, up to one occurrence.
    """
    weights = words.weights * min(1 / WEIGHT_UNIT, _SAMPLE_WORDS / words.weights.sum())
    counts = np.diff(np.floor(np.cumsum(weights) + 0.5), prepend=0).astype(np.int64)
    sample = ((word, count) for word, count in zip(words.words, counts.tolist()) if count and word != "▁")
    trained = io.BytesIO()
    with stage("Training"):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(f"{word.replace('▁', ' ')}\t{count}" for word, count in sample),
            input_format="tsv",
            model_writer=trained,
            model_type="unigram",
            vocab_size=size + 1,  # it insists on an unk
            # The default of a million takes minutes for little vocabularies. XLM-R's 250,000 began with four times as many.
            seed_sentencepiece_size=min(max(5 * size, 100_000), 1_000_000),
            hard_vocab_limit=False,
            normalization_rule_name="identity",  # the words come normalised, with their spaces
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            character_coverage=1.0,
            max_sentence_length=1 << 24,  # in bytes; longer ones would be left out silently
            num_threads=_TRAINING_THREADS,
            bos_id=-1,
            pad_id=-1,
            eos_id=-1,
            unk_id=0,
            minloglevel=2,
        )
    model = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    return [(model.id_to_piece(i), model.get_score(i)) for i in range(1, model.get_piece_size())]


# BPE and WordPiece, trained by the tokenizers library


def _train_bpe(plan: _Plan, texts, size: int, alpha: float, max_characters: int | None, seed: int) -> None:
    bytes_ = _BYTE_PIECES if plan.options.get("byte_fallback") else []
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


def _train_wordpiece(plan: _Plan, texts, size: int, alpha: float, max_characters: int | None, seed: int) -> None:
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
        alphabet = _alphabet(corpora, plan)
        bytes_ = len(_BYTE_PIECES) if plan.options.get("byte_fallback") else 0
        _check_size(size + len(plan.last), len(alphabet) + bytes_, plan)
        factors = sampling_factors([corpus.characters for corpus in corpora], alpha, max_characters)
        fill((line for corpus, factor in zip(corpora, factors) for line in corpus.sample(factor, seed)), alphabet)
    finally:
        for corpus in corpora:
            corpus.close()


def _alphabet(corpora: list[_Corpus], plan: _Plan) -> list[str]:
    if plan.byte_level:
        return sorted(pre_tokenizers.ByteLevel.alphabet())
    counts: Counter[str] = Counter()
    for corpus in corpora:
        counts.update(corpus.symbols)
    if plan.options.get("byte_fallback"):  # what is very rare stays with the bytes
        ranked = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
        kept = np.cumsum([counts[symbol] for symbol in ranked]) <= _CHARACTER_COVERAGE * sum(counts.values())
        return sorted(symbol for symbol, keep in zip(ranked, kept) if keep)
    return sorted(counts)


def _with_templates(tokenizer: Tokenizer, like: Tokenizer) -> Tokenizer:
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


@dataclass
class _Corpus:
    """The lines of one language: measured once, then sampled."""

    language: str
    lines: Iterable[str]
    plan: _Plan
    scratch: Tokenizer
    characters: int = 0
    symbols: Counter[str] = field(default_factory=Counter)  # that the vocabulary must have
    spool: Any = None

    def measure(self) -> None:
        if iter(self.lines) is self.lines:  # can be read once only
            self.spool = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n")  # noqa: SIM115
        words: set[str] = set()
        for line in checked(self.language, self.lines):
            if self.spool is not None:
                self.spool.write(" ".join(line.splitlines()) + "\n")
            if line.isspace():
                continue
            self.characters += len(line)
            if self.plan.algorithm == "wordpiece":
                text = self.plan.normalize(line)
                words.update(word for word, _ in self.scratch.pre_tokenizer.pre_tokenize_str(text))
            elif not self.plan.byte_level:
                self.symbols.update(self.plan.normalize(line))
        for word in words:
            self.symbols.update([word[0], *(self.plan.prefix + character for character in word[1:])])

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
