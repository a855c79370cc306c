"""Language codes of translation models: added as the tokenizer's class has its own, with the rows of relatives."""

import conftest
import pytest
import tokenizer_classes
import torch
from adapted_models import adapt
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    M2M100Config,
    M2M100ForConditionalGeneration,
    MBartConfig,
    MBartForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from ofa_transformers.tokenization import add_language_codes, extend_tokenizer, trim_tokenizer


_BART = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
}
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
# model, configuration, its sizes, tokenizer class, a language that it knows
MODELS = {
    "nllb": (M2M100ForConditionalGeneration, M2M100Config, _BART, "NllbTokenizer", "swh_Latn"),
    "mbart": (MBartForConditionalGeneration, MBartConfig, _BART, "MBartTokenizer", "de_DE"),
    "mbart50": (MBartForConditionalGeneration, MBartConfig, _BART, "MBart50Tokenizer", "de_DE"),
    "t5": (T5ForConditionalGeneration, T5Config, _T5, "T5Tokenizer", "<extra_id_0>"),
    "mt5": (MT5ForConditionalGeneration, MT5Config, {**_T5, "tie_word_embeddings": False}, "T5Tokenizer", "<extra_id_0>"),
}  # fmt: skip
NEW = "xyz_Latn"


def make(kind):
    model_class, config_class, sizes, name, relative = MODELS[kind]
    tokenizer = tokenizer_classes.build(tokenizer_classes.fast_class(name))
    torch.manual_seed(0)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    if tokenizer.bos_token_id is not None:
        ids["bos_token_id"] = tokenizer.bos_token_id
    if sizes is _BART:
        ids["decoder_start_token_id"] = tokenizer.eos_token_id
    source = model_class(config_class(**{**sizes, **ids}, vocab_size=len(tokenizer) + 3)).eval()
    if "final_logits_bias" in dict(source.named_buffers()):
        source.final_logits_bias.normal_()
    return source, tokenizer, relative


@pytest.fixture(params=list(MODELS))
def source(request):
    return make(request.param)


