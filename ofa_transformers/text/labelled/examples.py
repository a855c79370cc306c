"""Labelled sentences: texts with a label each, or words with a tag each; by language and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..language_groups import called


Kind = Literal["classification", "tagging"]


@dataclass(frozen=True)
class Examples:
    """Labelled sentences of one language and split, in their order.

    Attributes:
        inputs: N texts; or N lists of words.
        labels: N labels; or N lists with the tag of each word, those of entities as IOB2.
        origin: the file or data set.
        lines: the line of the file, or row of the data set, of each label; nested like `labels`.
        data: for results: file names with checksums, or the data set.

    Raises:
        ValueError: there are none, or labels for more or fewer sentences or words than there are.
    """

    inputs: list[Any]
    labels: list[Any]
    origin: str
    lines: list[Any]
    data: str = ""

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError(f"{self.origin} has no labelled sentence; it is empty or of another format.")
        if not len(self.inputs) == len(self.labels) == len(self.lines):
            raise ValueError(
                f"{self.origin}: {len(self.inputs)} sentences, but {len(self.labels)} labels; each needs one."
            )
        for words, tags, lines in zip(self.inputs, self.labels, self.lines):
            if isinstance(words, list) and len(words) != len(tags):
                where = f"line {lines[0]}" if lines else "a sentence"
                raise ValueError(f"{self.origin}, {where}: {len(words)} words, but {len(tags)} tags; each needs one.")

    def __len__(self) -> int:
        return len(self.inputs)

    def select(self, numbers: Sequence[int]) -> Examples:
        """Those of the given numbers."""
        inputs, labels, lines = ([column[n] for n in numbers] for column in (self.inputs, self.labels, self.lines))
        return replace(self, inputs=inputs, labels=labels, lines=lines)

    def label_set(self) -> set[str]:
        """The labels that occur."""
        if self.labels and isinstance(self.labels[0], list):
            return {tag for tags in self.labels for tag in tags}
        return set(self.labels)

    def check_labels(self, known: Sequence[str], known_from: str) -> None:
        """That all labels are among the known ones.

        Raises:
            ValueError: one isn't; names file, line, label, and the known ones.
        """
        unknown = self.label_set() - set(known)
        if not unknown:
            return
        for labels, lines in zip(self.labels, self.lines):
            for label, line in zip(labels, lines) if isinstance(labels, list) else [(labels, lines)]:
                if label in unknown:
                    raise ValueError(
                        f"{self.origin}, line {line}: the label {label!r:.80} is not one of {known_from}, which has "
                        f"{', '.join(known)}. Correct it, or leave this file out."
                    )


@dataclass(frozen=True)
class LabelledData:
    """Labelled sentences by language and split.

    Attributes:
        kind: "classification" or "tagging".
        name: of the whole, for results.
        examples: language -> split ("train", "dev", "test") -> sentences.
    """

    kind: Kind
    name: str
    examples: dict[str, dict[str, Examples]] = field(repr=False)

    @property
    def languages(self) -> list[str]:
        return list(self.examples)

    def find(self, language: str) -> list[str]:
        """The languages of a name or code: ["eng_Latn"] of "eng_Latn" and, where nothing is called just that, of "eng".

        Raises:
            ValueError: there is none; says which there are.
        """
        found = called(language, self.examples)
        if not found:
            raise ValueError(f"{self.name} has no language {language!r}, but {', '.join(self.examples)}.")
        return found

    def find_one(self, language: str) -> str:
        """The only language of a name or code.

        Raises:
            ValueError: there is none, or several.
        """
        first, *others = self.find(language)
        if others:
            raise ValueError(
                f"{self.name} has several languages {language!r}: {first}, {', '.join(others)}; name one."
            )
        return first

    def get(self, language: str, split: str) -> Examples:
        """The sentences of a language and split.

        Raises:
            ValueError: no such language or split; says which there are.
        """
        language = self.find_one(language)
        splits = self.examples[language]
        if split not in splits:
            raise ValueError(
                f"{self.name} has no {split!r} split of {language!r}, but {', '.join(splits)}; name one of these, or "
                "leave the language out."
            )
        return splits[split]
