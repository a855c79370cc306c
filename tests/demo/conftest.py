"""A tiny English source, so that the demo's machinery is tested in seconds."""

import pytest
import torch
from transformers import RobertaConfig, RobertaForMaskedLM

from ofa_transformers.demo.data import ENGLISH, load_parallel_text
from ofa_transformers.tokenization import train_tokenizer


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory):
    text = load_parallel_text([])
    tokenizer = train_tokenizer(
        {"eng": list(text.train[ENGLISH].values())}, 600, algorithm="bpe", model_max_length=128
    )
    torch.manual_seed(0)
    model = RobertaForMaskedLM(
        RobertaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=130,
            type_vocab_size=1,
            bos_token_id=tokenizer.bos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    folder = tmp_path_factory.mktemp("source")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
