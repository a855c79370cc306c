"""Step 6, report: what the initialisation did."""

from dataclasses import replace
from importlib.metadata import version
from typing import Any

from transformers import PreTrainedModel

from ..models.checkpoints import count_bytes
from ..report import OfaReport, count_languages, count_tokens, find_warnings, measure_rows, uses_of_languages
from .inputs import Inputs, Source
from .mapping.token_mapping import TokenMapping
from .rows import TargetRows
from .run import Run
from .settings import InitializationSettings


_PACKAGES = ("ofa-transformers", "transformers", "tokenizers", "torch", "numpy", "scipy")


def make_report(
    inputs: Inputs,
    source: Source,
    settings: InitializationSettings,
    mapping: TokenMapping,
    made: TargetRows,
    model: PreTrainedModel,
    head_bias: str | None,
    of_states: bool,
    proof: dict[str, Any],
    run: Run,
) -> OfaReport:
    """Counts and measures what was made; `head_bias` says where the head's bias came from, None without one.

    `of_states` says whether new output rows are [`rows_of_states`]; `proof` is what [`Reference.prove`] found.
    """
    words, size = inputs.word_vectors, settings.embedding_size
    with run("report"):
        total, by_script = run.once("tokens", lambda: count_tokens(mapping))
        by_language, unused = run.once("languages", lambda: count_languages(mapping))
        figures, picture = measure_rows(
            source.embeddings.input,
            made.rows["input"],
            made.primitives.get("input"),
            mapping,
            made.singular_values,
            settings.seed,
        )
    held = replace(settings, num_neighbors=mapping.settings.get("num_neighbors", settings.num_neighbors))
    return OfaReport(
        source=source.facts,
        target={
            "name": str(getattr(inputs.target_tokenizer, "name_or_path", "")),
            "class": type(model).__name__,
            "tokens": len(inputs.target_tokenizer),
            "rows": mapping.shape[0],
            "embedding_size": size,
            "parameters": model.num_parameters(),
            "bytes": count_bytes(model),
            "embedding_parameters": sum(t.numel() for t in (*made.rows.values(), *made.primitives.values())),
        },
        word_vectors={
            "words": len(words),
            "dimension": words.dimension,
            "languages": words.language_counts(),
            "unused": unused,
            "metadata": dict(words.metadata),
        },
        settings={**held.to_dict(), "head_bias": head_bias, "output_rows": "states" if of_states else None},
        tokens=total,
        tokens_by_script=by_script,
        reconstruction_error=None if size is None else made.reconstruction_error(size),
        seconds=run.seconds,
        versions={package: version(package) for package in _PACKAGES},
        warnings=[
            *find_warnings(total, by_script, by_language, unused, words.language_counts()),
            *inputs.rules.notes,
            *source.special.notes,
            *_note_chat_template(inputs),
            *_note_head(inputs, source, mapping, model, settings.authors_compatible, head_bias),
            *([f"The result could not be compared with the source: {proof['reason']}"] if "reason" in proof else []),
        ],
        tokens_by_language=by_language,
        use_by_language=run.once("use of languages", lambda: uses_of_languages(mapping)),
        matches=mapping.count_matches(),
        figures=figures,
        mapping=mapping,
        map=picture,
        proof=proof,
    )


def _note_head(
    inputs: Inputs,
    source: Source,
    mapping: TokenMapping,
    model: PreTrainedModel,
    authors_compatible: bool,
    head_bias: str | None,
) -> list[str]:
    """What a person should know of a head that isn't calibrated to text."""
    if inputs.text is None:
        # What calibration would change.
        predicts = model.get_output_embeddings() is not None and not model.config.is_encoder_decoder
        if not predicts or authors_compatible or not mapping.new.any():
            return []
        return [
            "The head knows nothing of how frequent the new tokens are, and training begins some nats higher than it "
            "need: pass text of the languages as target_text (--target-text)."
        ]
    if head_bias == "log_probability":
        return [
            "The head's bias has the log probabilities of the target text's tokens; it is not calibrated to the head's "
            "outputs, which takes an encoder or a decoder with finite outputs, and a text of more than a few tokens."
        ]
    biases = [one for one in source.embeddings.others if one.names[0].endswith("bias") and one.tensor.any()]
    if head_bias is None and biases:
        return [f"Of the target text {biases[0].names[0]} takes nothing: it is the source's, through the mapping."]
    return []


def _note_chat_template(inputs: Inputs) -> list[str]:
    if not getattr(inputs.source_tokenizer, "chat_template", None) or inputs.target_tokenizer.chat_template:
        return []
    return [
        "The source's tokenizer has a chat template, the target's has none. Where the target has its special tokens: "
        "adapted.tokenizer.chat_template = source_tokenizer.chat_template."
    ]
