"""Training like another tokenizer: words, unknown characters and accents stay what they are there."""

import json

import pytest
import tokenizer_classes
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from ofa_transformers.demo.data import load_parallel_text
from ofa_transformers.tokenization import train_tokenizer
from ofa_transformers.tokenization.backend import with_backend
from ofa_transformers.tokenization.checks import LineSample, check_made_tokenizer


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


# What is checked of every result


def changed(tokenizer, change):
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    change(state)
    return with_backend(tokenizer, Tokenizer.from_str(json.dumps(state)))


def without_pieces_with(text, state):
    model = state["model"]
    model["vocab"] = {piece: index for piece, index in model["vocab"].items() if text not in piece or piece[0] == "<"}
    model["merges"] = [merge for merge in model["merges"] if text not in "".join(merge)]


def without_mark(state):
    without_pieces_with("▁", state)


def without_letter(state):
    without_pieces_with("e", state)


def without_decoder(state):
    state["decoder"] = None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_mark, "no piece of the new one has '▁', where words begin"),
        (without_decoder, "its tokens of .* are decoded to '▁"),
        (without_letter, r"\d% of its tokens of deu_Latn are unknown or bytes"),
    ],
)
@pytest.mark.parametrize("name", ["LlamaTokenizer", "NllbTokenizer"])
def test_a_result_that_loses_something_is_refused(name, change, message, texts):
    model, tokenizer = like(name, texts)
    sample = {"deu_Latn": [line for line in texts["deu_Latn"] if line.isascii()][:40]}
    check_made_tokenizer(tokenizer, sample, model=model)
    with pytest.raises(ValueError, match=f"like: the new tokenizer doesn't keep what this one does: .*{message}"):
        check_made_tokenizer(changed(tokenizer, change), sample, model=model, tolerance=0.01, name="like")


def test_what_the_decoder_of_wordpiece_cleans_up_is_no_fault():
    train_tokenizer({"eng": ["they do not go , and we do not talk"] * 9}, 60, algorithm="wordpiece")


def test_layouts_of_our_own_are_checked_too(texts):
    tokenizer = train_tokenizer(texts, 600)
    check_made_tokenizer(tokenizer, texts)
    with pytest.raises(ValueError, match="are decoded to"):
        check_made_tokenizer(changed(tokenizer, without_decoder), texts)


def test_the_sample_of_lines_does_not_depend_on_order_or_repetition():
    lines = [f"line {i}" for i in range(3000)]
    samples = []
    for text in (lines, lines[::-1], lines * 2, iter(lines)):
        sample = LineSample({"xyz": text})
        assert list(sample.texts["xyz"])[:3] in (lines[:3], lines[:-4:-1])
        samples.append(sample.lines["xyz"])
    assert len(samples[0]) == 500
    assert samples[0] == samples[1] == samples[2] == samples[3]
