"""What the demo ships: the parallel text and the English seed model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


DATA = Path(__file__).parent / "data"
SEED_MODEL = Path(__file__).parent / "seed_model"
ENGLISH = "eng_Latn"


@dataclass(frozen=True)
class ParallelText:
    """The Universal Declaration of Human Rights, aligned by segment.

    Attributes:
        train: language_Script -> segment id -> text. Tokenizer, word vectors and training see these alone.
        heldout: the same for the held-out ids, which every language has, in one order.
    """

    train: dict[str, dict[str, str]]
    heldout: dict[str, dict[str, str]]

    @property
    def targets(self) -> list[str]:
        """The languages besides English."""
        return [language for language in self.train if language != ENGLISH]


def load_parallel_text(languages: Sequence[str] | None = None) -> ParallelText:
    """The shipped text of `languages` (language_Script codes; default: all) and of English.

    Raises:
        ValueError: a language that isn't shipped.
    """
    paths = {path.stem: path for path in sorted(DATA.glob("*.tsv"))}
    if languages is not None:
        unknown = sorted(set(languages) - set(paths))
        if unknown:
            raise ValueError(f"no text of {', '.join(unknown)} is shipped; choose from {', '.join(paths)}")
        paths = {language: path for language, path in paths.items() if language in languages or language == ENGLISH}
    heldout_ids = (DATA / "heldout.txt").read_text(encoding="utf-8").split()
    train, heldout = {}, {}
    for language, path in paths.items():
        segments = dict(line.split("\t", 1) for line in path.read_text(encoding="utf-8").splitlines())
        heldout[language] = {key: segments.pop(key) for key in heldout_ids}
        train[language] = segments
    return ParallelText(train=train, heldout=heldout)