def logits(model, tokenizer, line, **more):
    batch = tokenizer(line, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        return model(**batch, decoder_input_ids=batch["input_ids"], **more).logits[0]


def test_a_new_language_has_the_row_of_its_relative(source, tmp_path):
    model, own, relative = source
    adapted = adapt(model, own, own, None, method="fvt", new_languages={NEW: relative})
    adapted.save_pretrained(tmp_path / "out")
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    new, old = tokenizer.convert_tokens_to_ids([NEW, relative])
    assert new == len(own) == len(tokenizer) - 1 and NEW in tokenizer.all_special_tokens
    assert own.convert_tokens_to_ids(relative) == old
    tables = [loaded.get_input_embeddings().weight, loaded.get_output_embeddings().weight]
    assert all(torch.equal(table[new], table[old]) for table in tables)
    inner = loaded.get_encoder().get_input_embeddings(), loaded.get_decoder().get_input_embeddings()
    assert all(part.weight is loaded.get_input_embeddings().weight for part in inner)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert (tables[0] is tables[1]) == tied

    for line in conftest.TEXT[:3]:
        expected, found = logits(model, own, line), logits(loaded, tokenizer, line)
        tokens = sorted(own.get_vocab().values())  # a piece that is there twice leaves an id without a token
        torch.testing.assert_close(found[:, tokens], expected[:, tokens], rtol=0, atol=1e-6)
        torch.testing.assert_close(found[:, new], found[:, old], rtol=0, atol=1e-6)
    batch = tokenizer(conftest.TEXT[0], return_tensors="pt", return_token_type_ids=False)
    made = loaded.generate(**batch, forced_bos_token_id=new, max_new_tokens=4)
    assert made[0, 1] == new


@pytest.mark.parametrize("kind", ["nllb", "mbart", "t5"])
def test_factorized_the_new_language_is_its_relative_too(kind, tmp_path):
    model, own, relative = make(kind)
    adapted = adapt(model, own, own, None, method="fvt", new_languages={NEW: relative}, embedding_size=8)
    adapted.save_pretrained(tmp_path / "out")
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    new, old = tokenizer.convert_tokens_to_ids([NEW, relative])
    table = loaded.get_input_embeddings()
    assert type(loaded).__name__.startswith("Ofa") and table.weight.shape == (len(own) + 1, 8)
    torch.testing.assert_close(table.weight[new], table.weight[old], rtol=0, atol=0)
    found = logits(loaded, tokenizer, conftest.TEXT[0])
    torch.testing.assert_close(found[:, new], found[:, old], rtol=0, atol=1e-5)
    batch = tokenizer(conftest.TEXT[0], return_tensors="pt", return_token_type_ids=False)
    assert loaded.generate(**batch, forced_bos_token_id=new, max_new_tokens=3)[0, 1] == new


@pytest.mark.parametrize("kind", ["nllb", "mbart", "mbart50"])
def test_the_tokenizer_takes_it_for_source_and_target(kind, tmp_path):
    model, own, relative = make(kind)
    adapted = adapt(model, own, own, None, method="fvt", new_languages={NEW: relative})
    adapted.save_pretrained(tmp_path / "out")
    for language in (NEW, relative):
        loaded = AutoTokenizer.from_pretrained(tmp_path / "out", tgt_lang=language)
        loaded.src_lang = language  # mBART-50's class takes no new one as an argument
        assert type(loaded) is type(own)
        index = loaded.convert_tokens_to_ids(language)
        batch = loaded("the house", text_target="das Haus")
        assert index in batch["input_ids"] and index in batch["labels"]
        assert len(loaded) - 1 == loaded.convert_tokens_to_ids(NEW)
    text = f"the{NEW}house"
    assert loaded.convert_tokens_to_ids(NEW) in loaded(text)["input_ids"]


@pytest.mark.parametrize("kind", list(MODELS))
def test_trimmed_extended_and_with_a_new_language_in_one_go(kind, tmp_path):
    model, own, relative = make(kind)
    kept = {"eng": conftest.TEXT[:3]}
    smaller = trim_tokenizer(own, kept)
    target = extend_tokenizer(smaller, {"swh": conftest.TEXT[6:8] * 2}, 12)
    adapted = adapt(model, own, target, None, method="fvt", new_languages={NEW: relative})
    adapted.save_pretrained(tmp_path / "out")
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert len(tokenizer) == len(smaller) + 13 == loaded.get_input_embeddings().num_embeddings
    if len(smaller) == len(own):
        pytest.skip("the text needs every piece")
    tokens = smaller.convert_ids_to_tokens(range(len(smaller)))
    old, new = own.convert_tokens_to_ids(tokens), tokenizer.convert_tokens_to_ids(tokens)
    for line in kept["eng"]:
        ids = smaller(line, return_token_type_ids=False)["input_ids"]
        batches = [torch.tensor([[ids_of[i] for i in ids]]) for ids_of in (old, new)]
        with torch.no_grad():
            expected, found = (
                m(input_ids=batch, decoder_input_ids=batch).logits for m, batch in zip((model, loaded), batches)
            )
        torch.testing.assert_close(found[..., new], expected[..., old], rtol=0, atol=1e-6)


def test_ids_of_languages_in_the_configurations_follow():
    model, own, relative = make("mbart50")
    model.generation_config.forced_bos_token_id = own.convert_tokens_to_ids(relative)
    smaller = trim_tokenizer(own, {"eng": conftest.TEXT[:1]})
    adapted = adapt(model, own, smaller, None, method="fvt", new_languages={NEW: relative})
    index = adapted.tokenizer.convert_tokens_to_ids(relative)
    assert adapted.model.generation_config.forced_bos_token_id == index


def test_a_new_pad_id_is_refused_where_positions_are_computed_from_it():
    model, own, _ = make("nllb")
    other = tokenizer_classes.build(tokenizer_classes.fast_class("T5Tokenizer"))
    with pytest.raises(ValueError, match="M2M100SinusoidalPositionalEmbedding computes positions from the pad id"):
        adapt(model, own, other, None, method="random")


@pytest.mark.parametrize(
    ("languages", "message"),
    [
        ({NEW: "klingon"}, "'xyz_Latn' shall be like 'klingon', which is no token of the source"),
        ({"swh_Latn": "zul_Latn"}, "the source has 'swh_Latn', with a row of its own"),
        ({"x y": "zul_Latn"}, "'x y' can't be a token"),
        ({"▁": "zul_Latn"}, "has '▁' as an ordinary piece"),
    ],
)
def test_what_is_refused(languages, message):
    model, own, _ = make("nllb")
    with pytest.raises(ValueError, match=message):
        adapt(model, own, own, None, method="fvt", new_languages=languages)


def test_codes_are_added_once():
    _, own, _ = make("nllb")
    assert len(add_language_codes(own, [NEW, NEW, "swh_Latn"])) == len(own) + 1
    assert NEW not in own.get_vocab()
