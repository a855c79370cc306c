"""What an initialisation did: numbers for people and JSON for programs."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..files import new_file
from ..mapping import TokenExplanation, TokenKind, TokenMapping
from .scripts import scripts_of


REPORT_FILE = "ofa_report.json"


@dataclass
class OfaReport:
    """The account of one adaptation.

    Attributes:
        source, target: name, model class, tokens, rows, hidden size, parameters of either model.
        word_vectors: words, dimensions, words per language, and where they come from.
        settings: the arguments of the initialisation.
        tokens: target tokens of each kind (copied, composed, fallback, special).
        tokens_by_script: the same for each script, ISO 15924; `Zyyy` are tokens without letters.
        reconstruction_error: ||E - F P|| / ||E|| in Frobenius norm, of input and, untied, output embeddings; None at
            full size.
        seconds: wall time of each phase.
        versions: of the libraries.
        warnings: what a person should know before training.
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
    mapping: TokenMapping | None = field(default=None, repr=False)

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
        """Plain values for JSON."""
        own = {name: value for name, value in vars(self).items() if name != "mapping"}
        return json.loads(json.dumps(own))

    def save(self, path: str | os.PathLike) -> Path:
        """Writes the report as JSON."""
        with new_file(path) as file:
            file.write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "OfaReport":
        """Reads a report that `save` wrote, or the one in a checkpoint's folder."""
        file = Path(path)
        file = file / REPORT_FILE if file.is_dir() else file
        values = json.loads(file.read_text(encoding="utf-8"))
        known = {name for name in cls.__dataclass_fields__ if name != "mapping"}
        return cls(**{name: value for name, value in values.items() if name in known})

    def __str__(self) -> str:
        shown = [f"{self.source['name']} ({self.source['class']}) -> {self.target['class']}"]
        shown.append(f"{self.source['tokens']:,} -> {self.target['tokens']:,} tokens")
        shown.append(f"{self.source['parameters']:,} -> {self.target['parameters']:,} parameters")
        total = sum(self.tokens.values())
        shown.append(", ".join(f"{name} {count:,} ({count / total:.1%})" for name, count in self.tokens.items()))
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
