"""Target tokenizers of all three kinds."""

import hashlib
import json
import os

import fresh_process
import numpy as np
import pytest
import sentencepiece
from conftest import TEXT
from transformers import AutoTokenizer

from ofa_transformers.demo.data import load_parallel_text
from ofa_transformers.tokenization import train_tokenizer
from ofa_transformers.tokenization.word_counts import sampling_factors


ALGORITHMS = ["unigram", "bpe", "wordpiece"]


@pytest.fixture(scope="module")
def texts():
    text = load_parallel_text(["deu_Latn", "hin_Deva", "kat_Geor"])
    return {language: list(segments.values()) for language, segments in text.train.items()}


@pytest.fixture(scope="module")
def tokenizers(texts):
    return {algorithm: train_tokenizer(texts, 1000, algorithm=algorithm) for algorithm in ALGORITHMS}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_saved_folder_loads_with_auto_tokenizer(tokenizers, texts, tmp_path, algorithm):
    tokenizer = tokenizers[algorithm]
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert len(loaded) == 1000
    assert loaded.is_fast
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.special_tokens_map == tokenizer.special_tokens_map
    assert loaded.model_input_names == tokenizer.model_input_names
    lines = [lines[3] for lines in texts.values()]
    assert loaded(lines)["input_ids"] == tokenizer(lines)["input_ids"]
    assert loaded("a", "b")["input_ids"] == tokenizer("a", "b")["input_ids"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_training_text_has_no_unknown_tokens_and_comes_back(tokenizers, texts, algorithm):
    tokenizer = tokenizers[algorithm]
    for lines in texts.values():
        for line in lines[:5]:
            ids = tokenizer(line)["input_ids"]
            assert tokenizer.unk_token_id not in ids
            decoded = tokenizer.decode(ids, skip_special_tokens=True)
            if algorithm == "wordpiece":  # its decoder can't know where spaces were around punctuation
                decoded, line = decoded.replace(" ", ""), line.replace(" ", "")
            assert decoded.strip() == line


@pytest.mark.parametrize("algorithm", ["unigram", "bpe"])
def test_special_tokens_like_xlm_roberta(tokenizers, algorithm):
    tokenizer = tokenizers[algorithm]
    assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>"]) == [0, 1, 2, 3]
    assert tokenizer.mask_token_id == 999
    one, two = (tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("one", "two"))
    assert tokenizer("one")["input_ids"] == [0, *one, 2]
    assert tokenizer("one", "two")["input_ids"] == [0, *one, 2, 2, *two, 2]
    assert (tokenizer.bos_token, tokenizer.cls_token, tokenizer.sep_token) == ("<s>", "<s>", "</s>")
    # the mask takes the space before it
    assert tokenizer("one <mask>")["input_ids"] == [0, *one, 999, 2]


def test_wordpiece_special_tokens_like_bert(tokenizers):
    tokenizer = tokenizers["wordpiece"]
    assert tokenizer.convert_tokens_to_ids(["[PAD]", "[UNK]", "[CLS]", "[SEP]"]) == [0, 1, 2, 3]
    pair = tokenizer("one", "two")
    assert tokenizer.convert_ids_to_tokens(pair["input_ids"])[0] == "[CLS]"
    assert tokenizer.convert_ids_to_tokens(pair["input_ids"]).count("[SEP]") == 2
    assert set(pair["token_type_ids"]) == {0, 1}
    assert any(token.startswith("##") for token in tokenizer.get_vocab())
    # the alphabet is no list of special tokens
    assert set(tokenizer.all_special_tokens) == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    assert len(tokenizer.backend_tokenizer.get_added_tokens_decoder()) == 5


_SCRIPT = """
import hashlib
import json
from ofa_transformers.demo.data import load_parallel_text
from ofa_transformers.tokenization import train_tokenizer
text = load_parallel_text(["deu_Latn", "hin_Deva", "kat_Geor"])
texts = {language: list(segments.values()) for language, segments in text.train.items()}
print(hash("other"))
for algorithm in ("unigram", "bpe", "wordpiece"):
    state = train_tokenizer(texts, 1000, algorithm=algorithm).backend_tokenizer.to_str()
    print(hashlib.sha256(state.encode()).hexdigest())
"""


def test_another_process_with_other_threads_gives_the_same_tokenizers(tokenizers):
    done = fresh_process.run(_SCRIPT, env={**os.environ, "RAYON_NUM_THREADS": "3", "TOKENIZERS_PARALLELISM": "true"})
    assert done.returncode == 0, done.stderr[-3000:]
    here = [
        hashlib.sha256(tokenizers[algorithm].backend_tokenizer.to_str().encode()).hexdigest()
        for algorithm in ALGORITHMS
    ]
    other, *found = done.stdout.split()
    assert found == here
    assert int(other) != hash("other") or "PYTHONHASHSEED" in os.environ  # sets have another order there


def test_generators_give_what_lists_give(texts, tokenizers):
    generators = {language: (line for line in lines) for language, lines in texts.items()}
    tokenizer = train_tokenizer(generators, 1000)
    assert tokenizer.get_vocab() == tokenizers["unigram"].get_vocab()


def test_order_of_languages_does_not_matter(texts, tokenizers):
    tokenizer = train_tokenizer(dict(reversed(texts.items())), 1000)
    assert tokenizer.get_vocab() == tokenizers["unigram"].get_vocab()


def test_language_sampling_follows_the_exponent():
    counts = [1_000_000, 1_000]
    for alpha in (0.0, 0.3, 1.0):
        read = sampling_factors(counts, alpha, None) * counts
        np.testing.assert_allclose(read.sum(), sum(counts))
        np.testing.assert_allclose(read[1] / read[0], (counts[1] / counts[0]) ** alpha)
    np.testing.assert_allclose((sampling_factors(counts, 0.3, 5000) * counts).sum(), 5000)


def test_lower_alpha_gives_a_small_language_more_pieces(texts):
    unequal = {"deu_Latn": texts["deu_Latn"] * 20, "kat_Geor": texts["kat_Geor"]}

    def georgian(alpha):
        vocabulary = train_tokenizer(unequal, 600, alpha=alpha).get_vocab()
        return sum(any("\u10d0" <= character <= "\u10ff" for character in token) for token in vocabulary)

    assert georgian(0.3) > georgian(1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocab_size": 60}, "smaller than the alphabet"),
        ({"vocab_size": 200, "algorithm": "bpe"}, "256 bytes"),
        ({"vocab_size": 100, "algorithm": "wordpiece"}, "smaller than the alphabet"),
        ({"vocab_size": 0}, "smaller than the alphabet"),
        ({"vocab_size": 1000, "algorithm": "bytes"}, "algorithm='bytes'"),
        ({"vocab_size": 1000, "alpha": 1.5}, "alpha=1.5"),
        ({"vocab_size": 1000, "max_characters": 0}, "max_characters=0"),
    ],
)
def test_settings_out_of_range_are_refused(texts, arguments, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(texts, **arguments)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({}, "at least one language"),
        ({"deu": []}, "no text for: deu"),
        ({"deu": ["  ", ""]}, "no text for: deu"),
        ({"deu": "one string"}, "one string"),
        ({"deu": [b"bytes"]}, "bytes as line 1"),
        (["lines"], "must map each language"),
    ],
)
def test_bad_text_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(bad, 1000)


