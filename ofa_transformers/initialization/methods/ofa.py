"""OFA (Liu et al., 2024), and ours: neighbours by cosine of subword vectors."""

from dataclasses import replace

from ..mapping import TokenMapping, build_mapping
from .inputs import MethodInputs
from .registry import register_method


@register_method("ofa", needs=("word_vectors",), published="Liu et al., 2024, and this package's studies")
def ofa(inputs: MethodInputs) -> TokenMapping:
    """New rows are means of the rows of the nearest source tokens, by vectors of subwords made of word vectors."""
    return build_mapping(
        inputs.source_tokenizer,
        inputs.target_tokenizer,
        inputs.word_vectors,
        num_source_rows=inputs.num_source_rows,
        source_languages=inputs.source_languages,
        target_languages=inputs.target_languages,
        num_neighbors=inputs.num_neighbors,
        temperature=inputs.temperature,
        fuzzy_match=inputs.fuzzy_match,
        max_words=inputs.max_words,
        word_weighting=inputs.word_weighting,
        overlap=inputs.overlap,
        authors_compatible=inputs.authors_compatible,
        device=inputs.device,
    )


@register_method("ofa-published", needs=("word_vectors",), published="Liu et al., 2024")
def ofa_published(inputs: MethodInputs) -> TokenMapping:
    """As `ofa` by the paper's rules: all words count alike, and every token of both vocabularies is copied."""
    return ofa(replace(inputs, word_weighting="uniform", overlap="all"))
