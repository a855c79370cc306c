"""Tiny models of every text class that Transformers registers with a language-modelling head.

Sizes are set by the names of a configuration's fields, which Transformers' families share to a large part; what a family
has of its own stands in `OWN`.
"""

import copy
import re
from typing import Any

import transformers
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto


VOCAB_SIZE = 97  # a prime that no other size is
POSITIONS = 80

# Regular expressions over names of fields -> a small value; the first that matches holds.
_SIZES: list[tuple[str, Any]] = [
    (r"^(src_|tgt_|decoder_)?vocab_size$|^n_words$|^(unpadded_vocab_size|vocab_size_per_layer_input)$", VOCAB_SIZE),
    (r"vocab_size$|^vocoder_num_", 23),
    (
        r"^(max_position_embeddings|n_positions|n_ctx|max_seq_len|model_max_length|context_length|max_seq_length)$",
        POSITIONS,
    ),
    (r"^(max_(en|de)coder_position_embeddings|max_(source|target)_positions|tpu_short_seq_length)$", POSITIONS),
    (
        r"^(hidden_size|d_model|n_embd|n_embed|dim|emb_dim|true_hidden_size|pooler_hidden_size|lru_width|output_dim)$",
        32,
    ),
    (
        r"^(word_embed_proj_dim|projection_dim|projector_hidden_size|encoder_hidden_size|embed_dim|backbone_hidden_size)$",
        32,
    ),
    (
        r"^(intermediate_size|ffn_dim|ffn_hidden_size|hidden_dim|dff|d_ff|dim_ff|d_inner|n_inner|feed_forward_size)$",
        48,
    ),
    (r"^(encoder|decoder)_ffn_dim$", 48),
    (r"intermediate_size$|^expert_ffn_hidden_size$|^intermediate_size_mlp$", 24),
    (r"^(num_hidden_layers|n_layers?|num_layers|encoder_layers|decoder_layers|num_(en|de)coder_layers|depth)$", 2),
    (r"^(num_attention_heads|n_heads?|num_heads|(en|de)coder_attention_heads|num_(en|de)coder_attention_heads)$", 4),
    (
        r"^(swa_num_attention_heads|num_swa_attention_heads|linear_num_heads|index_n_heads|linear_num_(key|value)_heads)$",
        4,
    ),
    (r"^num_(key_value|kv)_heads$|^swa_num_key_value_heads$|^num_global_key_value_heads$", 4),
    (r"^(head_dim|d_head|d_kv|swa_head_dim|kv_channels|attention_head_size|dim_head|global_head_dim)$", 8),
    (r"^(linear_(key|value|)_?head_dim|index_head_dim|ssm_state_size|mamba_d_state|state_size)$", 8),
    (r"^(num_experts|num_local_experts|n_routed_experts|moe_num_experts)$", 4),
    (r"^(num_experts_per_tok(en)?|moe_topk|moe_k|num_shared_experts|n_shared_experts|moe_num_shared_experts)$", 1),
    (r"^(topk_group|n_group|num_expert_group)$", 1),
    (r"^(qk_rope_head_dim|qk_nope_head_dim|v_head_dim)$", 8),
    (r"^(q_lora_rank|kv_lora_rank)$", 16),
    (
        r"^(sliding_window|window_size|local_attention|attention_window_size|attention_chunk_size|sliding_window_size)$",
        16,
    ),
    (r"^embedding_size$", 16),
    (r"^hidden_size_per_layer_input$", 8),
    (r"^rotary_dim$", 4),
    (r"^type_vocab_size$", 2),
    (r"^image_size$", 16),
    (r"^patch_size$", 8),
]
# Per-layer lists are made anew by the configuration's own code for two layers.
_PER_LAYER = re.compile(
    r"^(layer_types|mlp_layer_types|indexer_types|layers_block_type|mlp_only_layers|no_rope_layers)$"
)
# Parts that aren't text are made tiny, too, but their vocabularies stay apart from the text's.
_OTHER_VOCABULARY = 23

