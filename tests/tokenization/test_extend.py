"""Extension of existing tokenizers of every kind."""

import conftest
import pytest
from tokenizer_classes import build
from tokenizer_kinds import BUILDERS, OLD, model_of
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from ofa_transformers.demo.data import load_parallel_text
from ofa_transformers.tokenization import extend_tokenizer, measure_changes


NEW_TOKENS = 300


@pytest.fixture(scope="module")
def texts():
    text = load_parallel_text(["hin_Deva", "zul_Latn"])
    return {language: list(segments.values()) for language, segments in text.train.items()}


@pytest.fixture(scope="module")
def held_out():
    text = load_parallel_text(["hin_Deva", "zul_Latn"])
    return {language: list(segments.values()) for language, segments in text.heldout.items()}


@pytest.fixture(scope="module", params=list(BUILDERS))
def pair(request, texts):
    old = BUILDERS[request.param]()
    return old, extend_tokenizer(old, texts, NEW_TOKENS)


def test_old_ids_and_special_tokens_stay(pair):
    old, extended = pair
    vocabulary = extended.get_vocab()
    assert old.get_vocab().items() <= vocabulary.items()
    assert len(extended) == len(old) + NEW_TOKENS
    assert sorted(vocabulary.values()) == list(range(len(extended)))
    assert extended.special_tokens_map == old.special_tokens_map
    assert type(extended) is type(old)
    before, after = (tokenizer.backend_tokenizer.get_added_tokens_decoder() for tokenizer in pair)
    assert {i: str(token) for i, token in before.items()} == {i: str(token) for i, token in after.items()}
    line = OLD[0] + " ".join(old.all_special_tokens)
    assert extended(line, OLD[1])["input_ids"][-1] == old(line, OLD[1])["input_ids"][-1]


def test_old_text_changes_only_where_a_new_piece_applies(pair):
    old, extended = pair
    changed = 0
    for line in OLD:
        before, after = old(line)["input_ids"], extended(line)["input_ids"]
        if max(after) < len(old):
            assert after == before
        changed += after != before
        assert extended.decode(after) == old.decode(before)
    change = measure_changes(old, extended, {"old": OLD})["old"]
    assert change.words_changed_without_new_piece == 0
    assert change.lines_decoded_otherwise == 0
    assert (change.words_changed > 0) == (changed > 0)
    assert change.words_changed < change.words / 3


def test_new_languages_take_fewer_tokens_and_none_unknown(pair, texts, held_out):
    old, extended = pair
    for language, lines in held_out.items():
        ids = extended(lines, add_special_tokens=False)["input_ids"]
        before = old(lines, add_special_tokens=False)["input_ids"]
        unknown = sum(line.count(old.unk_token_id) for line in before) if old.unk_token_id is not None else 0
        if not unknown:
            assert sum(map(len, ids)) < 0.85 * sum(map(len, before)), language
        else:
            assert sum(line.count(extended.unk_token_id) for line in ids) <= 0.1 * unknown
    used = {i for lines in texts.values() for ids in extended(lines)["input_ids"] for i in ids}
    # the others are on the way to longer pieces
    assert len(set(range(len(old), len(extended))) - used) < 0.1 * NEW_TOKENS


def test_round_trip_of_new_text(pair, held_out):
    old, extended = pair
    for line in held_out["zul_Latn"]:
        before = old(line, add_special_tokens=False)["input_ids"]
        after = extended(line, add_special_tokens=False)["input_ids"]
        if old.unk_token_id not in before:
            assert extended.decode(after) == old.decode(before)


def test_saved_folder_loads_as_the_same_tokenizer(pair, texts, tmp_path):
    _, extended = pair
    extended.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == extended.get_vocab()
    assert not list(tmp_path.glob("*.model"))
    lines = [*OLD, *texts["hin_Deva"][:5], *texts["zul_Latn"][:5]]
    assert loaded(lines)["input_ids"] == extended(lines)["input_ids"]
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.add_tokens(["one-more"]) == 1
    assert again.convert_tokens_to_ids("one-more") == len(extended)


def test_the_given_tokenizer_is_left_alone(texts):
    old = conftest.build_unigram()
    state = old.backend_tokenizer.to_str()
    extend_tokenizer(old, texts, 150)
    assert old.backend_tokenizer.to_str() == state


@pytest.mark.parametrize("name", ["unigram", "byte_bpe", "wordpiece", "sentencepiece_bpe"])
def test_order_of_the_text_does_not_matter(name, texts):
    old = BUILDERS[name]()
    backward = {language: reversed(lines) for language, lines in reversed(texts.items())}
    first, second = (extend_tokenizer(old, text, 150) for text in (texts, backward))
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()


