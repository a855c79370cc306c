"""The mapping of a target vocabulary onto a source vocabulary: which rows to copy, which to compose, and of what."""

from .build import build_mapping, check_settings
from .rules import choose_rules
from .token_mapping import TokenExplanation, TokenKind, TokenMapping
from .vocabulary import Vocabulary


__all__ = [
    "TokenExplanation",
    "TokenKind",
    "TokenMapping",
    "Vocabulary",
    "build_mapping",
    "check_settings",
    "choose_rules",
]