_ROPE = {"head_dim": 8, "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}}
_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8}
# Of a class, or else of a model type; `_default` is what the configuration's own constructor needs.
OWN: dict[str, dict[str, Any]] = {
    "bamba": _MAMBA,
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10_000.0}}},
    "dbrx": {
        "attn_config": {"kv_n_heads": 4, "rope_theta": 10_000.0, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 1},
    },
    "deepseek_v2": {"num_experts_per_tok": 1},
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 1, "n_shared_experts": 1},
    "falcon_h1": {"mamba_chunk_size": 16},
    "esm": {"vocab_size": VOCAB_SIZE, "mask_token_id": 4},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {**_MAMBA, "layer_types": ["mamba", "attention"]},
    "hunyuan_v1_dense": _ROPE,
    "hunyuan_v1_moe": _ROPE,
    "longcat_flash": {"num_experts_per_tok": 2, "moe_topk": 2, "zero_expert_num": 2},
    "led": {"attention_window": [16, 16]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8},
    "mimo_v2_flash": {"head_dim": 24, "num_key_value_heads": 2},
    "ministral": _ROPE,
    "mobilebert": {"intra_bottleneck_size": 32},
    "nemotron": {"num_key_value_heads": 4, "head_dim": 8},
    "neomme": {"head_dim": 16, "document_token_id": 3},
    "perceiver": {"d_model": 32, "d_latents": 32, "num_latents": 8, "num_self_attends_per_block": 2},
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 10]},
    "ReformerModelWithLMHead": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 10], "is_decoder": True},
    "squeezebert": {"embedding_size": 32},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"layer_types": ["hybrid", "hybrid"]},
    "zamba2": {"layers_block_type": ["hybrid", "hybrid"], **_MAMBA},
}


_ASSISTANT = "drafts for another model, of whose layers' keys and values it is made"
# Classes that are registered, but can't be tried.
NOT_TRIED = {
    "BltForCausalLM": "reads bytes, without a tokenizer's vocabulary",
    "Gemma3nForConditionalGeneration": "its tower for images needs timm; its text model is Gemma3nForCausalLM",
    "Gemma4AssistantForCausalLM": _ASSISTANT,
    "Gemma4UnifiedAssistantForCausalLM": _ASSISTANT,
    "MusicgenForCausalLM": "reads codes of sound, in several streams",
    "MusicgenMelodyForCausalLM": "reads codes of sound, in several streams",
    "Nemotron3_5TranscribeForConditionalGeneration": "reads sound",
    "PerceiverForMaskedLM": "reads bytes, and gives logits for all positions that it has",
    "VibeVoiceAsrForConditionalGeneration": "its codecs of sound can't be made tiny",
    "VoxtralRealtimeForConditionalGeneration": "reads sound, and no text without it",
}


def registered_classes() -> dict[str, tuple[str, str]]:
    """Name of each class with a masked, causal or seq2seq head -> (model type, Auto class), the first that names it."""
    found: dict[str, tuple[str, str]] = {}
    for auto, names in (
        ("AutoModelForMaskedLM", modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES),
        ("AutoModelForCausalLM", modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
        ("AutoModelForSeq2SeqLM", modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES),
    ):
        for model_type, name in names.items():
            found.setdefault(name, (model_type, auto))
    return dict(sorted(found.items()))


def _shrunk(fields: dict[str, Any], text: bool = True) -> dict[str, Any]:
    small = {}
    for name, value in fields.items():
        if _PER_LAYER.match(name):
            continue
        if (isinstance(value, dict) and name.endswith("_config")) or name in ("encoder", "decoder"):
            is_text = name in ("text_config", "encoder", "decoder", "thinker_config", "decoder_config")
            small[name] = _shrunk(value, is_text)
            if "model_type" in value:
                small[name]["model_type"] = value["model_type"]
        elif isinstance(value, int) and not isinstance(value, bool):
            for pattern, size in _SIZES:
                if re.search(pattern, name):
                    small[name] = size if text or size != VOCAB_SIZE else _OTHER_VOCABULARY
                    break
    return small


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    result = dict(old)
    for name, value in new.items():
        nested = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = _merged(result[name], value) if nested else value
    return result


def make_config(class_name: str, **changes: Any) -> PreTrainedConfig:
    """A tiny configuration for a class; `changes` go to the text's part, and to that of the whole."""
    config_class = getattr(transformers, class_name).config_class
    own = copy.deepcopy(OWN.get(class_name) or OWN.get(config_class.model_type) or {})
    default = config_class(**own.pop("_default", {})).to_dict()
    fields = _merged(_shrunk(default), own)
    text = next((name for name in ("text_config", "decoder") if isinstance(fields.get(name), dict)), None)
    if text is not None:
        fields[text] |= changes
    fields |= changes
    return config_class(**fields)


def make_model(class_name: str, config: PreTrainedConfig) -> PreTrainedModel:
    return getattr(transformers, class_name)(config)
