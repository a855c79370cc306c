"""Door to `initialization.mapping`: the mapping of a target vocabulary onto a source vocabulary."""

from .initialization.mapping import (
    TokenExplanation,
    TokenKind,
    TokenMapping,
    build_mapping,
    check_settings,
    choose_rules,
)
from .tokenization.vocabulary import Vocabulary


__all__ = [
    "TokenExplanation",
    "TokenKind",
    "TokenMapping",
    "Vocabulary",
    "build_mapping",
    "check_settings",
    "choose_rules",
]
