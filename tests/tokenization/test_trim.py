"""Trimming of tokenizers of every kind: the text is cut as before, and everything else can be cut."""

import conftest
import pytest
from tokenizer_kinds import BUILDERS, OLD, model_of
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ofa_transformers.tokenization import extend_tokenizer, save_tokenizer, trim_tokenizer


# Some languages of the text that the tokenizers were trained on; the others are what is trimmed.
KEPT = {"eng": OLD[:3], "rus": OLD[8:10]}
OTHERS = [line for line in OLD if line not in KEPT["eng"] + KEPT["rus"]]


@pytest.fixture(scope="module", params=list(BUILDERS))
def pair(request):
    old = BUILDERS[request.param]()
    return old, trim_tokenizer(old, KEPT)


def tokens(tokenizer, line, *more):
    return tokenizer.convert_ids_to_tokens(tokenizer(line, *more)["input_ids"])


def test_the_text_is_cut_into_the_same_pieces(pair):
    old, trimmed = pair
    assert len(trimmed) < len(old)
    for line in [*KEPT["eng"], *KEPT["rus"]]:
        assert tokens(trimmed, line) == tokens(old, line)
        assert trimmed.decode(trimmed(line)["input_ids"]) == old.decode(old(line)["input_ids"])
    assert tokens(trimmed, OLD[0], OLD[1]) == tokens(old, OLD[0], OLD[1])
    assert trimmed("", "").get("token_type_ids") == old("", "").get("token_type_ids")


def test_other_text_still_has_tokens(pair):
    old, trimmed = pair
    for line in [*OTHERS, "".join(OTHERS), "qxz wvu ÄÖÜ"]:
        before, after = (tokenizer(line, add_special_tokens=False)["input_ids"] for tokenizer in pair)
        if old.unk_token_id not in before:
            assert trimmed.unk_token_id not in after
            assert trimmed.decode(after) == old.decode(before)
        assert len(after) >= len(before)


def test_ids_have_no_gaps_and_their_old_order(pair):
    old, trimmed = pair
    vocabulary = trimmed.get_vocab()
    assert sorted(vocabulary.values()) == list(range(len(trimmed)))
    assert vocabulary.keys() <= old.get_vocab().keys()
    own = sorted(model_vocabulary(trimmed), key=vocabulary.get)
    assert own == sorted(own, key=old.get_vocab().get)


def model_vocabulary(tokenizer):
    vocabulary = model_of(tokenizer)["vocab"]
    return [piece[0] for piece in vocabulary] if isinstance(vocabulary, list) else list(vocabulary)


def test_special_and_added_tokens_and_characters_stay(pair):
    old, trimmed = pair
    assert trimmed.special_tokens_map == old.special_tokens_map
    assert type(trimmed) is type(old)
    before, after = ([str(t) for t in b.get_added_tokens_decoder().values()] for b in (old._tokenizer, trimmed._tokenizer))  # fmt: skip
    assert after == before
    assert {token for token in old.get_vocab() if len(token) == 1} <= trimmed.get_vocab().keys()
    assert {token for token in old.get_vocab() if token.startswith("<0x")} <= trimmed.get_vocab().keys()


