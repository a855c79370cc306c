"""Token ids in configurations, whatever their fields are called; and what the target lacks."""

import pytest
import torch
from adapted_models import adapt
from conftest import word_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

import ofa_transformers as ofa
from ofa_transformers.initialization.special_tokens import plan_special_tokens


SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def tokenizer(*words: str, **special: str):
    made = word_tokenizer(*words)
    made.add_special_tokens({"eos_token": "</s>", **special})
    return made


def source(theirs, **fields) -> LlamaForCausalLM:
    config = LlamaConfig(vocab_size=len(theirs), **SIZES, bos_token_id=None, eos_token_id=theirs.eos_token_id)
    for name, value in fields.items():
        setattr(config, name, value)
    return LlamaForCausalLM(config)


@pytest.fixture
def theirs():
    made = tokenizer("a", "b", "c", "d")
    made.add_tokens(["<image>", "<start>"], special_tokens=True)
    return made


@pytest.fixture
def ours():
    made = tokenizer("x", "d", "y", "b", "z")
    made.add_tokens(["<image>", "<new>"], special_tokens=True)
    return made


def ids(made, *tokens: str) -> list[int]:
    return made.convert_tokens_to_ids(list(tokens))


def planned(model, theirs, ours):
    plan = plan_special_tokens(model, model.config.vocab_size, theirs, ours)
    plan.apply(model)
    return plan


@pytest.mark.parametrize("name", ["image_token_id", "image_token_index", "boi_token_index", "im_start_id"])
def test_single_ids_under_any_name(name, theirs, ours):
    model = source(theirs, **{name: ids(theirs, "<image>")[0]})
    planned(model, theirs, ours)
    assert getattr(model.config, name) == ids(ours, "<image>")[0]
    assert model.config.eos_token_id == ours.eos_token_id != theirs.eos_token_id


def test_lists_sequences_and_biases(theirs, ours):
    b, d, lost = ids(theirs, "▁b", "▁d", "▁c")
    model = source(theirs, suppress_tokens=[b, lost, d], begin_suppress_tokens=[lost])
    generation = model.generation_config
    generation.bad_words_ids = [[b, d], [b, lost]]
    generation.sequence_bias = [[[b], -1.0], [[lost], 2.0]]
    generation.forced_decoder_ids = [[1, d], [2, lost]]
    generation.eos_token_id = [theirs.eos_token_id, b]
    plan = planned(model, theirs, ours)
    new_b, new_d = ids(ours, "▁b", "▁d")
    assert model.config.suppress_tokens == [new_b, new_d] and model.config.begin_suppress_tokens is None
    assert generation.bad_words_ids == [[new_b, new_d]] and generation.sequence_bias == [[[new_b], -1.0]]
    assert generation.forced_decoder_ids == [[1, new_d]]
    assert generation.eos_token_id == [ours.eos_token_id, new_b]
    assert any("begin_suppress_tokens" in note and "'▁c'" in note for note in plan.notes)


def test_a_token_that_the_model_needs_must_be_there(theirs, ours):
    model = source(theirs, audio_token_id=ids(theirs, "<start>")[0])
    with pytest.raises(
        ValueError, match=r"config\.audio_token_id of LlamaForCausalLM is \d+ \('<start>'\), which the"
    ):
        planned(model, theirs, ours)


def test_an_id_of_no_token_stays_one(theirs, ours):
    ours.add_tokens(["▁e", "▁f"])
    model = source(theirs, image_token_id=len(theirs), video_token_id=999)
    planned(model, theirs, ours)
    assert model.config.image_token_id == len(ours) and model.config.video_token_id == 999


def test_an_unknown_field_with_the_id_of_a_special_token_is_named(theirs, ours):
    model = source(theirs, token_of_silence=theirs.eos_token_id, num_token_groups=theirs.eos_token_id)
    notes = planned(model, theirs, ours).notes
    assert len(notes) == 1 and "config.token_of_silence" in notes[0] and "'</s>'" in notes[0]


def test_what_a_decoder_starts_with_is_never_lost(theirs):
    """The pad token in the source; the target has it under another spelling."""
    theirs.add_special_tokens({"pad_token": "<start>"})
    ours = tokenizer("b", "d", pad_token="<padding>")
    config = T5Config(
        vocab_size=len(theirs), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
        pad_token_id=theirs.pad_token_id, decoder_start_token_id=theirs.pad_token_id, eos_token_id=theirs.eos_token_id,
    )  # fmt: skip
    vectors = ofa.WordVectors(["$b$"], ["eng"], torch.ones(1, 3).numpy())
    model = adapt(T5ForConditionalGeneration(config), theirs, ours, vectors).model
    assert model.config.decoder_start_token_id == model.generation_config.decoder_start_token_id == ours.pad_token_id
    assert model.encoder.config.vocab_size == len(ours)
