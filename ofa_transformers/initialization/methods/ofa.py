"""OFA (Liu et al., 2024), and ours: neighbours by cosine of subword vectors."""

from dataclasses import replace

from ..mapping import TokenMapping
from ..mapping.build import map_tokens
from .inputs import MethodInputs
from .registry import register_method


@register_method("ofa", needs=("word_vectors",), published="Liu et al., 2024, and this package's studies")
def ofa(inputs: MethodInputs) -> TokenMapping:
    """New rows are means of the rows of the nearest source tokens, by vectors of subwords made of word vectors."""
    return map_tokens(
        inputs.source_tokenizer,
        inputs.target_tokenizer,
        inputs.word_vectors,
        inputs.settings,
        num_source_rows=inputs.num_source_rows,
        device=inputs.device,
    )


@register_method("ofa-published", needs=("word_vectors",), published="Liu et al., 2024")
def ofa_published(inputs: MethodInputs) -> TokenMapping:
    """As `ofa` by the paper's rules: all words count alike, and every token of both vocabularies is copied."""
    return ofa(replace(inputs, settings=replace(inputs.settings, word_weighting="uniform", overlap="all")))
