"""Each measure once more, in plain lines that share no code with the package: formulas and loops."""

import math
import random

import numpy as np
import pytest
import torch
from conftest import TEXT, build_byte_bpe, build_unigram
from transformers import GPT2Config, GPT2LMHeadModel, RobertaConfig, RobertaForMaskedLM

from ofa_transformers.evaluation import (
    ParallelText,
    evaluate_perplexity,
    evaluate_retrieval,
)
from ofa_transformers.evaluation.classification import _score as score_classes
from ofa_transformers.evaluation.results import bootstrap_interval, ratio_interval
from ofa_transformers.evaluation.tagging import _score as score_tags
from ofa_transformers.text.labelled.examples import Examples


LINES = list(dict.fromkeys(TEXT))[:6]


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    torch.manual_seed(1)
    tokenizer = build_unigram()
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
    config = RobertaConfig(**sizes, vocab_size=len(tokenizer), max_position_embeddings=130, initializer_range=0.3)
    return saved(RobertaForMaskedLM(config), tokenizer, tmp_path_factory.mktemp("masked"))


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    torch.manual_seed(2)
    tokenizer = build_byte_bpe()
    config = GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=128, vocab_size=len(tokenizer), bos_token_id=0)
    return saved(GPT2LMHeadModel(config), tokenizer, tmp_path_factory.mktemp("decoder"))


def saved(model, tokenizer, folder):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.eval(), tokenizer, folder


def values(found, language="x"):
    return {item.metric: item.value for item in found if item.language == language}


@torch.no_grad()
def test_bits_of_a_masked_model(masked):
    """One token at a time: it and the later ones of its word masked. Unknown characters cost 8 bits a byte."""
    model, tokenizer, folder = masked
    bits = characters = unknown = bytes_ = 0
    for line in LINES:
        pieces = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in line.split(" ")]
        ids = [0, *(i for word in pieces for i in word), 2]
        assert ids == tokenizer(line)["input_ids"]
        at = 1
        for word in pieces:
            for end in [at + len(word)] * len(word):
                inputs = torch.tensor([ids[:at] + [tokenizer.mask_token_id] * (end - at) + ids[end:]])
                bits -= torch.log_softmax(model(inputs).logits[0, at], 0)[ids[at]].item() / math.log(2)
                at += 1
        text = tokenizer.backend_tokenizer.encode(line)
        lost = {i for token, (a, b) in zip(text.ids, text.offsets) if token == 3 for i in range(a, b)}
        bits += 8 * sum(len(line[i].encode()) for i in lost)
        unknown += len(lost)
        characters += len(line)
        bytes_ += len(line.encode())
    found = values(evaluate_perplexity([folder], {"x": LINES}, stride=10**6, device="cpu"))
    assert found["bits per character"] == pytest.approx(bits / characters, rel=1e-5)
    assert found["bits per byte"] == pytest.approx(bits / bytes_, rel=1e-5)
    assert found["unknown characters"] == pytest.approx(unknown / characters)


