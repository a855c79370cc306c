"""How large a vocabulary should be: measured on the text, fertility against parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from .fertility import measure_fertility
from .normalization import WARNED_SHARE


logger = logging.get_logger(__name__)

# Of the tokens that a text is cut into, the share that twice the vocabulary must save.
LEAST_GAIN = 0.05
# Every so-manieth line is measured on, and nothing is made of it.
_MEASURED = 10
# A source's tokenizer serves a language if it cuts it into at most so many times the tokens of the pivot's translation
# (or of words, where there is none), and hardly anything is unknown to it.
_MOST_RATIO, _MOST_UNKNOWN = 2.0, 0.01


@dataclass(frozen=True)
class SizeChoice:
    """A size, and what was measured.

    Attributes:
        size: tokens.
        tokens: size -> tokens of the measured lines, of each size that was tried.
        tokenizer: of that size, made on the other lines.
    """

    size: int
    tokens: dict[int, int]
    tokenizer: PreTrainedTokenizerBase

    def __str__(self) -> str:
        tried = ", ".join(f"{size:,}: {count:,}" for size, count in self.tokens.items())
        return f"{self.size:,} tokens; held-out lines are {tried} tokens long, and twice as many save under {LEAST_GAIN:.0%}"


def choose_size(
    make: Callable[[Mapping[str, Sequence[str]], int], PreTrainedTokenizerBase],
    texts: Mapping[str, Sequence[str]],
    *,
    start: int,
    most: int,
) -> SizeChoice:
    """Doubles a vocabulary as long as that makes text of its languages shorter by a twentieth or more.

    A row of embeddings is paid for with each token, so that the last doubling that is worth it is the size. A larger one
    is no use where the text is too small to train its rows.

    Args:
        make: from language -> lines and a size to a tokenizer.
        texts: language -> lines; every tenth is measured on.
        start: the first size.
        most: the last one.

    Raises:
        ValueError: a language has too few lines to hold some out.
    """
    if small := [language for language, lines in texts.items() if len(lines) < 2 * _MEASURED]:
        raise ValueError(
            f"{small[0]} has {len(texts[small[0]])} lines, but choosing a size takes {2 * _MEASURED} or more; name the size."
        )
    rest = {language: [line for n, line in enumerate(lines) if n % _MEASURED] for language, lines in texts.items()}
    held = {language: lines[::_MEASURED] for language, lines in texts.items()}
    tokens: dict[int, int] = {}
    size, best = start, None
    while size <= most:
        try:
            made = make(rest, size)
        except ValueError:
            if best is None:
                size *= 2  # smaller than the alphabet
                continue
            raise
        count = sum(len(ids) for lines in held.values() for ids in made(lines, add_special_tokens=False)["input_ids"])
        tokens[size] = count
        if best is not None and count > (1 - LEAST_GAIN) * tokens[best.size]:
            break
        best = SizeChoice(size, tokens, made)
        if len(made) < size - 8:  # the text gives no more
            break
        size *= 2
    if best is None:
        raise ValueError(
            f"No vocabulary of up to {most:,} tokens holds the characters of the text; name a larger one."
        )
    return best


@dataclass(frozen=True)
class Service:
    """How well a tokenizer serves languages.

    Attributes:
        reasons: language -> what is wrong, for those that aren't served.
        ratios: language -> its tokens for one of the pivot's.
    """

    reasons: dict[str, str]
    ratios: dict[str, float]

    @property
    def extend(self) -> bool:
        """Whether new pieces are enough."""
        return not self.reasons

    def __str__(self) -> str:
        ratios = ", ".join(f"{language} {ratio:.1f}" for language, ratio in self.ratios.items())
        if self.extend:
            return f"extend: the source's tokenizer writes all languages (tokens for one of the pivot's: {ratios})"
        return f"train: {'; '.join(f'{language}: {why}' for language, why in self.reasons.items())}"


def judge_service(
    tokenizer: PreTrainedTokenizerBase, texts: Mapping[str, Sequence[str]], pivot: str | None, parallel: bool
) -> Service:
    """Whether a source's tokenizer can be extended for languages, or should be left for a new one.

    Args:
        tokenizer: the source's.
        texts: language -> lines.
        pivot: the language that the source knows, to compare with; None compares words with one token.
        parallel: the lines are translations of each other, so that whole texts can be compared; else words.
    """
    report = measure_fertility({"source": tokenizer}, texts).results["source"]
    known = report.get(pivot) if pivot else None
    reasons, ratios = {}, {}
    for language, found in report.items():
        if language == pivot:
            continue
        if known is None:
            ratio = found.tokens_per_word / 1.3  # what English has with a tokenizer of its own
        elif parallel:
            ratio = found.tokens / len(texts[language]) / (known.tokens / len(texts[pivot]))
        else:
            ratio = found.tokens_per_word / known.tokens_per_word
        ratios[language] = ratio
        if found.unk_share > _MOST_UNKNOWN:
            reasons[language] = f"{found.unk_share:.1%} of its tokens are unknown"
        elif found.merged_share > WARNED_SHARE:
            equal = ", ".join(" = ".join(group) for group in found.merged.examples[:2])
            reasons[language] = f"{found.merged_share:.1%} of its words become equal to others ({equal})"
        elif ratio > _MOST_RATIO:
            reasons[language] = f"{ratio:.1f} tokens for one of the pivot's"
    return Service(reasons, ratios)
