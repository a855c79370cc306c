import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ofa_transformers.initialization.mapping.authors import match_tokens_as_published
from ofa_transformers.initialization.mapping.matches import MatchKind, match_tokens
from ofa_transformers.mapping import Vocabulary


def metaspace(tokens: list[str], byte_fallback: bool = False, **specials) -> Vocabulary:
    tokenizer = Tokenizer(models.Unigram([(token, -1.0) for token in tokens], byte_fallback=byte_fallback))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials))


def byte_level(tokens: list[str], **specials) -> Vocabulary:
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    return Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials))


def wordpiece(tokens: list[str], **specials) -> Vocabulary:
    model = models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token=tokens[0])
    return Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), **specials))


def matched(source: Vocabulary, target: Vocabulary, **options) -> dict[str, tuple[str, str]]:
    matches = match_tokens(source, target, **options)
    return {
        target.tokens[i]: (source.tokens[matches.source_ids[i]], MatchKind(matches.kinds[i]).name.lower())
        for i in np.flatnonzero(matches.source_ids >= 0)
    }


def test_the_same_token_in_every_kind():
    tokens = {
        "metaspace": metaspace(["▁house", "house", "▁Fl", "ü"]),
        "byte_level": byte_level(["Ġhouse", "house", "ĠFl", "Ã¼"]),
        "wordpiece": wordpiece(["house", "##house", "Fl", "##ü"]),
    }
    for source in tokens.values():
        for target in tokens.values():
            assert match_tokens(source, target).source_ids.tolist() == [0, 1, 2, 3]


def test_parts_of_characters_match_by_byte():
    source = byte_level(["Ã", "¼", "æ°", "A"])
    target = metaspace(["<0xC3>", "<0xBC>", "<0x41>", "æ°"], byte_fallback=True)
    assert matched(source, target) == {"<0xC3>": ("Ã", "exact"), "<0xBC>": ("¼", "exact"), "<0x41>": ("A", "exact")}


def test_a_byte_piece_is_second_to_the_character():
    vocabulary = metaspace(["<0x41>", "A", "<0xE4>"], byte_fallback=True)
    assert matched(vocabulary, byte_level(["A", "ä"])) == {"A": ("A", "exact"), "ä": ("<0xE4>", "exact")}
    assert match_tokens(vocabulary, vocabulary).source_ids.tolist() == [0, 1, 2]


def test_source_id_0_matches_exactly_and_without_case():
    source = metaspace(["▁House", "b"])
    assert matched(source, metaspace(["x", "▁House"])) == {"▁House": ("▁House", "exact")}
    assert matched(source, metaspace(["▁house"])) == {"▁house": ("▁House", "case")}


def test_case():
    source = metaspace(["▁HOUSE", "▁house", "▁AB", "▁Ab", "STRASSE"])
    target = metaspace(["▁House", "▁ab", "straße", "house"])
    expected = {"▁House": ("▁house", "case"), "▁ab": ("▁AB", "case"), "straße": ("STRASSE", "case")}
    assert matched(source, target) == expected
    assert matched(source, target, fuzzy_match=False) == {}


def test_spacing_of_punctuation():
    source = metaspace([".", "▁a", "▁,"])
    assert matched(source, metaspace(["▁.", ",", "a"])) == {"▁.": (".", "spacing"), ",": ("▁,", "spacing")}
    assert matched(source, metaspace(["▁.", ",", "a"]), fuzzy_match=False) == {}


def test_wordpiece_punctuation_and_han():
    source = wordpiece(["[UNK]", "##.", ".", "##水", "水"])
    assert matched(source, metaspace([".", "▁水", "水"])) == {
        ".": (".", "exact"),
        "▁水": ("水", "spacing"),
        "水": ("水", "exact"),
    }
    assert matched(source, source)["##."] == ("##.", "exact")  # an extended vocabulary keeps its rows


def test_special_tokens_by_role():
    bert = wordpiece(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>"],
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip
    xlmr = metaspace(
        ["<s>", "<pad>", "</s>", "<unk>", "[MASK]", "<mask>"],
        bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>",
        mask_token="<mask>",
    )  # fmt: skip
    role = {"<s>": "[CLS]", "</s>": "[SEP]", "<pad>": "[PAD]", "<unk>": "[UNK]", "<mask>": "[MASK]"}
    # `[MASK]` is an ordinary token of the one, `<s>` of the other: neither may take the row of a special token.
    assert matched(bert, xlmr) == {token: (partner, "role") for token, partner in role.items()}
    assert matched(xlmr, bert) == {partner: (token, "role") for token, partner in role.items()}


@pytest.mark.parametrize(("shared", "expected"), [("unk", "<unk>"), ("eos", "</s>")])
def test_pad_that_shares_its_token(shared, expected):
    source = metaspace(["<s>", "<pad>", "</s>", "<unk>"], pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    target = metaspace(["<x>", "a"], **{f"{shared}_token": "<x>", "pad_token": "<x>"})
    assert matched(source, target) == {"<x>": (expected, "role")}


def test_one_token_for_all_roles():
    source = byte_level(["<|endoftext|>", "a"], bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    target = metaspace(["<s>", "</s>", "<mask>", "a"], bos_token="<s>", eos_token="</s>", mask_token="<mask>")
    assert match_tokens(source, target).source_ids.tolist() == [0, 0, -1, 1]


def test_other_special_tokens_by_spelling():
    source = metaspace(["a", "<lang:de>"], additional_special_tokens=["<lang:de>"])
    target = metaspace(["<lang:de>", "<lang:sw>"], additional_special_tokens=["<lang:de>", "<lang:sw>"])
    assert matched(source, target) == {"<lang:de>": ("<lang:de>", "role")}


def test_rows_that_the_model_lacks_are_not_matched():
    source = metaspace(["▁a", "▁b", "<mask>"], mask_token="<mask>")
    target = metaspace(["▁b", "<mask>", "▁a"], mask_token="<mask>")
    assert matched(source, target, num_source_rows=1) == {"▁a": ("▁a", "exact")}


def test_every_vocabulary_matches_itself(tiny_tokenizer):
    vocabulary = Vocabulary.from_tokenizer(tiny_tokenizer)
    np.testing.assert_array_equal(match_tokens(vocabulary, vocabulary).source_ids, np.arange(len(vocabulary)))


def test_the_published_rules():
    """The accidents that the goldens do not show: id 0, and the last spelling in code point order."""
    source = byte_level(["Wa", "X", "x", "Ab", "AB", "Ġ.", "."])
    target = byte_level(["wa", "X", "aB", "."])
    matches = match_tokens_as_published(source, target)
    # "wa" finds only id 0, which counts as none; "aB" the last of "AB" < "Ab"; "." and "Ġ." decode to the same text.
    assert matches.source_ids.tolist() == [-1, 1, 3, 6]
    assert match_tokens(source, target).source_ids.tolist() == [0, 1, 3, 6]
