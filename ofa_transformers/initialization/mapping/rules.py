"""Checks and rules of the mapping by name, as `ofa_transformers.mapping` has them; `..settings` is where they live."""

from ...vectors import WordVectors
from ..settings import InitializationSettings, Rules


def check_settings(
    num_neighbors: int = 10,
    temperature: float = 0.1,
    fallback: str = "normal",
    word_weighting: str | None = None,
    overlap: str | None = None,
    language_offset: float | None = None,
    primitives: str | None = None,
    authors_compatible: bool = False,
) -> None:
    """Raises ValueError for a setting that no mapping can be built or applied with; costs nothing."""
    InitializationSettings(
        num_neighbors=num_neighbors,
        temperature=temperature,
        fallback=fallback,
        word_weighting=word_weighting,
        overlap=overlap,
        language_offset=language_offset,
        primitives=primitives,
        authors_compatible=authors_compatible,
    )


def choose_rules(
    word_weighting: str | None,
    overlap: str | None,
    word_vectors: WordVectors,
    source_languages: list[str] | None,
    authors_compatible: bool = False,
    language_offset: float | None = None,
    language_model: bool = False,
    primitives: str | None = None,
) -> Rules:
    """Fills in what is None with the rules that make the better rows; see `InitializationSettings.choose_rules`.

    Raises:
        ValueError: an unknown rule, one that lacks what it needs, or one that authors_compatible rules out.
    """
    settings = InitializationSettings(
        source_languages=source_languages,
        word_weighting=word_weighting,
        overlap=overlap,
        language_offset=language_offset,
        primitives=primitives,
        authors_compatible=authors_compatible,
    )
    return settings.choose_rules(word_vectors, language_model)
