"""Decoders as GGUF, for llama.cpp and what is built on it.

Settings and vocabulary come from the model and its tokenizer themselves. llama.cpp's converter knows tokenizers by a
hash of what they make of a text, and refuses every vocabulary that it hasn't seen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...models.modeling_ofa import OfaPreTrainedMixin
from ...tokenization.vocabulary import Vocabulary
from ...utils.files import new_file


if TYPE_CHECKING:
    from gguf import GGUFWriter

# Stock `model_type` -> architecture of llama.cpp, which takes Mistral for a Llama.
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen3": "qwen3", "gpt2": "gpt2"}
# The pattern that a byte-level tokenizer cuts text by -> its name in llama.cpp (llama-vocab.cpp).
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PRE_TOKENIZERS = {
    "": "gpt-2",  # ByteLevel with its own pattern
    rf"{_WORDS}\p{{N}}{{1,3}}{_REST}": "llama-bpe",
    rf"{_WORDS}\p{{N}}{_REST}": "qwen2",
}
# Tensors of GPT-2 that are stored (in, out).
_TRANSPOSED = ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")
# Kinds of tokens in the file.
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5


def export_gguf(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: str | os.PathLike) -> Path:
    """Writes a decoder with its tokenizer as one GGUF file; factors are multiplied out.

    Args:
        model: Llama, Mistral, Qwen3 or GPT-2 style, factorized or not. Half precision stays so, but for vectors.
        tokenizer: its own, byte-level BPE; added tokens, special ids and the chat template go into the file.
        path: of the file.

    Raises:
        ImportError: the package gguf is missing.
        ValueError: a model or a tokenizer of another kind, or with what such a file can't say (scaled positions, sliding
            windows).
    """
    try:
        import gguf
    except ImportError as error:
        raise ImportError("GGUF files need the package gguf: pip install 'ofa-transformers[gguf]'.") from error
    dense = model.to_dense() if isinstance(model, OfaPreTrainedMixin) else model
    architecture = check_gguf(dense.config, type(dense).__name__, tokenizer)
    with new_file(path) as file:
        writer = gguf.GGUFWriter(file, architecture)
        _write_settings(writer, dense.config, architecture)
        _write_vocabulary(writer, tokenizer, dense.get_input_embeddings().weight.shape[0])
        for name, values in _tensors(dense, architecture):
            writer.add_tensor(name, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return Path(path)


def check_gguf(config: Any, class_name: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """The architecture that a decoder has in llama.cpp. Raises as `export_gguf`."""
    architecture = ARCHITECTURES.get(config.model_type)
    if architecture is None or not class_name.endswith(("ForCausalLM", "LMHeadModel")):
        raise ValueError(
            f"A {class_name} can't be written as GGUF, which is for decoders of the families {', '.join(ARCHITECTURES)}; "
            "use --format safetensors or onnx."
        )
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        raise ValueError(f"The model scales its positions ({rope['rope_type']}), which isn't written to GGUF here.")
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        raise ValueError(
            f"The model attends to the last {config.sliding_window:,} tokens only, which llama.cpp's {architecture} does "
            "not; set sliding_window=None in config.json for texts that are shorter."
        )
    _pre_tokenizer(tokenizer)
    return architecture


def _write_settings(writer: GGUFWriter, config: Any, architecture: str) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    if architecture == "gpt2":
        writer.add_feed_forward_length(config.n_inner or 4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float((getattr(config, "rope_parameters", None) or {}).get("rope_theta", 10_000.0)))


def _pre_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """llama.cpp's name of how a byte-level BPE tokenizer cuts text into words."""
    problem = (
        "can't be written as GGUF here; take a byte-level BPE one (ofa tokenizer train --algorithm bpe --like MODEL)"
    )
    if not tokenizer.is_fast:
        raise ValueError(f"A {type(tokenizer).__name__} {problem}.")
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    parts = described["pre_tokenizer"] or {}
    parts = parts.get("pretokenizers", [parts])
    if described["model"]["type"] != "BPE" or not any(part.get("type") == "ByteLevel" for part in parts):
        raise ValueError(f"A tokenizer of the type {described['model']['type']} {problem}.")
    if described["normalizer"] not in (None, {"type": "NFC"}):
        raise ValueError("The tokenizer normalises text, which llama.cpp doesn't, so that it would read other tokens.")
    pattern = "".join(
        "ByteLevel" * (part.get("use_regex", True) and len(parts) > 1)
        if part["type"] == "ByteLevel"
        else part["pattern"].get("Regex", "?")
        if part["type"] == "Split"
        else part["type"]
        for part in parts
    )
    if pattern not in PRE_TOKENIZERS:
        raise ValueError(f"The tokenizer cuts text by the pattern {pattern!r:.80}, which llama.cpp has no name for.")
    return PRE_TOKENIZERS[pattern]


def _write_vocabulary(writer: GGUFWriter, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    tokens = [f"[PAD{number}]" if token is None else token for number, token in enumerate(vocabulary.tokens)]
    tokens += [f"[PAD{number}]" for number in range(len(tokens), rows)]
    kinds = np.full(len(tokens), _NORMAL)
    kinds[[number for number, token in enumerate(vocabulary.tokens) if token is None]] = _UNUSED
    kinds[len(vocabulary) :] = _UNUSED
    kinds[: len(vocabulary)][vocabulary.added] = _USER_DEFINED
    kinds[: len(vocabulary)][vocabulary.special] = _CONTROL
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(tokenizer))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds.tolist())
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]])
    for role, add in (
        ("bos", writer.add_bos_token_id),
        ("eos", writer.add_eos_token_id),
        ("unk", writer.add_unk_token_id),
        ("pad", writer.add_pad_token_id),
    ):
        if (number := getattr(tokenizer, f"{role}_token_id")) is not None:
            add(number)
    ids = tokenizer("a")["input_ids"]
    writer.add_add_bos_token(bool(ids) and ids[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(bool(ids) and ids[-1] == tokenizer.eos_token_id)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _tensors(model: PreTrainedModel, architecture: str) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values as llama.cpp has them."""
    import gguf

    config = model.config
    numbers = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(numbers[architecture], config.num_hidden_layers)
    tied = model.config.tie_word_embeddings
    for name, tensor in model.state_dict().items():
        stem, _, kind = name.rpartition(".")
        if kind not in ("weight", "bias") or (tied and name == "lm_head.weight"):
            continue
        found = names.get_name(stem) or names.get_name(stem.removeprefix("transformer."))
        if found is None:
            raise ValueError(f"The model has weights {name}, which llama.cpp's {architecture} doesn't know.")
        found = f"{found}.{kind}"
        if architecture == "llama" and found.endswith(("attn_q.weight", "attn_k.weight")):
            heads = config.num_attention_heads if "attn_q" in found else config.num_key_value_heads
            tensor = _interleaved(tensor, heads)
        if architecture == "gpt2" and found.endswith(_TRANSPOSED):
            tensor = tensor.T
        half = tensor.dtype in (torch.float16, torch.bfloat16) and tensor.dim() > 1
        yield found, tensor.to(torch.float16 if half else torch.float32).contiguous().numpy()


def _interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of queries or keys with the two halves of each rotated plane side by side, as llama.cpp's Llama has them."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)
