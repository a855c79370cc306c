"""What an initialisation did: numbers for people and JSON for programs."""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from ..initialization.mapping.build import select_words
from ..initialization.mapping.token_mapping import TokenExplanation, TokenKind, TokenMapping
from ..text.scripts import scripts_of
from ..utils.files import new_file
from ..utils.reading import read_json, reading, record_of
from ..utils.strict_json import dumps
from .map import EmbeddingMap


REPORT_FILE = "ofa_report.json"
_NOT_SAVED = ("mapping", "map")

# Scripts and languages of fewer tokens say little.
_FEWEST_TOKENS = 50
# Languages that one kind of warning names.
_MOST_LANGUAGES = 12


@dataclass
class OfaReport:
    """The account of one adaptation.

    Attributes:
        source, target: name, model class, tokens, rows, hidden size, parameters and bytes of either model.
        word_vectors: words, dimensions, words per language, and where they come from.
        settings: the arguments of the initialisation.
        tokens: target tokens of each kind (copied, composed, fallback, special).
        tokens_by_script: the same for each script, ISO 15924; `Zyyy` are tokens without letters.
        tokens_by_language: the same for each language of the word vectors, ISO 639-3, over the tokens that occur in its
            words; a token counts for each language that has it.
        use_by_language: of each language's words, each counted as often as it occurs, the shares of pieces whose rows are
            copied, composed, fallback and special, and of words that are unwritten: no token but unknown ones.
        matches: target tokens by how they were matched to a source token: exact, case, spacing, role (special tokens),
            and rejected, which the source has, but hardly uses, so that they are composed.
        reconstruction_error: ||E - F P|| / ||E|| in Frobenius norm, of input and, untied, output embeddings: of the
            target's rows, weighted by use, or with primitives="source" of the source's embeddings; None at full size.
        seconds: wall time of each phase.
        versions: of the libraries.
        warnings: what a person should know before training.
        figures: histograms of norms and similarities, and the singular values of what `reconstruction_error` is about,
            at full size the source's; see `measure_rows`.
        proof: of the result: for text of `tokens` copied tokens it gave the source's hidden states, and logits where it
            has some, but for `difference`, relative to the largest value; or the reason why that couldn't be tried.
        mapping, map: what made the rows, and a picture of them; not part of the JSON.
    """

    source: dict[str, Any]
    target: dict[str, Any]
    word_vectors: dict[str, Any]
    settings: dict[str, Any]
    tokens: dict[str, int]
    tokens_by_script: dict[str, dict[str, int]]
    reconstruction_error: dict[str, float] | None
    seconds: dict[str, float]
    versions: dict[str, str]
    warnings: list[str] = field(default_factory=list)
    tokens_by_language: dict[str, dict[str, int]] = field(default_factory=dict)
    use_by_language: dict[str, dict[str, float]] = field(default_factory=dict)
    matches: dict[str, int] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    proof: dict[str, Any] = field(default_factory=dict)
    mapping: TokenMapping | None = field(default=None, repr=False)
    map: EmbeddingMap | None = field(default=None, repr=False)

    def explain(self, token: str | int, max_words: int = 20) -> TokenExplanation:
        """The words and source tokens behind a target token; see [`TokenMapping.explain`].

        Raises:
            ValueError: the report was loaded from a file, which doesn't hold them.
            KeyError: no such token.
        """
        if self.mapping is None:
            raise ValueError(
                "This report was loaded from a file and has no words; build the initialisation again to explain tokens."
            )
        return self.mapping.explain(token, max_words)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is no finite number is None."""
        own = {name: value for name, value in vars(self).items() if name not in _NOT_SAVED}
        return json.loads(dumps(own))

    def save(self, path: str | os.PathLike) -> Path:
        """Writes the report as JSON."""
        with new_file(path) as file:
            text = dumps(self.to_dict(), indent=1, ensure_ascii=False)
            # A list of numbers is one line.
            text = re.sub(r"\[\s+([-+\d.e,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
            file.write_text(text + "\n", encoding="utf-8")
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "OfaReport":
        """Reads a report that `save` wrote, or the one in a checkpoint's folder."""
        file = Path(path)
        file = file / REPORT_FILE if file.is_dir() else file
        remedy = "name a report that `ofa adapt` or OfaReport.save wrote"
        values = read_json(file, remedy)
        if isinstance(values, dict):
            values = {name: value for name, value in values.items() if name not in _NOT_SAVED}
        report = record_of(cls, values, str(file), remedy)
        with reading(f"{file} lacks what a report has, or has it otherwise; {remedy}"):
            str(report)
        return report

    def __str__(self) -> str:
        shown = [f"{self.source['name']} ({self.source['class']}) -> {self.target['class']}"]
        shown.append(f"{self.source['tokens']:,} -> {self.target['tokens']:,} tokens")
        sizes = [side["bytes"] / 1e6 for side in (self.source, self.target) if "bytes" in side]
        size = f", {sizes[0]:,.1f} -> {sizes[1]:,.1f} MB" if len(sizes) == 2 else ""
        shown.append(f"{self.source['parameters']:,} -> {self.target['parameters']:,} parameters{size}")
        total = sum(self.tokens.values())
        shown.append(", ".join(f"{name} {count:,} ({count / total:.1%})" for name, count in self.tokens.items()))
        if "difference" in self.proof:
            shown.append(f"proven on {self.proof['tokens']} copied tokens: gives what the source gives")
        return "\n".join(shown)


