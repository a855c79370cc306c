"""Masked-LM scores: what is masked, that they compare across tokenizers, and what can't be written."""

import math

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM

from ofa_transformers.evaluation import MaskedLMScore, score_masked_lm
from ofa_transformers.scoring.characters import Characters
from ofa_transformers.tokenization import train_tokenizer


TEXTS = ["All human beings are born free and equal.", "Everyone has the right to life.", "No one shall be held."]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer({"eng": TEXTS}, 270, algorithm="bpe", model_max_length=64)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return RobertaForMaskedLM(
        RobertaConfig(
            **sizes,
            vocab_size=len(tokenizer),
            max_position_embeddings=66,
            initializer_range=0.3,
            type_vocab_size=1,
        )
    ).eval()


@torch.no_grad()
def plain_score(model, tokenizer, ids: list[int], hidden: dict[int, list[int]]) -> float:
    """Nats of the tokens at the keys, each while those at its value are masked."""
    nats = 0.0
    for position, masked in hidden.items():
        inputs = [tokenizer.mask_token_id if i in masked else token for i, token in enumerate(ids)]
        nats -= model(torch.tensor([inputs])).logits[0, position].log_softmax(-1)[ids[position]].item()
    return nats


def test_word_scheme_is_that_of_kauf_and_ivanova(model, tokenizer):
    """With a large stride: the token and the later ones of its word masked, those before visible."""
    for text, score in zip(TEXTS, score_masked_lm(model, tokenizer, TEXTS, stride=1000)):
        ids, hidden = [tokenizer.bos_token_id], {}
        for number, word in enumerate(text.split()):
            pieces = tokenizer((" " if number else "") + word, add_special_tokens=False)["input_ids"]
            end = len(ids) + len(pieces)
            hidden |= {position: list(range(position, end)) for position in range(len(ids), end)}
            ids += pieces
        ids.append(tokenizer.eos_token_id)
        assert ids == tokenizer(text)["input_ids"] and len(hidden) > 2 * len(text.split())
        nats = plain_score(model, tokenizer, ids, hidden)
        assert score.nats == pytest.approx(nats, rel=1e-5)
        assert score.tokens == len(hidden) and score.characters == len(text)
        assert score.bits_per_character == pytest.approx(nats / math.log(2) / len(text), rel=1e-5)


def test_several_words_in_a_pass(model, tokenizer):
    """Words of 2, 1, 3, 2 tokens, at stride 3: 14 masks for 8 tokens, so ceil(3 * 14 / 8) = 6 passes."""
    text = "are free equal held"
    ids = tokenizer(text)["input_ids"]
    sizes = [len(tokenizer(" " * (i > 0) + word, add_special_tokens=False)["input_ids"]) for i, word in
             enumerate(text.split())]  # fmt: skip
    rest = [size - i for size in sizes for i in range(size)]  # masked with each token, itself included
    passes = max(max(sizes), math.ceil(3 * sum(rest) / len(rest)))
    assert 1 < passes < len(rest)
    hidden = {}
    for place in range(len(rest)):
        together = range(place % passes, len(rest), passes)
        hidden[1 + place] = [1 + other + i for other in together for i in range(rest[other])]
    expected = plain_score(model, tokenizer, ids, hidden)
    assert score_masked_lm(model, tokenizer, [text], stride=3)[0].nats == pytest.approx(expected, rel=1e-5)


def test_token_scheme_masks_every_nth_token(model, tokenizer):
    for stride in (7, 1000):
        for text, score in zip(TEXTS, score_masked_lm(model, tokenizer, TEXTS, scheme="token", stride=stride)):
            ids = tokenizer(text)["input_ids"]
            content = range(1, len(ids) - 1)
            hidden = {position: [i for i in content if (i - position) % stride == 0] for position in content}
            assert score.nats == pytest.approx(plain_score(model, tokenizer, ids, hidden), rel=1e-5)
            assert score.loss == pytest.approx(score.nats / len(content))


# 64 words of four letters; each half of a word tells the other.
WORDS = [first + second + other + last for first, last in zip("abcdefgh", "ABCDEFGH") for second, other in
         zip("ijklmnop", "IJKLMNOP")]  # fmt: skip


