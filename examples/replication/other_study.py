"""What ../initialization_study has that this one needs, too: how its text is read, and two ways to make rows."""

import sys
from pathlib import Path


sys.path.append(str(Path(__file__).parents[1] / "initialization_study"))
from arms import Arm, make_mapping
from data import Pairs, bible_pairs, read_bible, read_ids, spread, tatoeba_pairs, training_text


__all__ = [
    "Arm",
    "Pairs",
    "bible_pairs",
    "make_mapping",
    "read_bible",
    "read_ids",
    "spread",
    "tatoeba_pairs",
    "training_text",
]