def test_text_too_small_for_the_vocabulary_gives_fewer_tokens():
    tokenizer = train_tokenizer({"eng": ["a small text with few words"]}, 5000)
    assert len(tokenizer) < 200
    assert tokenizer.mask_token_id == len(tokenizer) - 1


@pytest.mark.parametrize("kind", ["unigram", "byte_bpe", "wordpiece", "sentencepiece_bpe"])
def test_like_another_tokenizer(kind, texts, tiny_tokenizers, tmp_path):
    like = tiny_tokenizers[kind]
    tokenizer = train_tokenizer(texts, 900, like=like)
    assert type(tokenizer) is type(like)
    assert len(tokenizer) == 900
    assert tokenizer.special_tokens_map == like.special_tokens_map
    assert tokenizer.all_special_ids != [] and max(tokenizer.get_vocab().values()) == 899
    new, old = (json.loads(t.backend_tokenizer.to_str()) for t in (tokenizer, like))
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        assert new[part] == old[part]
    for option in old["model"].keys() - {"vocab", "merges", "unk_id"}:
        assert new["model"][option] == old["model"][option], option
    assert {token["content"] for token in new["added_tokens"]} == {token["content"] for token in old["added_tokens"]}
    for line in texts["hin_Deva"][:5]:
        ids = tokenizer(line)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert len(ids) < 0.7 * len(line.encode())
    # templates follow the ids of the new tokenizer
    names = tokenizer.convert_ids_to_tokens(tokenizer("a", "b")["input_ids"])
    assert [name for name in names if name in like.all_special_tokens] == [
        name
        for name in like.convert_ids_to_tokens(like("a", "b")["input_ids"])
        if name in like.all_special_tokens and name != like.unk_token
    ]
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded(texts["deu_Latn"])["input_ids"] == tokenizer(texts["deu_Latn"])["input_ids"]
    again = train_tokenizer(texts, 900, like=like)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_like_keeps_added_tokens_at_their_end(texts, tiny_tokenizers):
    like = train_tokenizer(texts, 400)
    like.add_tokens(["Kilimanjaro"])
    tokenizer = train_tokenizer(texts, 600, like=like)
    assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>"]) == [0, 1, 2, 3]
    assert tokenizer.convert_tokens_to_ids(["<mask>", "Kilimanjaro"]) == [598, 599]
    assert "Kilimanjaro" not in tokenizer.all_special_tokens
    assert tokenizer("a <mask>")["input_ids"] == [0, *tokenizer("a", add_special_tokens=False)["input_ids"], 598, 2]


