"""Several sizes from one mapping; blocks that don't change a result; too little memory; an interrupt."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TEXT
from transformers import RobertaConfig, RobertaForMaskedLM

import ofa_transformers as ofa
from ofa_transformers.initialization import factors, initializer, memory
from ofa_transformers.initialization import inputs as reading
from ofa_transformers.initialization.mapping import fallback, subword_vectors, token_mapping, word_tokens
from ofa_transformers.models import factorization
from ofa_transformers.utils import memory as machine
from ofa_transformers.utils import search as neighbors


@pytest.fixture(scope="module")
def inputs(tiny_tokenizers) -> dict:
    tokenizer = tiny_tokenizers["byte_bpe"]
    torch.manual_seed(0)
    source = RobertaForMaskedLM(
        RobertaConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=40, max_position_embeddings=40,
        )
    ).eval()  # fmt: skip
    words = sorted({word for line in TEXT for word in line.split()})
    vectors = np.random.default_rng(0).standard_normal((len(words), 12), dtype=np.float32)
    return {
        "source": source,
        "source_tokenizer": tokenizer,
        "target_tokenizer": tiny_tokenizers["unigram"],
        "word_vectors": ofa.WordVectors(words, np.full(len(words), "eng"), vectors),
    }


def weights(adapted: ofa.OfaInitializer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in adapted.model.state_dict().items()}


@pytest.mark.parametrize("primitives", ["source", "target"])
def test_every_size_is_that_of_its_own_run(inputs, monkeypatch, primitives):
    inputs = {**inputs, "primitives": primitives}
    built = []
    build = initializer.make_mapping
    monkeypatch.setattr(
        initializer, "make_mapping", lambda *args, **options: built.append(1) or build(*args, **options)
    )
    decomposed = []
    decompose = factors.decompose
    monkeypatch.setattr(factors, "decompose", lambda rows: decomposed.append(1) or decompose(rows))
    sizes = [4, 12, None]
    results = list(ofa.OfaInitializer.each_size(embedding_sizes=sizes, target_text=iter(TEXT), **inputs))
    assert (len(built), len(decomposed)) == (1, 1)
    for size, adapted in zip(sizes, results):
        alone = ofa.OfaInitializer.from_pretrained(embedding_size=size, target_text=iter(TEXT), **inputs)
        assert type(adapted.model) is type(alone.model)
        assert adapted.report.target == alone.report.target and adapted.report.settings == alone.report.settings
        expected = weights(alone)
        for name, value in weights(adapted).items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)
    before = weights(results[0])
    with torch.no_grad():
        for parameter in results[1].model.parameters():
            parameter.zero_()
    for name, value in weights(results[0]).items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    "sizes, message", [([], "one size or more"), ([4, 4], "each once"), ([4, 99], "between 1 and")]
)
def test_all_sizes_are_checked_at_the_start(sizes, message, inputs):
    with pytest.raises(ValueError, match=message):
        ofa.OfaInitializer.each_size(embedding_sizes=sizes, **inputs)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("embedding_size", [None, 12])
def test_small_blocks_give_the_same(embedding_size, threads, inputs, monkeypatch):
    """What makes large inputs fit into memory doesn't show in the result."""
    expected = weights(ofa.OfaInitializer.from_pretrained(embedding_size=embedding_size, **inputs))
    for module, name, value in [
        (subword_vectors, "_BLOCK_WORDS", 7),
        (word_tokens, "_LINE_WORDS", 3),
        (neighbors, "_BLOCK_SIMILARITIES", 64),
        (neighbors, "_TILE_CANDIDATES", 16),
        (neighbors, "_TILE_QUERIES", 3),
        (neighbors, "_GROUP", 2),
        (neighbors, "_BLOCK_ROWS", 5),
        (factorization, "_BLOCK_ROWS", 33),
        (token_mapping, "_BLOCK_ROWS", 10),
    ]:
        assert getattr(module, name) > value
        monkeypatch.setattr(module, name, value)
    assert fallback._DRAW_ROWS == 4096  # part of the result
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = weights(ofa.OfaInitializer.from_pretrained(embedding_size=embedding_size, **inputs))
    finally:
        torch.set_num_threads(before)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-5, msg=name)


def test_too_little_memory_is_refused_before_the_mapping(inputs, monkeypatch):
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: SimpleNamespace(available=100 * 2**20))
    monkeypatch.setattr(initializer, "make_mapping", lambda *_, **__: pytest.fail("long work began"))
    with pytest.raises(MemoryError, match=r"needs about 0\.\d GiB .* only 0\.1 GiB are available.*max_words"):
        ofa.OfaInitializer.from_pretrained(**inputs)


def test_too_little_memory_is_refused_before_vectors_and_weights_are_read(inputs, monkeypatch, tmp_path):
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: SimpleNamespace(available=100 * 2**20))
    monkeypatch.setattr(reading, "take_source", lambda *_, **__: pytest.fail("the source was read"))
    with pytest.raises(MemoryError, match=r"only 0\.1 GiB are available"):
        ofa.OfaInitializer.from_pretrained(**{**inputs, "word_vectors": tmp_path / "never opened"})
    # Vectors of many words are known to be too many once they are open.
    words = [f"w{i}" for i in range(1000)]
    many = ofa.WordVectors(words, np.full(len(words), "eng"), np.zeros((len(words), 12), np.float32))
    monkeypatch.setattr(memory, "_BYTES_PER_WORD", 2**20)
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: SimpleNamespace(available=2**30))
    many.save(tmp_path / "vectors")
    with pytest.raises(MemoryError, match=r"needs about 1\.6 GiB"):
        ofa.OfaInitializer.from_pretrained(**{**inputs, "word_vectors": tmp_path / "vectors"})


def test_the_estimate_grows_with_what_takes_memory():
    base = {
        "source_rows": 250_002,
        "target_tokens": 300_000,
        "num_words": 200_000,
        "dimension": 200,
        "hidden_size": 768,
    }
    size = memory.estimate_memory(**base, embedding_size=100)
    assert 1 * 2**30 < size < 2.5 * 2**30  # measured: examples/benchmarks/initialization.py, job B
    for name, value in [
        ("target_tokens", 600_000),
        ("num_words", 4_000_000),
        ("dimension", 400),
        ("source_rows", 500_000),
    ]:
        assert memory.estimate_memory(**{**base, name: value}, embedding_size=100) > size
    assert memory.estimate_memory(**base, embedding_size=400, matrices=2) > size


def test_an_interrupt_leaves_nothing_half_written(inputs, tmp_path, monkeypatch):
    adapted = ofa.OfaInitializer.from_pretrained(embedding_size=4, **inputs)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(adapted.tokenizer, "save_pretrained", interrupted)  # the model is already written by then
    with pytest.raises(KeyboardInterrupt):
        adapted.save_pretrained(tmp_path / "adapted")
    assert not list(tmp_path.iterdir())
