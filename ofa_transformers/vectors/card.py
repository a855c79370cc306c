"""The README.md of saved word vectors: metadata for the Hub, and for people what they are and how to load them."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCardData

from ..text.languages import short_code
from ..utils.hub import PLACEHOLDER
from ..utils.markdown import plain
from ..utils.strict_json import dumps


_CODE = f"""\
```python
from ofa_transformers import WordVectors

vectors = WordVectors.from_pretrained("{PLACEHOLDER}")
```"""


def word_vectors_card(words_of: Mapping[str, int], dimension: int, metadata: Mapping[str, Any]) -> str:
    """The text of README.md.

    Args:
        words_of: language -> its number of words.
        dimension: of the vectors.
        metadata: of the word vectors; `license` (a name that the Hub knows, as `cc-by-sa-4.0`) goes to the Hub's
            metadata, all of it into a table.
    """
    codes = sorted({code for language in words_of if (code := short_code(language)) is not None})
    data = ModelCardData(
        language=codes or None,
        license=_license(metadata),
        library_name="ofa-transformers",
        tags=["ofa", "word-vectors"],
    )
    most_first = sorted(words_of.items(), key=lambda item: (-item[1], item[0]))
    parts = [
        f"---\n{data.to_yaml()}\n---",
        "# Word vectors of many languages in one space" if len(words_of) > 1 else "# Word vectors",
        f"{sum(words_of.values()):,} words in {len(words_of):,} language{'s' * (len(words_of) != 1)}, "
        f"{dimension} dimensions, for the initialisation of embeddings with OFA.",
        _CODE,
        "## How they were built",
        _table(("", ""), ((_shown(key), _shown(value)) for key, value in metadata.items()))
        if metadata
        else "Nothing is known about it.",
        "## Words per language",
        _table(("language", "words"), ((language, f"{count:,}") for language, count in most_first)),
    ]
    return "\n\n".join(parts) + "\n"


def _license(metadata: Mapping[str, Any]) -> str | None:
    name = metadata.get("license", metadata.get("licence"))
    return " ".join(str(name).lower().split()) if name else None


def _table(head: tuple[str, str], rows: Any) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows])


def _shown(value: Any) -> str:
    return plain(value if isinstance(value, str) else dumps(value, ensure_ascii=False))
