"""Step 2, map: how the target's tokens are made of the source's."""

from .inputs import Inputs, Source
from .mapping.token_mapping import TokenMapping
from .mapping_training import check_trainable, train_mapping
from .memory import needed_memory, refuse_too_little_memory
from .methods import MethodInputs, find_method
from .run import Run
from .settings import InitializationSettings


def make_mapping(inputs: Inputs, source: Source, settings: InitializationSettings, run: Run) -> TokenMapping:
    """The mapping that the chosen method builds.

    Raises:
        ValueError: a source that the method can't train with.
        MemoryError: the machine clearly hasn't enough beside the source, which is there by now.
    """
    needed = needed_memory(settings, source.embeddings, len(inputs.target_tokenizer), inputs.word_vectors)
    refuse_too_little_memory(needed)
    check_trainable(source, settings)
    given = MethodInputs(
        inputs.source_tokenizer,
        inputs.target_tokenizer,
        source.embeddings.rows,
        settings,
        embeddings=source.embeddings.input,
        word_vectors=inputs.word_vectors,
        target_text=inputs.lines,
        parallel_text=inputs.parallel_text,
        donor=inputs.donor,
        device=run.device,
    )
    mapping = find_method(settings.method).function(given, **(settings.method_settings or {}))
    return train_mapping(mapping, given, inputs, source, settings, run)
