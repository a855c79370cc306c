"""M, the mapping of a target vocabulary onto a source vocabulary: which rows to copy, which to compose, and of what."""

from .build import build_mapping
from .rules import check_settings, choose_rules
from .token_mapping import TokenExplanation, TokenKind, TokenMapping


__all__ = [
    "TokenExplanation",
    "TokenKind",
    "TokenMapping",
    "build_mapping",
    "check_settings",
    "choose_rules",
]
