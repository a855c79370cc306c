"""A bare SentencePiece file is a tokenizer like any other."""

import io

import conftest
import pytest
import sentencepiece
from adapted_models import make_source

import ofa_transformers as ofa
from ofa_transformers.demo.data import load_parallel_text
from ofa_transformers.tokenization import extend_tokenizer, train_tokenizer
from ofa_transformers.tokenization.backend import load_fast_tokenizer
from ofa_transformers.tokenization.sentencepiece_model import load_sentencepiece


LINES = [*conftest.TEXT[:11], "ein  doppelter Abstand", "ለምን é Ⅳ", "DAS HAUS"]


def train(path, **options):
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(conftest.TEXT * 3), model_writer=written, hard_vocab_limit=False, minloglevel=2,
        **{"vocab_size": 620 if options.get("byte_fallback") else 320, "pad_id": 3, **options},
    )  # fmt: skip
    path.write_bytes(written.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
@pytest.mark.parametrize("byte_fallback", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"add_dummy_prefix": False},
        {"remove_extra_whitespaces": False, "normalization_rule_name": "identity"},  # Llama 2's
        {"normalization_rule_name": "nmt_nfkc_cf", "user_defined_symbols": ["<mask>"]},
    ],
    ids=["default", "no prefix", "as it is", "folded"],
)
def test_ids_are_those_of_sentencepiece(model_type, byte_fallback, options, tmp_path):
    processor = train(tmp_path / "m.model", model_type=model_type, byte_fallback=byte_fallback, **options)
    tokenizer = load_sentencepiece(tmp_path / "m.model")
    assert len(tokenizer) == processor.get_piece_size()
    for line in LINES:
        ids = tokenizer(line, add_special_tokens=False)["input_ids"]
        assert ids == processor.encode(line)
        if 0 not in ids:  # SentencePiece shows unknown characters in its own way
            assert tokenizer.decode(ids) == processor.decode(ids)
    roles = {role: tokenizer.convert_tokens_to_ids(token) for role, token in tokenizer.special_tokens_map.items()}
    mask = {"mask_token": processor.piece_to_id("<mask>")} if "user_defined_symbols" in options else {}
    assert roles == {"unk_token": 0, "bos_token": 1, "eos_token": 2, "pad_token": 3, **mask}


def test_adapt_takes_the_file_and_the_folder_alike(tiny_tokenizers, word_vectors, tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    processor = train(folder / "any name.model")
    source = tiny_tokenizers["unigram"]
    for target in (folder / "any name.model", str(folder)):
        adapted = ofa.OfaInitializer.from_pretrained(
            make_source("llama-untied", source), source_tokenizer=source, target_tokenizer=target,
            word_vectors=word_vectors, max_words=20,
        )  # fmt: skip
        ids = adapted.tokenizer(LINES[0], add_special_tokens=False)["input_ids"]
        assert ids == processor.encode(LINES[0])


def test_training_and_extending_take_it(tmp_path):
    processor = train(tmp_path / "m.model")
    text = {"zul_Latn": list(load_parallel_text(["zul_Latn"]).train["zul_Latn"].values())[:80]}
    extended = extend_tokenizer(tmp_path / "m.model", text, 60)
    assert extended("old river")["input_ids"] == processor.encode("old river")
    assert len(train_tokenizer(text, 300, like=str(tmp_path / "m.model"))) == 300


@pytest.mark.parametrize(("content", "message"), [(b"\x00no model", "is no SentencePiece model"), (b"", "is no Sent")])
def test_a_damaged_file_is_refused(content, message, tmp_path):
    (tmp_path / "m.model").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_fast_tokenizer(tmp_path / "m.model")


def test_a_model_of_words_is_refused(tmp_path):
    train(tmp_path / "m.model", model_type="word", vocab_size=60)
    with pytest.raises(ValueError, match="of words or characters"):
        load_sentencepiece(tmp_path / "m.model")


def test_one_that_would_be_cut_otherwise_is_refused(tmp_path, monkeypatch):
    from ofa_transformers.tokenization import sentencepiece_model

    train(tmp_path / "m.model", model_type="bpe")
    monkeypatch.setattr(sentencepiece_model, "generate_merges", lambda vocabulary, scores: [])
    with pytest.raises(ValueError, match="as a fast tokenizer it would cut"):
        load_sentencepiece(tmp_path / "m.model")