def test_like_refuses_another_algorithm(texts, tiny_tokenizers):
    with pytest.raises(ValueError, match="'bpe' is not that of like, 'unigram'"):
        train_tokenizer(texts, 900, like=tiny_tokenizers["unigram"], algorithm="bpe")
    with pytest.raises(ValueError, match="256 bytes"):
        train_tokenizer(texts, 200, like=tiny_tokenizers["byte_bpe"])


def test_files_give_what_lists_give(texts, tokenizers, tmp_path):
    for language, lines in texts.items():
        (tmp_path / f"{language}.txt").write_text("\n".join(lines), encoding="utf-8")
    tokenizer = train_tokenizer(sorted(tmp_path.iterdir()), 1000)
    assert tokenizer.get_vocab() == tokenizers["unigram"].get_vocab()


@pytest.mark.parametrize("algorithm", ["bpe", "wordpiece"])
def test_what_can_be_read_once_gives_the_same_as_a_list(algorithm):
    lines = [f"{line} \n" if number % 2 else f"{line}  " for number, line in enumerate(["das Haus", "ein Baum"] * 40)]
    once, twice = (train_tokenizer({"deu": text}, 280, algorithm=algorithm) for text in (iter(lines), lines))
    assert once.get_vocab() == twice.get_vocab()


def test_words_that_are_data_reach_the_unigram_trainer_in_parts(monkeypatch):
    """sentencepiece took a minute for one of 140,000 characters."""
    seen = []
    train = sentencepiece.SentencePieceTrainer.train

    def recorded(sentence_iterator, **options):
        seen.extend(sentence_iterator)
        train(sentence_iterator=iter(seen), **options)

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", recorded)
    data = "".join(f"{number:x}" for number in range(3000))
    tokenizer = train_tokenizer({"deu": [*TEXT, data]}, 300)
    parts = [line.partition("\t")[0] for line in seen]
    first = next(number for number, part in enumerate(parts) if part.startswith(f" {data[:20]}"))
    count = len(data) // 1000 + 1
    assert max(map(len, parts)) == 1000 and "".join(parts[first : first + count]) == f" {data}"
    assert tokenizer.decode(tokenizer(data, add_special_tokens=False)["input_ids"]).strip() == data