class BestMaskedLM(torch.nn.Module):
    """What is known of words drawn uniformly: those that fit the visible pieces are equally probable."""

    def __init__(self, vocabulary: dict[str, int], words: list[list[int]]) -> None:
        super().__init__()
        self.config = BertConfig(vocab_size=len(vocabulary))
        self.words, self.mask = np.array(words), vocabulary["[MASK]"]
        self.base_model = None
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def get_output_embeddings(self) -> torch.nn.Module:
        return torch.nn.Identity()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor):
        probabilities = np.full((*input_ids.shape, self.config.vocab_size), 1e-30)
        pieces = self.words.shape[1]
        for row, line in enumerate(input_ids.numpy()):
            for start in range(1, int(attention_mask[row].sum()) - 1, pieces):
                seen = line[start : start + pieces]
                possible = self.words[((self.words == seen) | (seen == self.mask)).all(axis=1)]
                for piece in range(pieces):
                    np.add.at(probabilities[row, start + piece], possible[:, piece], 1 / len(possible))
        return type("Output", (), {"logits": torch.from_numpy(probabilities).log()})


def cut(pieces: int, marked: bool) -> tuple[PreTrainedTokenizerFast, list[list[int]]]:
    """A tokenizer with `pieces` tokens a word, marked as SentencePiece or WordPiece mark them; the words' tokens."""
    size = 4 // pieces
    parts = [[word[start : start + size] for start in range(0, 4, size)] for word in WORDS]
    before, inside = ("▁", "") if marked else ("", "##")
    spelled = [[(inside if i else before) + part for i, part in enumerate(word)] for word in parts]
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *dict.fromkeys(p for word in spelled for p in word)])}
    if marked:
        tokenizer = Tokenizer(models.Unigram([(token, -1.0) for token in vocabulary], unk_id=1))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names, model_max_length=100)
    return fast, [[vocabulary[part] for part in word] for word in spelled]


@pytest.mark.parametrize("marked", [True, False], ids=["▁", "##"])
def test_bits_do_not_depend_on_the_pieces_of_a_word(marked: bool):
    """The best possible masked LM of words drawn uniformly needs six bits a word, however the words are cut."""
    drawn = np.random.default_rng(0).choice(WORDS, size=(10, 20))
    texts = [" ".join(line) for line in drawn]
    by_token = {}
    for pieces in (1, 2, 4):
        fast, words = cut(pieces, marked)
        best = BestMaskedLM(fast.get_vocab(), words)
        total = sum(score_masked_lm(best, fast, texts), MaskedLMScore())
        assert total.tokens == pieces * 200
        assert total.bits_per_character == pytest.approx(6 * 20 / 99) == pytest.approx(1.212, abs=5e-4)
        by_token[pieces] = sum(score_masked_lm(best, fast, texts, scheme="token"), MaskedLMScore()).bits_per_character
    assert by_token[1] == pytest.approx(1.212, abs=5e-4)
    assert by_token[2] == pytest.approx(0) == by_token[4]  # a word from its other half


def words_of(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    first, last = Characters(["before", text]).words(np.ones(len(spans), dtype=int), np.array(spans))
    return list(zip((first - 1).tolist(), (last - 1).tolist()))


def test_words_stand_between_spaces():
    text = " gwir  c'hoar, ha\u00a0mat"
    spans = [(0, 3), (3, 5), (5, 6), (7, 8), (8, 9), (9, 14), (15, 17), (4, 9), (18, 18), (17, 21), (21, 21)]
    expected = [(0, 0), (0, 0), (1, 1), (1, 1), (1, 1), (1, 1), (2, 2), (0, 1), (3, 3), (3, 3)]
    assert words_of(text, spans)[:-1] == expected


def test_text_without_spaces_is_cut_at_lengths():
    thai, link = "ก" * 40, "x" * 100
    text = f"{thai} {link} mixedก{'y' * 20}"
    ends = [0, 15, 16, 31, 32, 41, 104, 105, 140, 142, 157, 158]
    found = [first for first, _ in words_of(text, [(end, end + 1) for end in ends])]
    assert found == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 5, 6]


