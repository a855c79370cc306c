"""How much memory an initialisation needs; refused before long work where it clearly isn't there."""

from transformers import PreTrainedConfig

from ..models.embeddings import ModelEmbeddings
from ..utils.memory import available_memory, is_clearly_too_little
from ..vectors import WordVectors
from .settings import InitializationSettings


# What blocks of words and of similarities take, whatever the sizes.
_BLOCKS = 640 * 2**20
# Bytes for each word: its pairs with the tokens it contains (about five, 8 bytes each), twice while they are sorted.
_BYTES_PER_WORD = 80


def estimate_memory(
    source_rows: int,
    target_tokens: int,
    num_words: int,
    dimension: int,
    hidden_size: int,
    embedding_size: int | None,
    matrices: int = 1,
) -> int:
    """Bytes that an initialisation takes at its peak beyond source model and word vectors.

    Args:
        source_rows: V_s.
        target_tokens: V_t.
        num_words: N words whose vectors have the given dimension d.
        hidden_size: D of the source.
        embedding_size: D', or None.
        matrices: 2 if input and output embeddings are untied.
    """
    # Vectors of subwords are summed in float64: the source's are done when the target's are.
    mapping = 4 * dimension * (source_rows + 3 * target_tokens) + _BYTES_PER_WORD * num_words + _BLOCKS
    size = hidden_size if embedding_size is None else embedding_size
    coordinates = 0 if embedding_size is None else source_rows * size
    rows = 4 * matrices * (coordinates + target_tokens * size) + _BYTES_PER_WORD * num_words // 2
    return max(mapping, rows)


def needed_memory(
    settings: InitializationSettings,
    source: ModelEmbeddings | PreTrainedConfig,
    target_tokens: int,
    word_vectors: WordVectors | None,
) -> int:
    """`estimate_memory` of what is known so far.

    Args:
        source: its embeddings; before its weights are read its configuration, of which the least is assumed.
        target_tokens: V_t.
        word_vectors: None before they are read.
    """
    if isinstance(source, ModelEmbeddings):
        rows, hidden_size, matrices = source.rows, source.hidden_size, 1 if source.output is None else 2
    else:
        text_config = source.get_text_config()
        rows, hidden_size = (getattr(text_config, name, None) or 0 for name in ("vocab_size", "hidden_size"))
        matrices = 1
    num_words, dimension = 0, 0
    if word_vectors is not None:
        num_words, dimension = settings.count_words(word_vectors), word_vectors.dimension
    return estimate_memory(
        rows, target_tokens, num_words, dimension, hidden_size, settings.embedding_size, matrices=matrices
    )


def refuse_too_little_memory(needed: int) -> None:
    """Raises MemoryError where the machine clearly hasn't the bytes that an initialisation needs."""
    available = available_memory()
    if is_clearly_too_little(available, needed):
        raise MemoryError(
            f"This adaptation needs about {needed / 2**30:.1f} GiB of memory beside the source model and the word "
            f"vectors, but only {available / 2**30:.1f} GiB are available. Free some, use a machine with more, or take "
            "fewer words (max_words), a target tokenizer with fewer tokens, or an embedding_size."
        )
