"""A masked language model as a sentence encoder, in the layout of sentence-transformers."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Iterable, Mapping

from transformers import MODEL_FOR_MASKED_LM_MAPPING, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from ...models.checkpoints import check_saved, count_bytes
from ...models.modeling_ofa import OfaPreTrainedMixin
from ...models.sentence_modules import SentenceModules
from ...scoring.batching import longest_input
from ...scoring.language_removal import remove_languages
from ...scoring.sentences import default_layer
from ...tokenization import save_tokenizer
from ...utils.files import new_folder


# Tokenizers without a limit say a larger number.
_UNBOUNDED = 10**9


def sentence_encoder(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, Iterable[str]] | None = None,
    *,
    layer: int | None = None,
) -> tuple[PreTrainedModel, SentenceModules]:
    """The lower layers of an encoder, and the modules that make one vector of length 1 of a sentence's states.

    The vector is the mean over the tokens, special ones included, of the states after `layer` layers; `embed_texts`
    compares by the same layer. Given texts, the directions in which the languages' means differ are taken out of it
    (`remove_languages`; LSAR, arXiv 2401.05792), which the masked-LM head couldn't do without: it reads other states.

    Args:
        model: with or without head. Factorized embeddings are multiplied out.
        tokenizer: its own.
        texts: language -> lines, of which the first 400 are read.
        layer: from 1 to the number of layers; two thirds of them by default. A norm that follows the last layer
            (ModernBERT's) follows this one.

    Raises:
        ValueError: no encoder, or a layer that it doesn't have.
    """
    check_encoder(model.config, layer)
    dense = model.to_dense() if isinstance(model, OfaPreTrainedMixin) else model
    encoder = first_layers(dense.base_model, layer or default_layer(model))
    longest = longest_input(encoder, tokenizer)
    modules = SentenceModules.of_means(encoder.config.hidden_size, longest if longest < _UNBOUNDED else None)
    return encoder, remove_languages(modules, encoder, tokenizer, texts or {})


def save_sentence_encoder(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    modules: SentenceModules,
    folder: str | os.PathLike,
    *,
    overwrite: bool = False,
) -> None:
    """Writes what `sentence_encoder` made, for SentenceTransformer and AutoModel.

    Raises:
        FileExistsError, OSError: the folder is there, or can't be written.
    """
    with new_folder(folder, overwrite, needed=count_bytes(encoder)) as temporary:
        encoder.save_pretrained(temporary)
        check_saved(encoder, temporary)
        save_tokenizer(tokenizer, temporary)
        modules.save(temporary)


def check_encoder(config: PreTrainedConfig, layer: int | None = None) -> None:
    """That a sentence encoder can be made of a model with this configuration.

    Raises:
        ValueError: no encoder, or a layer that it doesn't have.
    """
    causal = config.is_encoder_decoder or getattr(config, "is_decoder", False)
    if causal or type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise ValueError(
            f"checkpoint: a sentence encoder is made of encoders such as BERT and XLM-R, not of {config.model_type}."
        )
    layers = config.num_hidden_layers
    if layer is not None and not 1 <= layer <= layers:
        raise ValueError(f"layer={layer}, but the model has layers 1 to {layers}.")


def first_layers(body: PreTrainedModel, layer: int) -> PreTrainedModel:
    """A copy of an encoder without head that has `layer` of its layers, the lower ones.

    Raises:
        ValueError: an encoder whose weights hang on the number of layers.
    """
    config = copy.deepcopy(body.config)
    layers = config.num_hidden_layers
    for name, value in vars(config).items():
        if isinstance(value, list) and len(value) == layers:  # something of each layer
            setattr(config, name, value[:layer])
    weights = body.state_dict()
    options = {}
    if "add_pooling_layer" in inspect.signature(type(body)).parameters:
        options["add_pooling_layer"] = any(name.startswith("pooler.") for name in weights)
    try:
        config.num_hidden_layers = layer
        encoder = type(body)(config, **options)
        if missing := encoder.load_state_dict(weights, strict=False).missing_keys:
            raise RuntimeError(f"it would lack {', '.join(missing[:3])}.")
    except (RuntimeError, NotImplementedError) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{type(body).__name__} can't be cut to {layer} layers: {why}") from error
    return encoder.to(body.device, body.dtype).eval()