def test_a_token_of_two_words_makes_them_one(model):
    """`all men` as one token, then `kind`: the second word has a part of it, and its rest."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, "all men", "kind", "go"])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split("|", "removed")
    backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL))
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, **names, model_max_length=20)
    ids = fast("all men|kind| |go")["input_ids"]
    assert ids == [2, 5, 6, 1, 7, 3]
    # The space, unknown, belongs to `go`.
    nats = plain_score(model, fast, ids, {1: [1, 2], 2: [2], 3: [3, 4], 4: [4]})
    score = score_masked_lm(model, fast, ["all men|kind| |go"], stride=100)[0]
    assert score.nats == pytest.approx(nats, rel=1e-5)


def test_uniform_model_needs_the_logarithm_of_the_vocabulary(model, tokenizer):
    uniform = RobertaForMaskedLM(model.config)
    torch.nn.init.zeros_(uniform.lm_head.decoder.weight)
    torch.nn.init.zeros_(uniform.lm_head.bias)
    for scheme in ("word", "token"):
        total = sum(score_masked_lm(uniform, tokenizer, TEXTS, scheme=scheme), MaskedLMScore())
        assert total.loss == pytest.approx(math.log(len(tokenizer)), rel=1e-5)
        assert total.characters == sum(map(len, TEXTS))


def test_batch_size_and_order_do_not_matter_and_mode_is_kept(model, tokenizer):
    model.train()
    one = score_masked_lm(model, tokenizer, TEXTS, tokens_per_batch=1)
    many = score_masked_lm(model, tokenizer, TEXTS[::-1], tokens_per_batch=10_000)[::-1]
    assert model.training
    model.eval()
    assert [score.nats for score in one] == pytest.approx([score.nats for score in many], rel=1e-5)


def test_long_text_is_cut_into_windows(model, tokenizer):
    text = " ".join(TEXTS * 5)
    for scheme in ("word", "token"):
        (score,) = score_masked_lm(model, tokenizer, [text], scheme=scheme)
        assert score.tokens == len(tokenizer(text, add_special_tokens=False)["input_ids"]) > 64
        assert math.isfinite(score.loss)


def test_text_without_tokens(model, tokenizer):
    assert score_masked_lm(model, tokenizer, []) == []
    empty, full = score_masked_lm(model, tokenizer, ["", TEXTS[0]])
    assert empty == MaskedLMScore()
    assert full.nats == pytest.approx(score_masked_lm(model, tokenizer, TEXTS[:1])[0].nats, rel=1e-5)
    assert math.isnan(empty.loss) and math.isnan(empty.bits_per_character) and math.isnan(empty.unknown_share)


def test_refuses_what_cannot_be_scored(model, tokenizer):
    with pytest.raises(ValueError, match="stride is 1"):
        score_masked_lm(model, tokenizer, TEXTS, stride=1)
    with pytest.raises(ValueError, match="scheme is 'words'"):
        score_masked_lm(model, tokenizer, TEXTS, scheme="words")


CHEROKEE = "ᏂᎦᏓ ᎠᏂᏴᏫ ᏂᎨᎫᏓᎸᎾ ᎠᎴ ᎤᏂᏠᏱ ᎤᎾᏕᎿ ᏚᏳᎧᏛ ᎨᏒᎢ"
GERMAN = "Alle Menschen sind frei und gleich an Würde und Rechten geboren."


def test_what_the_vocabulary_cannot_write_is_charged(tiny_tokenizers):
    """A model that has learned that most tokens are unknown finds them easy; the text is not."""
    fast = tiny_tokenizers["wordpiece"]
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    easy = RobertaForMaskedLM(RobertaConfig(**sizes, vocab_size=len(fast), pad_token_id=0, max_position_embeddings=90))
    torch.nn.init.zeros_(easy.lm_head.decoder.weight)
    easy.lm_head.bias.data[fast.unk_token_id] = 10
    chr_score, deu_score = score_masked_lm(easy, fast, [CHEROKEE, GERMAN], max_length=80)
    assert chr_score.tokens == len(CHEROKEE.split())
    letters = len(CHEROKEE.replace(" ", ""))
    assert (chr_score.unknown_characters, chr_score.unknown_bytes) == (letters, 3 * letters)
    assert chr_score.unknown_share == letters / len(CHEROKEE) and deu_score.unknown_share == 0.25
    assert chr_score.bits == pytest.approx(chr_score.nats / math.log(2) + 24 * letters)
    assert chr_score.nats / chr_score.characters < deu_score.nats / deu_score.characters
    assert chr_score.bits_per_character > 2 * deu_score.bits_per_character
    both = chr_score + deu_score
    assert both.unknown_bytes == chr_score.unknown_bytes + deu_score.unknown_bytes


def test_unknown_characters_are_those_under_no_token_too(tiny_tokenizers):
    """BPE without unknown token drops what it doesn't know."""
    backend = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    encoding = backend.encode("ab ä€ b")
    spans, ids = np.array(encoding.offsets), np.array(encoding.ids)
    assert ids.tolist() == [2, 1]
    none = np.zeros(len(ids), dtype=bool)
    unknown = Characters(["ab ä€ b"]).unknown(none.astype(int), spans, none)
    assert [int(counts[0]) for counts in unknown] == [2, 5]
    # Unigram's mark of the line's begin has the first character for its own, and no space is unknown.
    fast = tiny_tokenizers["unigram"]
    encoded = fast("Ꮳ a", add_special_tokens=False, return_offsets_mapping=True)
    assert fast.convert_ids_to_tokens(encoded["input_ids"])[:2] == ["▁", "<unk>"]
    unk = np.array(encoded["input_ids"]) == fast.unk_token_id
    unknown = Characters(["Ꮳ a"]).unknown(np.zeros(len(unk), int), np.array(encoded["offset_mapping"]), unk)
    assert [int(counts[0]) for counts in unknown] == [1, 3]
