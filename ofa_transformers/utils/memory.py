"""How much memory an adaptation needs, and whether it is there."""

import psutil


# What blocks of words and of similarities take, whatever the sizes.
_BLOCKS = 640 * 2**20
# Bytes for each word: its pairs with the tokens it contains (about five, 8 bytes each), twice while they are sorted.
_BYTES_PER_WORD = 80
# The estimate is rough; only what is clearly too little is refused.
_MARGIN = 0.8


def estimate_memory(
    source_rows: int,
    target_tokens: int,
    num_words: int,
    dimension: int,
    hidden_size: int,
    embedding_size: int | None,
    matrices: int = 1,
) -> int:
    """Bytes that an adaptation takes at its peak beyond source model and word vectors.

    Args:
        source_rows: V_s.
        target_tokens: V_t.
        num_words: N words whose vectors have the given dimension d.
        hidden_size: D of the source.
        embedding_size: k, or None.
        matrices: 2 if input and output embeddings are untied.
    """
    # Vectors of subwords are summed in float64: the source's are done when the target's are.
    mapping = 4 * dimension * (source_rows + 3 * target_tokens) + _BYTES_PER_WORD * num_words + _BLOCKS
    size = hidden_size if embedding_size is None else embedding_size
    coordinates = 0 if embedding_size is None else source_rows * size
    rows = 4 * matrices * (coordinates + target_tokens * size) + _BYTES_PER_WORD * num_words // 2
    return max(mapping, rows)


def check_memory(needed: int) -> None:
    """Raises MemoryError where the machine clearly hasn't `needed` bytes left."""
    available = psutil.virtual_memory().available
    if available < _MARGIN * needed:
        raise MemoryError(
            f"This adaptation needs about {needed / 2**30:.1f} GiB of memory beside the source model and the word "
            f"vectors, but only {available / 2**30:.1f} GiB are available. Free some, use a machine with more, or take "
            "fewer words (max_words), a target tokenizer with fewer tokens, or an embedding_size."
        )
