"""Step 2, map: how the target's tokens are made of the source's."""

from .inputs import Inputs, Source
from .mapping.build import map_tokens
from .mapping.token_mapping import TokenMapping
from .memory import needed_memory, refuse_too_little_memory
from .run import Run
from .settings import InitializationSettings


def make_mapping(inputs: Inputs, source: Source, settings: InitializationSettings, run: Run) -> TokenMapping:
    """The mapping of OFA (section 3.3). Another method is another function of these arguments.

    Raises:
        MemoryError: the machine clearly hasn't enough beside the source, which is there by now.
    """
    needed = needed_memory(settings, source.embeddings, len(inputs.target_tokenizer), inputs.word_vectors)
    refuse_too_little_memory(needed)
    return map_tokens(
        inputs.source_tokenizer,
        inputs.target_tokenizer,
        inputs.word_vectors,
        settings,
        num_source_rows=source.embeddings.rows,
        device=run.device,
    )
