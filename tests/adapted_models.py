"""Tiny sources of several architectures, and their adaptation."""

import json
from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaForSequenceClassification,
    XLMRobertaModel,
)

import ofa_transformers as ofa


SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
DECODER = {**SIZES, "num_key_value_heads": 2, "head_dim": 8}


def make_source(kind: str, tokenizer, rows: int | None = None) -> PreTrainedModel:
    torch.manual_seed(0)
    common = {
        "vocab_size": rows or len(tokenizer),
        **{f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")},
    }
    make = {
        "xlm-roberta": lambda: XLMRobertaForMaskedLM(XLMRobertaConfig(**SIZES, **common, type_vocab_size=1)),
        "xlm-roberta-base": lambda: XLMRobertaModel(XLMRobertaConfig(**SIZES, **common, type_vocab_size=1)),
        "xlm-roberta-classifier": lambda: XLMRobertaForSequenceClassification(XLMRobertaConfig(**SIZES, **common)),
        "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**SIZES, **common, type_vocab_size=1)),
        "roberta-untied": lambda: RobertaForMaskedLM(RobertaConfig(**SIZES, **common, tie_word_embeddings=False)),
        "bert": lambda: BertForMaskedLM(BertConfig(**SIZES, **common)),
        "bert-base": lambda: BertModel(BertConfig(**SIZES, **common)),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**common, n_embd=32, n_layer=2, n_head=4, n_positions=64)),
        "llama-untied": lambda: LlamaForCausalLM(LlamaConfig(**DECODER, **common, tie_word_embeddings=False)),
        "t5": lambda: T5ForConditionalGeneration(
            T5Config(**common, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=1)
        ),
    }[kind]
    model = make().eval()
    bias = getattr(model.get_output_embeddings(), "bias", None)
    if bias is not None:
        torch.nn.init.normal_(bias)
    return model


def adapt(source, source_tokenizer, target_tokenizer, word_vectors, **options) -> ofa.OfaInitializer:
    return ofa.OfaInitializer.from_pretrained(
        source, source_tokenizer=source_tokenizer, target_tokenizer=target_tokenizer, word_vectors=word_vectors, **options
    )  # fmt: skip


def dense_rows(module: torch.nn.Module) -> torch.Tensor:
    return module.to_dense() if hasattr(module, "to_dense") else module.weight.detach()


def save_in_the_authors_layout(model: ofa.OfaForMaskedLM, folder: Path) -> None:
    names = {
        "embeddings.word_embeddings.primitives.weight": "embeddings.primitive_embeddings.weight",
        "embeddings.word_embeddings.weight": "embeddings.target_coordinates.weight",
        "lm_head.decoder.primitives.weight": "lm_head.down_project.weight",
        "lm_head.decoder.": "lm_head.vocab_project.",
    }
    state = {}
    for key, value in model.state_dict().items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        state[key] = value
    folder.mkdir()
    torch.save(state, folder / "pytorch_model.bin")
    config = model.config.to_dict()
    config |= {"model_type": "xlm-roberta", "architectures": ["XLMRobertaAssembledForMaskedLM"]}
    config["num_primitive"] = config.pop("embedding_size")
    (folder / "config.json").write_text(json.dumps(config))