def test_saved_folder_loads_as_the_same_tokenizer(pair, tmp_path):
    _, trimmed = pair
    save_tokenizer(trimmed, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == trimmed.get_vocab()
    assert loaded(OLD)["input_ids"] == trimmed(OLD)["input_ids"]


def test_extended_in_one_go(pair):
    _, trimmed = pair
    text = {"swh": OLD[6:8] * 2}
    both = extend_tokenizer(trimmed, text, 10)
    assert len(both) == len(trimmed) + 10
    before, after = (sum(map(len, t(text["swh"])["input_ids"])) for t in (trimmed, both))
    assert after < before


@pytest.mark.parametrize("name", ["unigram", "byte_bpe", "wordpiece", "llama3", "llama2"])
def test_a_multiple(name):
    old = BUILDERS[name]()
    plain, filled = trim_tokenizer(old, KEPT), trim_tokenizer(old, KEPT, multiple_of=16)
    assert len(filled) % 16 == 0 and 0 <= len(filled) - len(plain) < 16
    assert plain.get_vocab().keys() <= filled.get_vocab().keys()
    for line in KEPT["eng"]:
        assert tokens(filled, line) == tokens(old, line)


def test_languages_that_are_kept():
    old = conftest.build_unigram()
    texts = {"eng_Latn": OLD[:3], "deu_Latn": OLD[3:6], "rus_Cyrl": OLD[8:10]}
    some = trim_tokenizer(old, texts, keep_languages=["eng", "rus_Cyrl"])
    assert some.get_vocab() == trim_tokenizer(old, KEPT).get_vocab()
    assert len(some) < len(trim_tokenizer(old, texts))
    with pytest.raises(ValueError, match="keep_languages has zul, but texts has eng_Latn, deu_Latn, rus_Cyrl"):
        trim_tokenizer(old, texts, keep_languages=["eng", "zul"])


def metaspace(model):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def test_the_cost_of_unknown_characters_stays():
    """It is reckoned from the lowest score, and decides between an unknown character and a piece that holds it."""
    scores = [("<unk>", 0.0), ("▁", -1.0), ("a", -2.0), ("▁a", -1.5), ("aß", -25.0), ("bb", -40.0), ("b", -3.0)]
    old = metaspace(models.Unigram(scores, unk_id=0))
    trimmed = trim_tokenizer(old, {"x": ["aß a"]})
    assert tokens(trimmed, "aß a") == tokens(old, "aß a")
    assert "bb" in trimmed.get_vocab()


def test_pieces_with_a_character_that_is_not_there_alone_stay():
    old = metaspace(models.Unigram([("<unk>", 0.0), ("▁", -1.0), ("a", -2.0), ("▁a", -1.5), ("aß", -5.0)], unk_id=0))
    trimmed = trim_tokenizer(old, {"x": ["a"]})
    assert tokens(trimmed, "aß") == tokens(old, "aß") == ["▁", "aß"]


def test_an_unknown_word_stays_unknown():
    """Cut into shorter pieces it would not be: longest match first stops after `abc`, and not after `ab`."""
    vocabulary = ["[UNK]", "a", "b", "c", "d", "abc", "ab", "##c", "##cd", "##b"]
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    old = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
    trimmed = trim_tokenizer(old, {"x": ["ab abcd"]})
    assert tokens(trimmed, "ab abcd") == tokens(old, "ab abcd") == ["ab", "[UNK]"]


def test_a_piece_with_several_merges_keeps_them_all():
    """As in Llama: `abc` is made of `ab` and `c`, or of `a` and `bc`, whichever the word around it allows."""
    vocabulary = {token: i for i, token in enumerate(["a", "b", "c", "d", "bc", "ab", "abc", "cd"])}
    merges = [("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc"), ("c", "d")]
    old = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocabulary, merges)))
    trimmed = trim_tokenizer(old, {"x": ["abc"]})
    assert set(trimmed.get_vocab()) == {"a", "b", "c", "d", "bc", "ab", "abc"}
    assert model_of(trimmed)["merges"] == [["b", "c"], ["a", "b"], ["ab", "c"], ["a", "bc"]]


def test_the_given_tokenizer_is_left_alone():
    old = conftest.build_unigram()
    state = old.backend_tokenizer.to_str()
    trim_tokenizer(old, KEPT)
    assert old.backend_tokenizer.to_str() == state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"multiple_of": 0}, "multiple_of=0 must be at least 1"),
        ({"texts": {"deu": [" "]}}, "no text for: deu"),
        ({"texts": {"deu": "one string"}}, "is one string"),
        ({"tokenizer": conftest.word_tokenizer("house")}, "'WordLevel', which has no pieces to leave out"),
    ],
)
def test_what_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        trim_tokenizer(**{"tokenizer": conftest.build_unigram(), "texts": KEPT} | change)