@torch.no_grad()
def test_bits_of_a_decoder(decoder):
    model, tokenizer, folder = decoder
    nats = tokens = 0
    for line in LINES:
        ids = [0, *tokenizer(line, add_special_tokens=False)["input_ids"]]
        for i in range(1, len(ids)):
            nats -= torch.log_softmax(model(torch.tensor([ids[:i]])).logits[0, -1], 0)[ids[i]].item()
            tokens += 1
    found = values(evaluate_perplexity([folder], {"x": LINES}, device="cpu"))
    assert found["bits per character"] == pytest.approx(nats / math.log(2) / sum(map(len, LINES)), rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert found["unknown characters"] == 0


@torch.no_grad()
def test_retrieval(masked):
    """Among all of the other side, by cosine, a tie counting against the query; one line occurs twice."""
    model, tokenizer, folder = masked
    ours, theirs = [*LINES, LINES[0]], [line[::-1] for line in [*LINES, LINES[0]]]

    def vector(line: str) -> np.ndarray:
        states = model.roberta(torch.tensor([tokenizer(line)["input_ids"]]), output_hidden_states=True)
        return states.hidden_states[2][0, 1:-1].mean(0).double().numpy()

    def accuracy(queries: list[np.ndarray], candidates: list[np.ndarray], k: int) -> float:
        hits = 0
        for i, query in enumerate(queries):
            cosines = [c @ query / np.sqrt((c @ c) * (query @ query)) for c in candidates]
            hits += sum(cosine >= cosines[i] - 1e-9 for j, cosine in enumerate(cosines) if j != i) < k
        return hits / len(queries)

    found = values(evaluate_retrieval([folder], [ParallelText("x", theirs, ours, "")], top=(1, 3), device="cpu"))
    sides = [[vector(line) for line in lines] for lines in (ours, theirs)]
    for ending in ("", ", centred"):
        for k in (1, 3):
            assert found[f"top-{k} from English{ending}"] == pytest.approx(accuracy(*sides, k))
            assert found[f"top-{k} to English{ending}"] == pytest.approx(accuracy(*sides[::-1], k))
        sides = [[v - sum(side) / len(side) for v in side] for side in sides]


def test_macro_f1_and_accuracy():
    """Of classes that occur or are predicted."""
    random.seed(0)
    labels = ["a", "b", "c", "d"]
    gold = random.choices("aab", k=60)
    guessed = [random.choice("abc") if random.random() < 0.5 else label for label in gold]
    scores = []
    for label in "abc":
        right = sum(g == p == label for g, p in zip(gold, guessed))
        precision, recall = right / max(guessed.count(label), 1), right / max(gold.count(label), 1)
        scores.append(2 * precision * recall / (precision + recall) if right else 0)
    features = [{"labels": labels.index(label)} for label in gold]
    predicted = [np.array(labels.index(label)) for label in guessed]
    found = {item.metric: item.value for item in score_classes(None, labels, features, predicted)}
    assert found["macro-F1"] == pytest.approx(sum(scores) / 3)
    assert found["accuracy"] == pytest.approx(sum(g == p for g, p in zip(gold, guessed)) / 60)


def test_f1_of_entities():
    """Of whole entities with their type, as seqeval has them: I- after another type or O begins one, too."""
    pytest.importorskip("seqeval")
    random.seed(1)
    labels = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    gold = [random.choices(labels, k=8) for _ in range(50)]
    guessed = [[tag if random.random() < 0.7 else random.choice(labels) for tag in row] for row in gold]

    def entities(rows: list[list[str]]) -> set[tuple]:
        found = set()
        for number, row in enumerate(rows):
            start = None
            for i, tag in enumerate([*row, "O"]):
                if start is not None and tag != "I" + row[start][1:]:
                    found.add((number, start, i, row[start][2:]))
                    start = None
                if tag != "O" and start is None:
                    start = i
        return found

    true, said = entities(gold), entities(guessed)
    examples = Examples([["w"] * 8] * 50, gold, "here", [[1] * 8] * 50)
    features = [{"first": np.arange(8)}] * 50
    (f1,) = score_tags(examples, labels, features, [np.array([labels.index(t) for t in row]) for row in guessed])
    assert f1.value == pytest.approx(2 * len(true & said) / (len(true) + len(said)))
    from seqeval.metrics import f1_score

    assert f1.value == pytest.approx(f1_score(gold, guessed))


@pytest.mark.parametrize("kind", ["mean", "ratio"])
def test_intervals_cover_what_they_should(kind: str):
    """Of 95 % intervals of 300 samples, 95 % hold the true value, give or take three standard errors and the bias of 60 items."""
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        sizes = generator.integers(20, 120, size=60)
        bits = sizes * generator.gamma(4, 0.5, size=60)  # two a character on average
        if kind == "ratio":
            low, high = ratio_interval(bits, sizes, samples=400, seed=int(generator.integers(1 << 30)))
        else:
            values = bits / sizes
            low, high = bootstrap_interval(lambda chosen, v=values: v[chosen].mean(), 60, samples=400)
        covered += low <= 2 <= high
    assert 0.89 <= covered / 300 <= 0.985