def test_every_new_merge_fires():
    """`ab` and `abab` are frequent, and old merges have left `a`, `b` apart."""
    alphabet = {token: i for i, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet | {"bc": 256}, [("b", "c")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    old = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    extended = extend_tokenizer(old, {"xyz": ["abab"] * 9 + ["abc"] * 3}, 3)
    assert extended.convert_ids_to_tokens([257, 258, 259]) == ["ab", "abab", "abc"]
    assert extended("abab")["input_ids"] == [258]
    # the old merge comes first, and the new one takes what it leaves
    assert model_of(extended)["merges"] == [["b", "c"], ["a", "b"], ["ab", "ab"], ["a", "bc"]]
    assert extended("abc")["input_ids"] == [259]
    assert extended("bc")["input_ids"] == old("bc")["input_ids"]


def test_a_merge_never_makes_an_old_token():
    """`bc` is an old token that no merge reaches from `b`, `c`; text with these must not change without a new piece."""
    alphabet = {token: i for i, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet | {"bc": 256}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    old = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    extended = extend_tokenizer(old, {"xyz": ["bcbc"] * 9}, 1)
    assert extended("bc")["input_ids"] == old("bc")["input_ids"]
    assert "cb" in extended.get_vocab()


def test_text_in_the_spelling_of_a_special_token_gets_no_such_piece():
    old = conftest.build_byte_bpe()
    extended = extend_tokenizer(old, {"xyz": ["x <mask >", "x< mask>", "kilimanjaro kilimanjaro"] * 20}, 4)
    assert len(set(extended.get_vocab())) == len(old) + 4
    assert extended("<mask>", add_special_tokens=False)["input_ids"] == [old.mask_token_id]


def test_a_class_that_counts_its_own_pieces(texts):
    """MLuke's, whose vocabulary is as large as it was when it was made."""
    extended = extend_tokenizer(build(tokenizer_class_from_name("MLukeTokenizer")), {"zul": texts["zul_Latn"]}, 60)
    assert extended.get_vocab().items() >= extended.backend_tokenizer.get_vocab().items()


def test_truncation_and_padding_do_not_reach_the_learning(texts):
    old = conftest.build_byte_bpe()
    expected = extend_tokenizer(old, texts, 40).get_vocab()
    old.backend_tokenizer.enable_truncation(4)
    old.backend_tokenizer.enable_padding(length=8)
    assert extend_tokenizer(old, texts, 40).get_vocab() == expected


class _Slow:
    """Stands for a tokenizer in Python."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_new_tokens": 0}, "num_new_tokens=0"),
        ({"num_new_tokens": 5}, "smaller than the alphabet"),
        ({"alpha": 2}, "alpha=2"),
        ({"character_coverage": 0}, "character_coverage=0"),
        ({"texts": {}}, "at least one language"),
        ({"texts": {"xyz": [" "]}}, "no text for: xyz"),
        ({"texts": {"xyz": "one string"}}, "one string"),
        ({"texts": {"xyz": [3]}}, "int as line 1"),
        ({"texts": {"xyz": ["q"]}}, "no new piece"),
        ({"tokenizer": _Slow()}, "_Slow, which is slow"),
    ],
)
def test_bad_input_is_refused(texts, change, message):
    arguments = {"tokenizer": conftest.build_unigram(), "texts": texts, "num_new_tokens": 100} | change
    if message == "no new piece":
        arguments["tokenizer"] = conftest.build_byte_bpe()
    with pytest.raises(ValueError, match=message):
        extend_tokenizer(**arguments)


def test_a_folder_of_a_slow_tokenizer_is_refused(tmp_path):
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"model")
    with pytest.raises(ValueError, match=r"no tokenizer\.json.*Converting"):
        extend_tokenizer(tmp_path, {"xyz": ["text"]}, 10)


def test_a_model_of_whole_words_is_refused():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(ValueError, match="WordLevel"):
        extend_tokenizer(tokenizer, {"xyz": ["text"]}, 10)


def test_small_text_gives_fewer_tokens(caplog):
    old = conftest.build_byte_bpe()
    extended = extend_tokenizer(old, {"xyz": ["kilimanjaro kilimanjaro"]}, 100)
    assert 0 < len(extended) - len(old) < 20


def test_changes_refuse_what_is_no_extension(texts):
    old = conftest.build_unigram()
    other = old.__class__(tokenizer_object=old.backend_tokenizer)
    other.backend_tokenizer.model = models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0)
    with pytest.raises(ValueError, match="no extension of old"):
        measure_changes(conftest.build_unigram(), other, texts)


def test_added_token_keeps_its_flags(texts):
    old = conftest.build_unigram()
    old.add_tokens([AddedToken("Kilimanjaro", single_word=True)])
    extended = extend_tokenizer(old, texts, 150)
    token = extended.backend_tokenizer.get_added_tokens_decoder()[len(old) - 1]
    assert token.content == "Kilimanjaro" and token.single_word and not token.special
    # inside a word it is no token, neither before nor after
    for line in ("Kilimanjaro", "Kilimanjaros aKilimanjaro"):
        assert (len(old) - 1 in extended(line)["input_ids"]) == (len(old) - 1 in old(line)["input_ids"])
