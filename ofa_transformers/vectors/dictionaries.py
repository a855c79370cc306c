"""`Dictionary`: translations between words of two or many languages, from files or tuples."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers.utils import logging

from ..text.file_names import pair_of
from ..text.languages import to_iso639_3
from ..text.lines import numbered_lines


logger = logging.get_logger(__name__)

# The header of the Wiktionary dictionaries of WECHSEL (github.com/CPJKU/wechsel) put in one table.
_WIKTIONARY_HEADER = ["language", "iso639_3", "source_word", "english_word"]

# language, word, language, word, weight
Entry = tuple[str, str, str, str, float]


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Translations between words of any number of languages.

    Attributes:
        words: N words, in Unicode normalisation form C; each word of a language once. A word may have several parts
            ("cable car").
        languages: (N,) the language of each word, ISO 639-3 codes as a numpy string array.
        entries: (E, 2) int64, the words of each entry as indices, each pair once, in the order of the origin.
        weights: (E,) float32, how often or how surely the pair was seen; entries that are there twice add up.

    Raises:
        ValueError: no entries, lengths that differ, or weights that aren't positive and finite.
    """

    words: Sequence[str]
    languages: np.ndarray
    entries: np.ndarray
    weights: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "languages", np.asarray(self.languages, dtype=np.str_))
        object.__setattr__(self, "entries", np.asarray(self.entries, dtype=np.int64).reshape(-1, 2))
        object.__setattr__(self, "weights", np.asarray(self.weights, dtype=np.float32))
        if len(self.words) != len(self.languages) or len(self.entries) != len(self.weights):
            raise ValueError(
                f"Each word needs one language and each entry one weight, but there are {len(self.words)} words, "
                f"{len(self.languages)} languages, {len(self.entries)} entries and {len(self.weights)} weights."
            )
        if not len(self.entries):
            raise ValueError("A dictionary needs at least one entry, but has none.")
        lowest, highest = int(self.entries.min()), int(self.entries.max())
        if lowest < 0 or highest >= len(self.words):
            raise ValueError(f"Entries name words 0 to {len(self.words) - 1}, but found {lowest} to {highest}.")
        if not (np.isfinite(self.weights).all() and (self.weights > 0).all()):
            raise ValueError("The weights of entries must be positive and finite.")

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        counts = self.language_counts()
        shown = ", ".join(list(counts)[:8]) + (", ..." if len(counts) > 8 else "")
        return f"Dictionary({len(self):,} entries, {len(self.words):,} words, {len(counts)} languages: {shown})"

    def language_counts(self) -> dict[str, int]:
        """The number of entries that each language takes part in, the largest first."""
        names, of_word = np.unique(self.languages, return_inverse=True)
        left, right = of_word[self.entries].T
        counts = np.bincount(left, minlength=len(names))
        counts += np.bincount(right[left != right], minlength=len(names))
        order = np.lexsort((names, -counts))
        return {str(names[i]): int(counts[i]) for i in order if counts[i]}

    def select(self, languages: Iterable[str]) -> "Dictionary":
        """The entries both of whose words belong to `languages`.

        Raises:
            ValueError: there are none.
        """
        wanted = [languages] if isinstance(languages, str) else sorted(set(languages))
        return self._subset(np.isin(self.languages, wanted)[self.entries].all(axis=1), " and ".join(wanted))

    def between(self, source: str, target: str) -> np.ndarray:
        """(e, 2) the entries between two languages, whichever way round they stand: source words, target words.

        Raises:
            ValueError: there are none.
        """
        is_source, is_target = self.languages == source, self.languages == target
        left, right = self.entries.T
        forward = is_source[left] & is_target[right]
        backward = is_target[left] & is_source[right] & ~forward
        if not (forward | backward).any():
            raise ValueError(self._none_between(f"{source} and {target}"))
        return np.where(backward[:, None], self.entries[:, ::-1], self.entries)[forward | backward]

    def renamed(self, languages: Mapping[str, str]) -> "Dictionary":
        """The same with other language codes, such as `{"swa": "swh"}` where vectors name the individual language.

        Raises:
            ValueError: a code that the dictionary doesn't have, or a new one that is not an ISO 639 code.
        """
        names, of_word = np.unique(self.languages, return_inverse=True)
        missing = sorted(set(languages) - set(names.tolist()))
        if missing:
            raise ValueError(f"The dictionary has no words of {', '.join(missing)}, which can't be renamed.")
        new = np.array([to_iso639_3(languages.get(name, name)) for name in names.tolist()])
        if len(set(new.tolist())) == len(names):
            return Dictionary(self.words, new[of_word], self.entries, self.weights)
        new = new[of_word].tolist()
        rows = zip(self.entries.tolist(), self.weights.tolist())
        return _collect((new[a], self.words[a], new[b], self.words[b], weight) for (a, b), weight in rows)

    def split(self, share: float = 0.1, *, seed: int = 0) -> tuple["Dictionary", "Dictionary"]:
        """Two parts: the entries to use, and about `share` of them to judge by.

        All entries with the same first word (the source word of a bilingual dictionary) go to the same part. The same
        seed gives the same parts.

        Raises:
            ValueError: a share that leaves one part empty.
        """
        firsts, of_entry = np.unique(self.entries[:, 0], return_inverse=True)
        size = round(share * len(firsts)) if 0 < share < 1 else 0
        if not 0 < size < len(firsts):
            raise ValueError(
                f"share is {share}, which of {len(firsts)} words leaves a part empty; pass a number between 0 and 1 "
                "that doesn't."
            )
        held_out = np.zeros(len(firsts), dtype=bool)
        held_out[np.random.default_rng(seed).permutation(len(firsts))[:size]] = True
        return self._subset(~held_out[of_entry]), self._subset(held_out[of_entry])

    @classmethod
    def load(
        cls, paths: str | os.PathLike | Iterable[str | os.PathLike], *, languages: tuple[str, str] | None = None
    ) -> "Dictionary":
        """A dictionary from one or several text files, plain or packed with gzip or zstd (extra `zstd`).

        The first line of a file tells its layout:

        - `language<TAB>iso639_3<TAB>source_word<TAB>english_word`, the header of the Wiktionary dictionaries of
          WECHSEL in one table; lines without a code (languages whose name is ambiguous) are left out, with a warning;
        - four columns `language<TAB>word<TAB>language<TAB>word`, and optionally a fifth, a weight;
        - two columns `word<TAB>word`, or `word word` as in MUSE, and after tabs optionally a third, a weight (a count
          of alignments, say). The two languages are given by `languages`, or by the name (`en-fr.0-5000.txt`).

        Args:
            paths: a file or several, read into one dictionary.
            languages: of the first and of the second column of files of two languages.

        Raises:
            FileNotFoundError: a path that is no file.
            ValueError: a line that doesn't fit the layout, with file, line and content; languages that are unknown or
                not needed; a code that is not ISO 639; no entries.
        """
        files = [Path(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
        if not files:
            raise ValueError("paths is empty; pass at least one dictionary file.")
        for path in files:
            if not path.is_file():
                raise FileNotFoundError(f"The dictionary {path} is not a file.")
        if languages is not None:
            first, second = languages
            languages = (to_iso639_3(first), to_iso639_3(second))
        entries = _entries_of_files(files, languages)
        return _collect(logging.tqdm(entries, unit="entry", unit_scale=True, desc="Reading", delay=2, leave=False))

    @classmethod
    def from_entries(cls, entries: Iterable[Sequence]) -> "Dictionary":
        """A dictionary from tuples `(language, word, language, word)`, optionally with a weight after them.

        For a mapping such as word2word gives, `(("eng", word, "fra", t) for word in words for t in word2word(word))`.

        Raises:
            ValueError: an entry of another shape, with an empty word, with a code that is not ISO 639, or whose weight
                isn't a positive number (entry and content are named); no entries.
        """
        return _collect(_checked_entries(entries))

    @classmethod
    def of(cls, dictionaries: "Dictionary | str | os.PathLike | Iterable") -> "Dictionary":
        """What functions that need a dictionary accept: one, the path or paths of files, or tuples of entries."""
        if isinstance(dictionaries, Dictionary):
            return dictionaries
        if isinstance(dictionaries, (str, os.PathLike)):
            return cls.load(dictionaries)
        entries = list(dictionaries)
        if entries and all(isinstance(entry, (str, os.PathLike)) for entry in entries):
            return cls.load(entries)
        return cls.from_entries(entries)

    def _subset(self, keep: np.ndarray, languages: str = "") -> "Dictionary":
        """The entries where `keep` (E,) is true, with the words that they need."""
        if not keep.any():
            raise ValueError(self._none_between(languages))
        used, entries = np.unique(self.entries[keep], return_inverse=True)
        words = [self.words[i] for i in used.tolist()]
        return Dictionary(words, self.languages[used], entries.reshape(-1, 2), self.weights[keep])

    def _none_between(self, languages: str) -> str:
        available = list(self.language_counts())
        shown = ", ".join(available[:20]) + (f", ... ({len(available)} in all)" if len(available) > 20 else "")
        return f"The dictionary has no entries between {languages}; it has {shown}."


def _collect(entries: Iterable[Entry]) -> Dictionary:
    """A dictionary from checked entries; words and pairs that come again fall together."""
    words: list[str] = []
    ids: dict[str, dict[str, int]] = {}
    languages: list[str] = []
    pairs: list[int] = []
    weights: list[float] = []
    for first, word, second, translation, weight in entries:
        for language, text in ((first, word), (second, translation)):
            of_language = ids.setdefault(language, {})
            index = of_language.get(text)
            if index is None:
                index = of_language[text] = len(words)
                words.append(text)
                languages.append(language)
            pairs.append(index)
        weights.append(weight)
    del ids
    rows = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    unordered = rows.min(axis=1) * len(words) + rows.max(axis=1)
    _, first_at, of_row = np.unique(unordered, return_index=True, return_inverse=True)
    summed = np.bincount(of_row, weights=weights, minlength=len(first_at))
    order = np.argsort(first_at, kind="stable")
    return Dictionary(words, np.array(languages, dtype=np.str_), rows[first_at[order]], summed[order])


def _checked_entries(entries: Iterable[Sequence]) -> Iterator[Entry]:
    codes: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, (tuple, list)) or len(entry) not in (4, 5):
            raise ValueError(
                f"Dictionary entry {number}: expected (language, word, language, word), optionally with a weight, but "
                f"found {entry!r:.80}."
            )
        try:
            checked = _entry(codes, *entry)
        except ValueError as error:
            raise ValueError(f"Dictionary entry {number}, {entry!r:.80}: {error}") from error
        yield checked


def _entry(
    codes: dict[str, str], first: str, word: str, second: str, translation: str, weight: float | str = 1.0
) -> Entry:
    word, translation = _clean(word), _clean(translation)
    if not word or not translation:
        raise ValueError("a word is empty; correct or remove the entry.")
    for code in (first, second):
        if code not in codes:
            codes[code] = to_iso639_3(code)
    if weight != 1.0:
        try:
            number = float(weight)
        except (TypeError, ValueError):
            number = 0.0
        if not 0 < number < float("inf"):
            raise ValueError(f"the weight {weight!r:.80} is not a positive number; correct or remove the entry.")
        weight = number
    return codes[first], word, codes[second], translation, weight


def _clean(word: str) -> str:
    return unicodedata.normalize("NFC", " ".join(word.split()))


def _entries_of_files(paths: list[Path], languages: tuple[str, str] | None) -> Iterator[Entry]:
    codes: dict[str, str] = {}
    for path in paths:
        yield from _entries_of_file(path, languages, codes)


def _entries_of_file(path: Path, languages: tuple[str, str] | None, codes: dict[str, str]) -> Iterator[Entry]:
    lines = numbered_lines(path)
    number, line = next(lines, (0, ""))
    if not line:
        raise ValueError(f"{path} is empty; a dictionary has one entry a line.")
    fields = _fields(line)
    if fields == _WIKTIONARY_HEADER:
        _refuse_languages(path, languages)
        yield from _wiktionary_entries(path, lines, codes)
        return
    columns = len(fields)
    if columns in (4, 5):
        _refuse_languages(path, languages)
        names, layout = None, "`language<TAB>word<TAB>language<TAB>word`, optionally with a weight"
    elif columns in (2, 3):
        names = languages or _languages_of_name(path)
        layout = "`word<TAB>word`, optionally with a weight"
    else:
        raise ValueError(
            f"{path}, line {number}: expected two columns `word<TAB>word` or four, `language<TAB>word<TAB>language<TAB>"
            f"word`, but found {line[:80]!r}."
        )
    while line:
        fields = _fields(line)
        if len(fields) != columns:
            raise ValueError(
                f"{path}, line {number}: expected {columns} columns like the first line, {layout}, but found "
                f"{line[:80]!r}; correct or remove the line."
            )
        if names is not None:
            fields = [names[0], fields[0], names[1], *fields[1:]]
        yield _entry_of_line(path, number, line, codes, fields)
        number, line = next(lines, (0, ""))


def _entry_of_line(path: Path, number: int, line: str, codes: dict[str, str], fields: list[str]) -> Entry:
    try:
        return _entry(codes, *fields)
    except ValueError as error:
        raise ValueError(f"{path}, line {number}, {line[:80]!r}: {error}") from error


def _wiktionary_entries(path: Path, lines: Iterator[tuple[int, str]], codes: dict[str, str]) -> Iterator[Entry]:
    without_code: Counter[str] = Counter()
    for number, line in lines:
        fields = line.split("\t")
        if len(fields) != 4:
            raise ValueError(
                f"{path}, line {number}: expected the 4 columns {', '.join(_WIKTIONARY_HEADER)}, but found "
                f"{line[:80]!r}; correct or remove the line."
            )
        name, code, word, translation = fields
        if code:
            yield _entry_of_line(path, number, line, codes, [code, word, "eng", translation])
        else:
            without_code[name] += 1
    if without_code:
        shown = ", ".join(name for name, _ in without_code.most_common(5))
        logger.warning(
            "%s: %d entries of %d languages without a code (%s%s) are left out.",
            path,
            without_code.total(),
            len(without_code),
            shown,
            ", ..." if len(without_code) > 5 else "",
        )


def _fields(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def _languages_of_name(path: Path) -> tuple[str, str]:
    pair = pair_of(path)  # MUSE: en-fr.txt, en-fr.0-5000.txt
    if pair is None or pair.side is not None:
        raise ValueError(
            f"{path} has words of two languages, which its name doesn't tell (as en-fr.txt does); pass "
            "languages=('eng', 'fra'), say."
        )
    return to_iso639_3(pair.one), to_iso639_3(pair.other)


def _refuse_languages(path: Path, languages: tuple[str, str] | None) -> None:
    if languages is not None:
        raise ValueError(f"{path} names the languages of its words itself; leave languages={languages} out.")
