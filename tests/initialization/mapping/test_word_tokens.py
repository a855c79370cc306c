import gzip

import numpy as np
import pytest
from conftest import TEXT, build_unigram
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ofa_transformers.initialization.mapping import word_tokens as module
from ofa_transformers.initialization.mapping.word_tokens import count_subwords
from ofa_transformers.mapping import Vocabulary


# Plain words, with and without marks of boundaries, and what isn't plain.
WORDS = [
    "house",
    "$house$",
    "$hou",
    "ouse$",
    "Haus",
    "ßen",
    "дом",
    "小房子",
    "$小",
    "किताब",
    "a",
    "1st",
    "x²",
    "½",
    "ʘʘ",
]
WORDS += [
    "",
    "$",
    "$$",
    "a$b",
    "don't",
    "<s>",
    "▁",
    "ﷺ",
    "ͺa",
    "\u3164",
    "\u0301a",
    "a\u200bb",
    "ǰa",
    "ŉa",
    "İ",
    "of the",
    "◌",
]


def one_by_one(vocabulary: Vocabulary, words: list[str]) -> set[tuple[int, int]]:
    """Pairs of a subword that isn't wordless and a word, from single calls of the tokenizer."""
    pairs = set()
    for position, word in enumerate(words):
        text = word.replace("$", " ")
        if not word.strip("$") and len(word) < 2:
            continue
        first = text[1].upper() + text[2:] if word.startswith("$") else " " + text[0].upper() + text[1:]
        for form in (text, " " + text, first):
            ids = vocabulary.tokenizer(form, add_special_tokens=False).input_ids
            pairs |= {(index, position) for index in ids if not vocabulary.wordless[index]}
    return pairs


def found_pairs(vocabulary: Vocabulary, words: list[str]) -> set[tuple[int, int]]:
    subwords, positions, counts = count_subwords(vocabulary, words)
    assert (counts == 1).all()
    kept = ~vocabulary.wordless[subwords]
    return set(zip(subwords[kept].tolist(), positions[kept].tolist()))


@pytest.mark.parametrize("line_words", [1, 2, 5, 1000])
def test_lines_of_words_give_what_words_give(tiny_tokenizer, line_words, monkeypatch):
    monkeypatch.setattr(module, "_LINE_WORDS", line_words)
    vocabulary = Vocabulary.from_tokenizer(tiny_tokenizer)
    words = [*WORDS, *(word for line in TEXT for word in line.split())]
    assert found_pairs(vocabulary, words) == one_by_one(vocabulary, words)


def test_with_the_vocabulary_of_xlm_r(shared):
    path = shared / "data" / "tokenizers" / "xlm-r" / "tokenizer.json.gz"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(gzip.decompress(path.read_bytes()).decode()),
        unk_token="<unk>", pad_token="<pad>", mask_token="<mask>",
    )  # fmt: skip
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert vocabulary.cuts_at_spaces
    words = list(WORDS)
    for name in ("ara_Arab", "cmn_Hans", "guj_Gujr", "heb_Hebr", "ukr_Cyrl"):
        with gzip.open(shared / "data" / "bible" / f"{name}.tsv.gz", "rt", encoding="utf-8") as file:
            words += [word for _, line in zip(range(30), file) for word in line.split("\t")[1].split()]
    assert found_pairs(vocabulary, words) == one_by_one(vocabulary, words)


def changed(change) -> Vocabulary:
    tokenizer = build_unigram()
    change(tokenizer.backend_tokenizer)
    return Vocabulary.from_tokenizer(tokenizer)


def set_pre_tokenizer(part):
    return lambda backend: setattr(backend, "pre_tokenizer", part)


def set_normalizer(part):
    return lambda backend: setattr(backend, "normalizer", part)


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda backend: None, True),
        (set_pre_tokenizer(pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])), True),
        (set_pre_tokenizer(pre_tokenizers.Metaspace(prepend_scheme="first")), False),
        (set_pre_tokenizer(pre_tokenizers.Metaspace(split=False)), False),
        (set_pre_tokenizer(pre_tokenizers.Whitespace()), False),
        (set_normalizer(normalizers.NFKC()), True),
        (set_normalizer(normalizers.Replace("a b", "c")), False),
        (set_normalizer(normalizers.Prepend("▁")), False),
        (lambda backend: backend.add_tokens(["the old"]), False),
    ],
)  # fmt: skip
def test_what_counts_as_cutting_at_spaces(change, expected):
    vocabulary = changed(change)
    assert vocabulary.cuts_at_spaces == expected
    assert found_pairs(vocabulary, WORDS + TEXT[0].split()) == one_by_one(vocabulary, WORDS + TEXT[0].split())


def test_a_mark_that_is_no_token(monkeypatch):
    """Where the begin of a word can't be told from the tokens, words go through the tokenizer one at a time."""
    vocabulary = changed(lambda backend: None)
    vocabulary.__dict__["begins_word"] = np.zeros(len(vocabulary), dtype=bool)
    assert found_pairs(vocabulary, WORDS) == one_by_one(vocabulary, WORDS)
