"""What a tokenizer makes of a language: tokens per word and the like, several tokenizers side by side."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from ..text.corpus import by_language, checked
from ..text.segmentation import WordSplitter
from ..utils.files import new_file
from ..utils.markdown import plain
from ..utils.strict_json import dumps
from .backend import load_fast_tokenizer, plain_backend
from .normalization import MergedWords, TypeCounter, merged_words, notes_on
from .vocabulary import Vocabulary


if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLOCK = 1024  # lines tokenized at once

_COLUMNS = {
    "tokens_per_word": ("tokens/word", "{:.2f}"),
    "characters_per_token": ("chars/token", "{:.2f}"),
    "unk_share": ("unk", "{:.2%}"),
    "byte_share": ("bytes", "{:.2%}"),
}


@dataclass(frozen=True)
class Fertility:
    """Counts of one tokenizer on the text of one language, special tokens at the ends left out.

    Attributes:
        words: as word vectors have them (UAX 29); in scripts without spaces characters, in Tibetan syllables.
        characters: Unicode code points, spaces included.
        tokens: all of them, also those of punctuation.
        unk_tokens: tokens for what the tokenizer can't write.
        byte_tokens: tokens that are no whole characters: the byte pieces of SentencePiece (`<0xE4>`), and in byte-level
            tokenizers those that begin or end inside of a character.
        merged: words that the normaliser makes equal.
    """

    words: int
    characters: int
    tokens: int
    unk_tokens: int
    byte_tokens: int
    merged: MergedWords = field(default=MergedWords(0, 0, 0, 0, ()), compare=False)

    @property
    def tokens_per_word(self) -> float:
        """Fertility (Ács, 2019; Rust et al., 2021, section 3.2)."""
        return self.tokens / self.words

    @property
    def characters_per_token(self) -> float:
        return self.characters / self.tokens

    @property
    def unk_share(self) -> float:
        return self.unk_tokens / self.tokens

    @property
    def byte_share(self) -> float:
        return self.byte_tokens / self.tokens

    @property
    def merged_share(self) -> float:
        """Of the distinct words, those that the normaliser makes equal to another."""
        return self.merged.share


@dataclass(frozen=True)
class FertilityReport:
    """`results[tokenizer][language]`."""

    results: dict[str, dict[str, Fertility]]

    @property
    def tokenizers(self) -> list[str]:
        return list(self.results)

    @property
    def languages(self) -> list[str]:
        return list(next(iter(self.results.values())))

    def mean(self, tokenizer: str, measure: str) -> float:
        """Of the languages, each counting alike."""
        return fmean(getattr(result, measure) for result in self.results[tokenizer].values())

    def notes(self) -> list[str]:
        """A sentence for each tokenizer and language where more than a hundredth of the words falls together."""
        return notes_on(
            {
                name: {language: result.merged for language, result in results.items()}
                for name, results in self.results.items()
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """tokenizer -> language -> counts and measures."""
        return {
            tokenizer: {
                language: asdict(result)
                | {measure: getattr(result, measure) for measure in (*_COLUMNS, "merged_share")}
                for language, result in results.items()
            }
            for tokenizer, results in self.results.items()
        }

    def to_json(self) -> str:
        return dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rows of the table: for each language, and for their mean, a row a tokenizer."""
        headings = ["language", "words", "tokenizer", *(name for name, _ in _COLUMNS.values())]
        rows = []
        for language in self.languages:
            for name, results in self.results.items():
                result = results[language]
                values = (layout.format(getattr(result, measure)) for measure, (_, layout) in _COLUMNS.items())
                rows.append([language, f"{result.words:,}", name, *values])
        for name in self.tokenizers:
            values = (layout.format(self.mean(name, measure)) for measure, (_, layout) in _COLUMNS.items())
            rows.append(["mean", "", name, *values])
        return headings, rows

    def to_markdown(self) -> str:
        headings, rows = self.cells()
        rule = ["---", "---:", "---", *("---:" for _ in _COLUMNS)]
        return "\n".join(f"| {' | '.join(map(plain, row))} |" for row in (headings, rule, *rows))

    def plot(self, path: str | os.PathLike) -> None:
        """Tokens per word and characters per token as bars, a group a language; the ending says the format (.png, .svg).

        Raises:
            ImportError: matplotlib is missing.
            ValueError: an ending that matplotlib doesn't write.
        """
        path = Path(path)
        figure_class = check_picture(path)
        names, languages = self.tokenizers, self.languages
        # Drawn without pyplot: no window, no state.
        figure = figure_class(figsize=(9, 1.5 + 0.18 * len(languages) * (len(names) + 1)), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        places = np.arange(len(languages)) * (len(names) + 1.0)
        for axis, (measure, title) in zip(
            axes, [("tokens_per_word", "tokens per word"), ("characters_per_token", "characters per token")]
        ):
            for i, name in enumerate(names):
                values = [getattr(self.results[name][language], measure) for language in languages]
                axis.barh(places + i, values, height=0.9, label=name)
            axis.set_xlabel(title)
            axis.grid(axis="x", alpha=0.3)
        axes[0].set_yticks(places + (len(names) - 1) / 2, languages)
        axes[0].invert_yaxis()
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=min(len(names), 3))
        with new_file(path) as temporary:
            figure.savefig(temporary, dpi=150, format=path.suffix[1:].lower())