def count_tokens(mapping: TokenMapping) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Target tokens of each kind, in all and by script, scripts with most tokens first."""
    names = [kind.name.lower() for kind in TokenKind]
    total = {kind.name.lower(): count for kind, count in mapping.counts().items()}
    forms = [b"" if form is None else form for form in mapping.target.forms]
    scripts = scripts_of([form.decode("utf-8", "ignore") for form in forms])
    found, index = np.unique(scripts, return_inverse=True)
    table = np.zeros((len(found), len(TokenKind)), dtype=np.int64)
    np.add.at(table, (index, mapping.kinds), 1)
    order = np.lexsort((found, -table.sum(axis=1)))
    return total, {str(found[i]): dict(zip(names, table[i].tolist())) for i in order}


def find_warnings(
    tokens: dict[str, int],
    by_script: dict[str, dict[str, int]],
    by_language: dict[str, dict[str, int]],
    unused: dict[str, int],
    words: dict[str, int],
) -> list[str]:
    """What a person should know before training, from what `count_tokens` and `count_languages` return.

    Args:
        words: the words of each language.
    """
    found = []
    total = sum(tokens.values())
    if tokens["fallback"] > total / 2:
        found.append(
            f"{tokens['fallback']:,} of {total:,} target tokens are neither in the source's vocabulary nor part of a "
            "word with a vector; their rows are draws. Word vectors of more words or languages would help."
        )
    for script, counts in by_script.items():
        total = sum(counts.values())
        if total >= _FEWEST_TOKENS and counts["fallback"] > 0.9 * total:
            found.append(
                f"Script {script}: {counts['fallback']:,} of {total:,} tokens have no word vectors behind them."
            )
    lost = {code: count for code, count in unused.items() if count > 0.2 * words[code]}
    for code, count in list(lost.items())[:_MOST_LANGUAGES]:
        found.append(
            f"Language {code}: {count:,} of {words[code]:,} words have no token but unknown ones, so that their "
            "vectors are unused; the target tokenizer hardly covers this language."
        )
    few = [code for code, counts in by_language.items() if sum(counts.values()) < _FEWEST_TOKENS and code not in lost]
    if few:
        shown = ", ".join(few[:_MOST_LANGUAGES]) + (
            f" and {len(few) - _MOST_LANGUAGES} more" * (len(few) > _MOST_LANGUAGES)
        )
        found.append(
            f"Fewer than {_FEWEST_TOKENS} tokens occur in the words of {shown}: too few words for a language's rows."
        )
    return found


def _words_of(mapping: TokenMapping) -> np.ndarray:
    """The indices of the words that the mapping was built with."""
    settings = mapping.settings
    return select_words(
        mapping.word_vectors,
        settings["target_languages"],
        settings["max_words"],
        "target_languages",
        settings["authors_compatible"],
    )


def count_languages(mapping: TokenMapping) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Target tokens of each kind by language, and the words of each language that no target token occurs in.

    Of the words, those that the mapping was built with count. Languages with most tokens come first.
    """
    vectors, incidence = mapping.word_vectors, mapping.incidence
    names = [kind.name.lower() for kind in TokenKind]
    languages, index = np.unique(vectors.languages, return_inverse=True)
    words = _words_of(mapping)
    # (N, L), one entry a word; the product has one for each language that a token occurs in.
    members = scipy.sparse.csr_array(
        (np.ones(len(words), dtype=np.int32), (words, index[words])), shape=(len(vectors), len(languages))
    )
    occurs = scipy.sparse.csr_array(
        (np.ones(incidence.nnz, dtype=np.int32), incidence.indices, incidence.indptr), shape=incidence.shape
    )
    uses = occurs @ members
    table = np.zeros((len(languages), len(TokenKind)), dtype=np.int64)
    np.add.at(table, (uses.indices, np.repeat(mapping.kinds, np.diff(uses.indptr))), 1)
    unused = np.ones(len(vectors), dtype=bool)
    unused[incidence.indices] = False
    idle = np.bincount(index[words], weights=unused[words], minlength=len(languages)).astype(np.int64)
    present = np.bincount(index[words], minlength=len(languages)) > 0
    order = [i for i in np.lexsort((languages, -table.sum(axis=1))) if present[i]]
    return (
        {str(languages[i]): dict(zip(names, table[i].tolist())) for i in order},
        {str(languages[i]): int(idle[i]) for i in order if idle[i]},
    )


def uses_of_languages(mapping: TokenMapping) -> dict[str, dict[str, float]]:
    """For each language what its words use; see `OfaReport.use_by_language`.

    Languages of the words that the mapping was built with, sorted; without frequencies each word counts alike.
    """
    vectors, incidence = mapping.word_vectors, mapping.incidence
    if not len(vectors):
        return {}
    names = [kind.name.lower() for kind in TokenKind]
    languages, index = np.unique(vectors.languages, return_inverse=True)
    counts = np.ones(len(vectors)) if vectors.frequencies is None else vectors.frequencies.astype(np.float64)
    words = _words_of(mapping)
    # (V_t, kinds) turned into (N, kinds): the pieces of each word by kind.
    kinds = scipy.sparse.csr_array(
        (np.ones(len(mapping.kinds), dtype=np.float32), (np.arange(len(mapping.kinds)), mapping.kinds)),
        shape=(len(mapping.kinds), len(TokenKind)),
    )
    pieces = (incidence.T @ kinds).toarray()[words]
    unwritten = pieces.sum(axis=1) == 0
    table = np.column_stack([pieces, unwritten]) * counts[words, None]
    sums = np.zeros((len(languages), table.shape[1]))
    np.add.at(sums, index[words], table)
    return {
        str(languages[i]): dict(zip([*names, "unwritten"], (sums[i] / sums[i].sum()).round(6).tolist()))
        for i in np.flatnonzero(sums.sum(axis=1))
    }
