"""Training like another tokenizer: words, unknown characters and accents stay what they are there."""

import json

import pytest
import tokenizer_classes
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from ofa_transformers.demo.data import load_parallel_text
from ofa_transformers.tokenization import train_tokenizer


# Their pre-tokenizers write the mark of a word, which the normalised text does not have.
MARKED_LATE = (
    "LlamaTokenizer",
    "CodeLlamaTokenizer",
    "NllbTokenizer",
    "SeamlessM4TTokenizer",
    "ReformerTokenizer",
    "Tipsv2Tokenizer",
)


@pytest.fixture(scope="module")
def texts():
    text = load_parallel_text(["deu_Latn", "zul_Latn"])
    return {language: list(segments.values()) for language, segments in text.train.items()}


def like(name, texts, **options):
    model = tokenizer_classes.build(tokenizer_classes.fast_class(name))
    return model, train_tokenizer(texts, len(model) + 300, like=model, **options)


@pytest.mark.parametrize("name", MARKED_LATE)
def test_spaces_stay_where_the_pre_tokenizer_marks_words(name, texts):
    _, tokenizer = like(name, texts)
    assert "▁" in tokenizer.get_vocab()
    for line in (texts["deu_Latn"][0], texts["zul_Latn"][0]):
        ids = tokenizer(line, add_special_tokens=False)["input_ids"]
        pieces = tokenizer.convert_ids_to_tokens(ids)
        assert tokenizer.decode(ids).casefold().split() == line.casefold().split()
        assert sum(piece.startswith("▁") for piece in pieces) == len(line.split())
        assert not any(piece.startswith("<0x") for piece in pieces)


def test_the_unknown_token_keeps_its_place_before_the_pieces(texts):
    """T5's class and others take it from a fixed id, whatever the file says."""
    model = tokenizer_classes.build(tokenizer_classes.fast_class("T5Tokenizer"))
    state = json.loads(model.backend_tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] != "<unk>"]
    model = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)))
    tokenizer = train_tokenizer(texts, len(model) + 300, like=model)
    assert tokenizer.convert_tokens_to_ids("<unk>") == model.convert_tokens_to_ids("<unk>") == 2


def test_rare_letters_of_a_small_language_are_no_bytes(texts):
    """They are 0.03 % of all characters, but most of their language's, which the sampling reads as often."""
    unequal = {"deu_Latn": texts["deu_Latn"] * 10, "ell_Grek": ["και ο λόγος ην προς τον θεόν"] * 3}
    _, tokenizer = like("LlamaTokenizer", unequal)
    pieces = tokenizer.tokenize("και ο λόγος")
    assert not any(piece.startswith("<0x") for piece in pieces)