def check_picture(path: Path) -> type[Figure]:
    """matplotlib's class of figures, once it is sure that it can write `path`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "The picture needs matplotlib: pip install 'ofa-transformers[plot]'; the table and JSON do not"
        ) from error
    supported = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in supported:
        raise ValueError(f"{path}: no ending of a picture; use one of .{', .'.join(sorted(supported))}")
    return Figure


def measure_fertility(
    tokenizers: Mapping[str, PreTrainedTokenizerBase | str | os.PathLike],
    texts: Mapping[str, Iterable[str]] | Sequence[os.PathLike],
) -> FertilityReport:
    """Tokens per word, characters per token, shares of unknown and byte tokens and of words that fall together.

    Args:
        tokenizers: name -> fast tokenizer, or a folder or Hub id with a tokenizer.json.
        texts: language -> lines (an iterable, a `pathlib.Path`, a data set), or a list of paths whose names begin with
            the language. Each is read once and streamed.

    Raises:
        ValueError: no tokenizer; one that isn't fast; a language without words.
    """
    if not tokenizers:
        raise ValueError("tokenizers is empty: give at least one")
    texts = by_language(texts)
    counters = {name: _Counter(load_fast_tokenizer(tokenizer)) for name, tokenizer in tokenizers.items()}
    split = WordSplitter("characters").units
    results: dict[str, dict[str, Fertility]] = {name: {} for name in tokenizers}
    for language in logging.tqdm(texts, desc="Measuring", unit="language", delay=2, leave=False):
        lines = iter(checked(language, texts[language]))
        words = characters = 0
        types = TypeCounter()
        totals = {name: np.zeros(3, dtype=np.int64) for name in tokenizers}
        while block := list(itertools.islice(lines, _BLOCK)):
            words += sum(len(split(line)) for line in block)
            characters += sum(map(len, block))
            types.update(block)
            for name, counter in counters.items():
                totals[name] += counter.count(block)
        if not words:
            files = getattr(texts[language], "names", [])
            where = f" ({', '.join(files[:3])})" if files else ""
            raise ValueError(
                f"the text of {language!r}{where} has no words; give another text, or leave the language out"
            )
        for name, total in totals.items():
            merged = merged_words(types.table, counters[name].backend.normalizer)
            results[name][language] = Fertility(words, characters, *map(int, total), merged)
    return FertilityReport(results)


class _Counter:
    """Tokens, unknown tokens and byte tokens of lines."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        vocabulary = Vocabulary.from_tokenizer(tokenizer)
        self.backend = plain_backend(tokenizer)
        self.masks = np.zeros((len(vocabulary), 3), dtype=np.int64)
        self.masks[:, 0] = 1
        unk = vocabulary.roles.get("unk")
        # byte-level tokenizers may name an unk, even one that is eos too, but never use it
        if unk is not None and vocabulary.kind != "byte_level":
            self.masks[unk, 1] = 1
        self.masks[:, 2] = vocabulary.byte_pieces
        if vocabulary.kind == "byte_level":
            self.masks[:, 2] = [form is not None and not _whole(form) for form in vocabulary.forms]

    def count(self, lines: list[str]) -> np.ndarray:
        encodings = self.backend.encode_batch_fast(lines, add_special_tokens=False)
        ids = np.fromiter(itertools.chain.from_iterable(e.ids for e in encodings), dtype=np.int64)
        return np.bincount(ids, minlength=len(self.masks)) @ self.masks


def _whole(form: bytes) -> bool:
    try:
        form.decode()
    except UnicodeDecodeError:
        return False
    return True
