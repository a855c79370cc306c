"""Train a target tokenizer on text of many languages.

Same text and seed, same tokenizer, on any number of threads. Languages are sampled with probability proportional to
n^alpha, n their number of characters (Conneau and Lample, 2019; alpha 0.3 as XLM-R, Conneau et al., 2020), so that small
languages get pieces of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike

from transformers import PreTrainedTokenizerBase

from ..text.corpus import by_language
from .backend import load_fast_tokenizer
from .checks import LineSample, check_made_tokenizer
from .line_trainers import train_bpe, train_wordpiece
from .plan import Algorithm, check_size, plan_for, plan_like
from .unigram import train_unigram


# Share of the tokens that may be bytes or unknown where `like` has none: rare characters, some of one language.
_TOLERANCE = 0.01


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
    same_normalizer: bool = False,
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
            from the begin of its ids come first again, the others last. Accents and case are kept even where it strips
            and folds them, unless `same_normalizer` says otherwise.
        alpha: exponent of the language sampling, p ~ n^alpha with n in characters: 1 keeps the proportions of the
            text, 0 gives all languages the same share.
        max_characters: bound on the characters the trainer reads. Default: as many as `texts` has.
        model_max_length: written to the tokenizer's configuration, in tokens. Default: that of `like`, else 512.
        same_normalizer: take the normaliser of `like` as it is.
        seed: decides which lines are repeated or left out by the sampling (not for Unigram, which weights its words).

    Raises:
        ValueError: `texts` is empty or a language has no text; `alpha` is outside [0, 1]; `algorithm` is unknown or not
            that of `like`; `like` can't be followed; `vocab_size` is smaller than the alphabet of the text plus the
            special tokens; or the result would lose spaces or letters that `like` keeps.
    """
    if algorithm not in (None, "unigram", "bpe", "wordpiece"):
        raise ValueError(f"algorithm={algorithm!r} is not known; choose 'unigram', 'bpe' or 'wordpiece'")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} lies outside [0, 1]")
    if max_characters is not None and max_characters < 1:
        raise ValueError(f"max_characters={max_characters} must be at least 1, or None for all of the text")
    sample = LineSample(by_language(texts))
    if like is None:
        plan = plan_for(algorithm or "unigram")
    else:
        plan = plan_like(load_fast_tokenizer(like), algorithm, same_normalizer)
    if vocab_size < 1:
        check_size(vocab_size, 1, plan)
    train = {"unigram": train_unigram, "bpe": train_bpe, "wordpiece": train_wordpiece}[plan.algorithm]
    train(plan, sample.texts, vocab_size - len(plan.last), alpha, max_characters, seed)
    tokenizer = plan.finish(vocab_size, model_max_length)
    # Where not all is read, or little of it, letters may be missing that the text has.
    tolerance = _TOLERANCE if max_characters is None else 1.0
    check_made_tokenizer(
        tokenizer, sample.lines, model=plan.like, tolerance=tolerance, name="like" if like else "texts"
    )
    return tokenizer
