"""What a text happens to hold is text: for scores, for sentence embeddings and for training alike."""

import pytest
import torch
from conftest import TEXT, TOKENIZER_BUILDERS
from tiny_models import LM_HEADS, make_config

from ofa_transformers.evaluation import embed_texts, score_masked_lm
from ofa_transformers.scoring.causal_lm import score_causal_lm
from ofa_transformers.scoring.framing import text_ids, text_tokens, word_tokens
from ofa_transformers.training.encoding import Encoder


@pytest.fixture(params=TOKENIZER_BUILDERS)
def tokenizer(request):
    return TOKENIZER_BUILDERS[request.param]()


def lines_with_names(tokenizer):
    names = [name for name in tokenizer.all_special_tokens if name != tokenizer.unk_token]
    return [f"the house {name} of my mother{name}" for name in names]


def test_scores_and_training_see_the_same_tokens_and_no_special_one(tokenizer):
    special = {i for i in tokenizer.all_special_ids if i != tokenizer.unk_token_id}
    lines = [*TEXT[:11], "", *lines_with_names(tokenizer)]
    encoder = Encoder(tokenizer, 512, packed=False)
    ids, spans = text_tokens(tokenizer, lines)
    assert ids == text_ids(tokenizer, lines) == encoder.tokens(lines)
    assert ids[:12] == tokenizer(lines[:12], add_special_tokens=False)["input_ids"]
    for line, own, places in zip(lines, ids, spans):
        assert special.isdisjoint(own) and len(places) == len(own)
        covered = {i for begin, end in places for i in range(begin, end)}
        assert all(i in covered or character.isspace() for i, character in enumerate(line))


def test_of_words_too(tokenizer):
    lines = [*TEXT[:11], *lines_with_names(tokenizer)]
    sentences = [line.split() for line in lines]
    plain = tokenizer(sentences[:11], is_split_into_words=True, add_special_tokens=False)
    found = word_tokens(tokenizer, sentences)
    assert found[:11] == [(plain["input_ids"][i], plain.word_ids(i)) for i in range(11)]
    special = {i for i in tokenizer.all_special_ids if i != tokenizer.unk_token_id}
    for words, (ids, places) in zip(sentences, found):
        assert special.isdisjoint(ids) and places == sorted(places)
        assert len(ids) == len(places) and set(places) == set(range(len(words)))


@pytest.mark.parametrize("as_text", [False, True])
def test_the_tokenizer_is_left_as_it_was(tokenizer, as_text):
    """A caller may use its backend by itself, where what the last call set would stay."""
    tokenizer.backend_tokenizer.encode_special_tokens = as_text
    text_tokens(tokenizer, lines_with_names(tokenizer))
    word_tokens(tokenizer, [line.split() for line in lines_with_names(tokenizer)])
    assert tokenizer.backend_tokenizer.encode_special_tokens == as_text


def make(family, tokenizer):
    torch.manual_seed(0)
    pad = {} if tokenizer.pad_token_id is None else {"pad_token_id": tokenizer.pad_token_id}
    model = LM_HEADS[family](make_config(family, vocab_size=len(tokenizer), **pad)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return model


@pytest.mark.parametrize("kind", ["unigram", "byte_bpe", "wordpiece"])
def test_a_literal_mask_costs_its_characters(kind):
    """Read as a special token it was one token that is never predicted, so that the line had fewer bits."""
    tokenizer = TOKENIZER_BUILDERS[kind]()
    line = f"the house {tokenizer.mask_token} of"
    (ids,) = text_ids(tokenizer, [line])
    for family, score in (("bert", score_masked_lm), ("gpt2", score_causal_lm)):
        model = make(family, tokenizer)
        (found,) = score(model, tokenizer, [line], max_length=60)
        assert found.tokens == len(ids) and found.characters == len(line)


def test_a_literal_end_ends_no_sentence(tokenizer):
    """Two lines that differ in a name of a special token only are two lines, and each name counts as what it is."""
    model = make("bert", tokenizer)
    for line in lines_with_names(tokenizer):
        (ids,) = text_ids(tokenizer, [line])
        frame = tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
        before, after = frame.index(0), frame[::-1].index(0)
        around = tokenizer("a")["input_ids"]
        whole = [*around[:before], *ids, *around[len(around) - after :]]
        with torch.no_grad():
            states = model.base_model(torch.tensor([whole])).last_hidden_state[0]
        mean = states[before : len(whole) - after].mean(0)
        torch.testing.assert_close(embed_texts(model, tokenizer, [line], layer=2, max_length=70)[0], mean)
