import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ofa_transformers.mapping import Vocabulary


def make(model, **parts) -> Vocabulary:
    specials = parts.pop("specials", {})
    tokenizer = Tokenizer(model)
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials))


KINDS = {"unigram": "metaspace", "byte_bpe": "byte_level", "wordpiece": "wordpiece", "sentencepiece_bpe": "metaspace"}


def test_kind(tiny_tokenizers):
    assert {name: Vocabulary.from_tokenizer(t).kind for name, t in tiny_tokenizers.items()} == KINDS


def test_forms_spell_the_text(tiny_tokenizer):
    """Forms put together give back the text, whatever the kind, to the byte."""
    vocabulary = Vocabulary.from_tokenizer(tiny_tokenizer)
    for text in ("the house, the town", "das Häuser Meer"):
        ids = vocabulary.encoder.encode(" " + text, add_special_tokens=False).ids
        spelled = b"".join(vocabulary.forms[i] for i in ids).decode()
        assert " ".join(spelled.split()) == text


def test_parts_of_characters_are_bytes(tiny_tokenizers):
    for name in ("byte_bpe", "sentencepiece_bpe"):
        vocabulary = Vocabulary.from_tokenizer(tiny_tokenizers[name])
        ids = vocabulary.encoder.encode("水ω", add_special_tokens=False).ids
        assert b"".join(vocabulary.forms[i] for i in ids).strip() == "水ω".encode()
        assert {bytes([byte]) for byte in "水ω".encode()} & {vocabulary.forms[i] for i in ids}


def test_roles_and_special_tokens(tiny_tokenizers):
    vocabulary = Vocabulary.from_tokenizer(tiny_tokenizers["wordpiece"])
    assert vocabulary.roles == {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
    assert np.flatnonzero(vocabulary.special).tolist() == [0, 1, 2, 3, 4]
    vocabulary = Vocabulary.from_tokenizer(tiny_tokenizers["unigram"])
    assert vocabulary.roles["cls"] == vocabulary.roles["bos"] == 0 and vocabulary.roles["mask"] == len(vocabulary) - 1
    assert vocabulary.wordless[vocabulary.ids["▁"]] and not vocabulary.wordless[vocabulary.ids["s"]]


def test_holes_in_the_ids():
    vocabulary = make(
        models.WordPiece({"[UNK]": 0, "a": 3, "##b": 7}, unk_token="[UNK]"), specials={"unk_token": "[UNK]"}
    )
    assert len(vocabulary) == 8 and np.flatnonzero(vocabulary.exists).tolist() == [0, 3, 7]
    assert vocabulary.forms == [b"[UNK]", None, None, b" a", None, None, None, b"b"]


def test_wordpiece_punctuation_and_han_do_not_begin_words():
    vocabulary = make(models.WordPiece({"[UNK]": 0, ".": 1, "##.": 2, "水": 3, "水水": 4, "##": 5}, unk_token="[UNK]"))
    assert vocabulary.forms[1:] == [b".", b".", "水".encode(), " 水水".encode(), b"##"]


def test_added_tokens_match_text_as_written():
    tokenizer = Tokenizer(models.BPE({"Ġ": 0, "a": 1, "Ã": 2, "¼": 3}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_tokens(["ü", "Ġa", AddedToken("covid", single_word=True)])
    tokenizer.add_special_tokens(["<extra>"])
    vocabulary = Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer))
    forms = [b" ", b"a", b"\xc3", b"\xbc", "ü".encode(), "Ġa".encode(), b" covid", b"<extra>"]
    assert vocabulary.forms == forms
    assert np.flatnonzero(vocabulary.added).tolist() == [4, 5, 6] and vocabulary.special.tolist() == [False] * 7 + [
        True
    ]


@pytest.mark.parametrize(
    ("model", "parts", "kind", "forms"),
    [
        (models.BPE({"a": 0, "b</w>": 1}, [], end_of_word_suffix="</w>"), {}, "suffix", [b"a", b"b "]),
        (models.WordLevel({"a": 0, ",": 1}, "a"), {}, "wordpiece", [b" a", b","]),
        (models.BPE({"a": 0, "##b": 1}, [], continuing_subword_prefix="##"), {}, "wordpiece", [b" a", b"b"]),
        (models.Unigram([("a", 0.0), (" b", 0.0)]), {}, "plain", [b"a", b" b"]),
        (
            models.Unigram([("_a", 0.0), ("b▁", 0.0)]),
            {"pre_tokenizer": pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), pre_tokenizers.Metaspace("_")])},
            "metaspace",
            [b" a", "b▁".encode()],
        ),
        (
            models.BPE({"▁a": 0, "<0xE4>": 1}, [], byte_fallback=True),
            {"decoder": decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])},
            "metaspace",
            [b" a", b"\xe4"],
        ),
        (
            models.BPE({"Ġa": 0, "ä": 1}, []),
            {"normalizer": normalizers.ByteLevel(), "decoder": decoders.Sequence([decoders.ByteLevel()])},
            "byte_level",
            [b" a", b"\xe4"],
        ),
    ],
)
def test_kinds_are_read_from_the_parts(model, parts, kind, forms):
    vocabulary = make(model, **parts)
    assert vocabulary.kind == kind and vocabulary.forms == forms


def test_truncation_padding_and_dropout_do_not_reach_the_words(tiny_tokenizers):
    content = tiny_tokenizers["byte_bpe"].backend_tokenizer.to_str()
    backend = Tokenizer.from_str(content)
    backend.enable_truncation(2)
    backend.enable_padding(length=16)
    backend.model.dropout = 0.9
    vocabulary = Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend))
    expected = tiny_tokenizers["byte_bpe"].backend_tokenizer.encode("the houses of the town", add_special_tokens=False)
    assert vocabulary.encoder.encode("the houses of the town", add_special_tokens=False).ids == expected.ids
    kept = vocabulary.tokenizer.backend_tokenizer
    assert kept.truncation["max_length"] == 2 and kept.padding["length"] == 16
    assert kept.model.dropout == pytest.approx(0.9)


def test_sampling_does_not_reach_the_words(tiny_tokenizers):
    backend = Tokenizer.from_str(tiny_tokenizers["unigram"].backend_tokenizer.to_str())
    backend.model.alpha, backend.model.nbest_size = 0.01, 64
    vocabulary = Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend))
    text = "the houses of the town"
    found = {tuple(vocabulary.encoder.encode(text, add_special_tokens=False).tokens) for _ in range(30)}
    assert found == {tuple(tiny_tokenizers["unigram"].tokenize(text))}


def test_a_tokenizer_that_is_not_fast_is_refused():
    with pytest.raises(ValueError, match="target_tokenizer must be a fast tokenizer"):
        Vocabulary.from_tokenizer(object(), "target_tokenizer")
