"""From source model, target tokenizer and word vectors to a checkpoint, whatever the architecture; and what is refused."""

import copy
import json
import resource
import signal

import numpy as np
import pytest
import torch
from adapted_models import adapt, dense_rows, make_source
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BloomConfig,
    BloomForCausalLM,
    MarianConfig,
    MarianMTModel,
    ViTConfig,
    ViTModel,
    XLMRobertaForMaskedLM,
)

import ofa_transformers as ofa
from ofa_transformers.mapping import TokenKind
from ofa_transformers.report import OfaReport


# Source -> the tokenizer that it has, and the class that loads the result.
SOURCES = {
    "xlm-roberta": ("unigram", AutoModelForMaskedLM),
    "xlm-roberta-base": ("unigram", AutoModel),
    "roberta": ("byte_bpe", AutoModelForMaskedLM),
    "roberta-untied": ("byte_bpe", AutoModelForMaskedLM),
    "bert": ("wordpiece", AutoModelForMaskedLM),
    "bert-base": ("wordpiece", AutoModel),
    "gpt2": ("byte_bpe", AutoModelForCausalLM),
    "llama-untied": ("sentencepiece_bpe", AutoModelForCausalLM),
    "t5": ("unigram", AutoModelForSeq2SeqLM),
}
FACTORIZED = {
    "xlm-roberta": ofa.OfaForMaskedLM,
    "xlm-roberta-base": ofa.OfaModel,
    "roberta": ofa.OfaForMaskedLM,
    "roberta-untied": ofa.OfaForMaskedLM,
    "bert": ofa.OfaBertForMaskedLM,
    "bert-base": ofa.OfaBertModel,
    "gpt2": ofa.OfaGPT2LMHeadModel,
    "llama-untied": ofa.OfaLlamaForCausalLM,
    "t5": ofa.OfaT5ForConditionalGeneration,
}


# ---------------------------------------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("target", ["unigram", "byte_bpe", "wordpiece"])
@pytest.mark.parametrize("kind", ["xlm-roberta", "roberta"])
@pytest.mark.parametrize("embedding_size", [None, 32, 12])
def test_rows_bias_and_body(kind, target, embedding_size, tiny_tokenizers, word_vectors):
    tokenizer, goal = tiny_tokenizers[SOURCES[kind][0]], tiny_tokenizers[target]
    source = make_source(kind, tokenizer)
    before = {name: value.clone() for name, value in source.state_dict().items()}
    result = adapt(source, tokenizer, goal, word_vectors, embedding_size=embedding_size, primitives="source")
    model, mapping = result.model, result.mapping
    assert type(model) is (type(source) if embedding_size is None else ofa.OfaForMaskedLM)
    assert model.config.vocab_size == len(goal) == len(model.get_input_embeddings().weight)
    assert model.config.embedding_size == embedding_size if embedding_size else True

    made = dense_rows(model.get_input_embeddings())
    exact = embedding_size in (None, 32)  # D' = D loses nothing
    rows = mapping.weights @ source.get_input_embeddings().weight.detach().numpy()
    kinds = mapping.kinds
    assert {TokenKind.COPIED, TokenKind.COMPOSED, TokenKind.FALLBACK, TokenKind.SPECIAL} >= set(kinds.tolist())
    assert (kinds == TokenKind.SPECIAL).sum() >= 5 and (kinds == TokenKind.COPIED).sum() > 20
    known = torch.from_numpy(kinds != TokenKind.FALLBACK)
    if exact:
        torch.testing.assert_close(made[known], torch.from_numpy(rows)[known], rtol=1e-4, atol=1e-5)
    else:
        coordinates, primitives = ofa.factorize(source.get_input_embeddings().weight.detach(), 12)
        expected = torch.from_numpy(mapping.weights @ coordinates.numpy()) @ primitives
        torch.testing.assert_close(made[known], expected[known], rtol=1e-4, atol=1e-5)
    if (~known).any():  # the tokenizers are the same otherwise
        assert made[~known].std() > 0

    bias, old_bias = model.get_output_embeddings().bias.detach(), source.lm_head.bias.detach()
    torch.testing.assert_close(bias[known], torch.from_numpy(mapping.weights @ old_bias.numpy())[known])
    torch.testing.assert_close(bias[~known], old_bias.mean().expand_as(bias[~known]))

    tied = {
        name
        for name in before
        if "word_embeddings" in name or "bias" in name.split("lm_head.")[-1:] or "decoder" in name
    }
    for name, value in source.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)  # the caller's model is left alone
        if name in tied or name == "lm_head.bias" or "position_embeddings" in name:
            continue
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)
    for role in ("bos", "eos", "pad"):
        assert getattr(model.config, f"{role}_token_id") in (getattr(goal, f"{role}_token_id"), 2, 3)
    assert model.config.pad_token_id == goal.pad_token_id == model.get_input_embeddings().padding_idx


@pytest.mark.parametrize("embedding_size", [None, 12])
@pytest.mark.parametrize("kind", list(SOURCES))
def test_every_architecture_adapts_saves_and_loads(kind, embedding_size, tiny_tokenizers, word_vectors, tmp_path):
    if embedding_size and kind not in FACTORIZED:
        pytest.skip(f"{kind} has no row in FACTORIZED")
    name, auto = SOURCES[kind]
    tokenizer, goal = tiny_tokenizers[name], tiny_tokenizers["unigram" if name != "unigram" else "byte_bpe"]
    source = make_source(kind, tokenizer)
    source.save_pretrained(tmp_path / "source")
    tokenizer.save_pretrained(tmp_path / "source")
    goal.save_pretrained(tmp_path / "tokenizer")
    word_vectors.save(tmp_path / "vectors")
    result = ofa.OfaInitializer.from_pretrained(
        tmp_path / "source",
        target_tokenizer=tmp_path / "tokenizer",
        word_vectors=tmp_path / "vectors",
        embedding_size=embedding_size,
    )
    model = result.model
    assert type(model) is (FACTORIZED[kind] if embedding_size else type(source))
    projection = source.get_output_embeddings()
    if projection is not None:
        tied = projection.weight is source.get_input_embeddings().weight
        assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
        if not tied and embedding_size is None:
            known = torch.from_numpy(result.mapping.kinds != TokenKind.FALLBACK)
            expected = torch.from_numpy(result.mapping.weights @ projection.weight.detach().numpy())
            torch.testing.assert_close(model.get_output_embeddings().weight.detach()[known], expected[known])

    result.save_pretrained(tmp_path / "out")
    loaded, info = auto.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert type(loaded) is type(model) and not any(info.values())
    words = AutoTokenizer.from_pretrained(tmp_path / "out")
    batch = words("das Haus steht am river, мы идём", return_tensors="pt")
    batch.pop("token_type_ids", None)
    if kind == "t5":
        batch["decoder_input_ids"] = batch["input_ids"]
        assert (
            loaded.config.decoder_start_token_id
            == goal.pad_token_id
            == loaded.generation_config.decoder_start_token_id
        )
    output = loaded.eval()(**batch)
    expected = model.eval()(**batch)
    torch.testing.assert_close(output[0], expected[0], rtol=0, atol=0)
    assert torch.isfinite(output[0]).all()
    report = json.loads((tmp_path / "out" / "ofa_report.json").read_text())
    assert report["tokens"] == result.report.tokens and sum(report["tokens"].values()) == len(goal)


def test_positions_follow_the_pad_id(tiny_tokenizers, word_vectors):
    """RoBERTa style models count positions from the pad id: 1 in the source, 0 in the WordPiece tokenizer."""
    tokenizer, goal = tiny_tokenizers["unigram"], tiny_tokenizers["wordpiece"]
    source = make_source("xlm-roberta", tokenizer)
    for embedding_size in (None, 12):
        model = adapt(source, tokenizer, goal, word_vectors, embedding_size=embedding_size).model
        assert model.config.pad_token_id == 0 and model.config.max_position_embeddings == 65
        old, new = source.roberta.embeddings, model.roberta.embeddings
        torch.testing.assert_close(new.position_embeddings.weight[1:], old.position_embeddings.weight[2:])
        ids = torch.tensor([[5, 6, 7, 0, 0]])
        positions = new.create_position_ids_from_input_ids(ids, new.padding_idx)
        assert positions.tolist() == [[1, 2, 3, 0, 0]]
        assert torch.isfinite(model(torch.randint(5, 100, (1, 64))).logits).all()  # as long as the source could


@pytest.mark.parametrize("own, kept", [(512, 64), (int(1e30), 64), (40, 40)])
def test_the_tokenizer_truncates_to_what_the_model_takes(own, kept, tiny_tokenizers, word_vectors, tmp_path):
    """66 positions, of which XLM-R numbers 64."""
    original, goal = tiny_tokenizers["unigram"], copy.deepcopy(tiny_tokenizers["unigram"])
    goal.model_max_length = goal.init_kwargs["model_max_length"] = own
    adapted = adapt(make_source("xlm-roberta", original), original, goal, word_vectors)
    adapted.save_pretrained(tmp_path / "adapted")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "adapted")
    assert adapted.tokenizer.model_max_length == loaded.model_max_length == kept
    assert goal.model_max_length == own  # the caller's stays as it was
    inputs = loaded("the day " * 99, truncation=True, return_tensors="pt")
    assert inputs["input_ids"].shape == (1, kept)
    assert torch.isfinite(adapted.model(**inputs).logits).all()


def test_a_pad_id_that_positions_cannot_count_from(tiny_tokenizers, word_vectors):
    source = make_source("xlm-roberta", tiny_tokenizers["unigram"])
    from conftest import build_sentencepiece_bpe

    goal = build_sentencepiece_bpe()
    goal.add_special_tokens({"pad_token": "<pad>", "mask_token": "<mask>"})
    with pytest.raises(
        ValueError, match=rf"its pad token has the id {goal.pad_token_id}, but .* counts positions from it"
    ):
        adapt(source, tiny_tokenizers["unigram"], goal, word_vectors)


def test_a_factorized_model_can_be_adapted_again(tiny_tokenizers, word_vectors, tmp_path):
    first = adapt(make_source("roberta", tiny_tokenizers["byte_bpe"]), tiny_tokenizers["byte_bpe"],
                  tiny_tokenizers["unigram"], word_vectors, embedding_size=12)  # fmt: skip
    first.save_pretrained(tmp_path / "first")
    second = ofa.OfaInitializer.from_pretrained(
        tmp_path / "first", target_tokenizer=tiny_tokenizers["wordpiece"], word_vectors=word_vectors, embedding_size=12
    )
    assert type(second.model) is ofa.OfaForMaskedLM
    assert second.report.reconstruction_error["input"] < 1e-3  # it had rank 12 already
    full = adapt(first.model, tiny_tokenizers["unigram"], tiny_tokenizers["wordpiece"], word_vectors)
    assert type(full.model) is XLMRobertaForMaskedLM


def test_padding_rows_and_added_tokens_without_rows(tiny_tokenizers, word_vectors, caplog):
    tokenizer, goal = tiny_tokenizers["byte_bpe"], tiny_tokenizers["unigram"]
    source = make_source("roberta", tokenizer, rows=len(tokenizer) + 92)
    source.get_input_embeddings().weight.data[len(tokenizer) :] = 1e3  # what no token stands for must not matter
    for embedding_size in (None, 12):
        made = dense_rows(
            adapt(source, tokenizer, goal, word_vectors, embedding_size=embedding_size).model.get_input_embeddings()
        )
        assert made.abs().max() < 10

    from conftest import build_byte_bpe

    longer = build_byte_bpe()
    longer.add_tokens(["<extra_0>", "<extra_1>"])
    result = adapt(make_source("roberta", tokenizer), longer, longer, word_vectors)
    extra = result.mapping.kinds[
        [longer.convert_tokens_to_ids("<extra_0>"), longer.convert_tokens_to_ids("<extra_1>")]
    ]
    assert extra.tolist() == [TokenKind.FALLBACK] * 2


def test_dtype_is_kept_and_can_be_chosen(tiny_tokenizers, word_vectors, tmp_path):
    tokenizer, goal = tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"]
    make_source("xlm-roberta", tokenizer).half().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    for embedding_size in (None, 12):
        options = {"target_tokenizer": goal, "word_vectors": word_vectors, "embedding_size": embedding_size}
        assert ofa.OfaInitializer.from_pretrained(tmp_path, **options).model.dtype == torch.float16
        assert (
            ofa.OfaInitializer.from_pretrained(tmp_path, dtype=torch.float32, **options).model.dtype == torch.float32
        )


@pytest.mark.parametrize("embedding_size", [None, 12])
def test_same_seed_same_result_on_any_number_of_threads(embedding_size, tiny_tokenizers, word_vectors):
    tokenizer, goal = tiny_tokenizers["byte_bpe"], tiny_tokenizers["unigram"]
    source = make_source("roberta", tokenizer)
    threads, states = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            torch.manual_seed(number)  # the caller's random state plays no part, and is left alone
            expected = torch.Generator().manual_seed(number).get_state()
            result = adapt(source, tokenizer, goal, word_vectors, embedding_size=embedding_size)
            states.append(result.model.state_dict())
            assert torch.equal(torch.random.get_rng_state(), expected)
    finally:
        torch.set_num_threads(threads)
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=0, atol=1e-6)
    other = adapt(source, tokenizer, goal, word_vectors, embedding_size=embedding_size, seed=5)
    key = next(name for name in states[0] if name.endswith("word_embeddings.weight"))
    fallback = torch.from_numpy(other.mapping.kinds == TokenKind.FALLBACK)
    assert not torch.equal(other.model.state_dict()[key][fallback], states[0][key][fallback])
    assert torch.equal(other.model.state_dict()[key][~fallback], states[0][key][~fallback])


def test_the_published_head_bias_is_behind_the_option(tiny_tokenizers, word_vectors):
    tokenizer, goal = tiny_tokenizers["byte_bpe"], tiny_tokenizers["unigram"]
    source = make_source("roberta", tokenizer)
    full = adapt(source, tokenizer, goal, word_vectors, authors_compatible=True).model.lm_head.bias.detach()
    torch.testing.assert_close(full, source.lm_head.bias.detach()[: len(goal)])  # carried by position
    small = adapt(source, tokenizer, goal, word_vectors, authors_compatible=True, embedding_size=16).model.lm_head.bias
    assert 0.15 < small.abs().max() <= 0.25 and abs(small.mean()) < 0.05  # uniform within 1 / sqrt(16)


def test_a_target_text_that_is_none(tiny_tokenizers, word_vectors):
    tokenizer, goal = tiny_tokenizers["byte_bpe"], tiny_tokenizers["unigram"]
    source = make_source("roberta", tokenizer)
    with pytest.raises(ValueError, match="target_text is one string"):
        adapt(source, tokenizer, goal, word_vectors, target_text="das Haus")
    with pytest.raises(ValueError, match="target_text has no text"):
        adapt(source, tokenizer, goal, word_vectors, target_text=["", ""])


@pytest.mark.parametrize("embedding_size", [None, 12])
@pytest.mark.parametrize("architecture", ["roberta", "roberta-untied"])
def test_the_language_offset_has_its_norm_in_every_matrix(architecture, embedding_size, tiny_tokenizers, word_vectors):
    tokenizer, goal = tiny_tokenizers["byte_bpe"], tiny_tokenizers["unigram"]
    source = make_source(architecture, tokenizer)
    options = {"embedding_size": embedding_size, "source_languages": ["eng"]}
    plain = adapt(source, tokenizer, goal, word_vectors, language_offset=0.0, **options)
    result = adapt(source, tokenizer, goal, word_vectors, language_offset=0.5, **options)
    mapping = result.mapping
    composed = (mapping.kinds == TokenKind.COMPOSED) & (mapping.languages != "eng")
    assert composed.sum() > 20 and result.report.settings["language_offset"] == 0.5
    for part in ("get_input_embeddings", "get_output_embeddings"):
        before, after = (dense_rows(getattr(r.model, part)()).detach() for r in (plain, result))
        added = (after - before).numpy()
        originals = getattr(source, part)().weight.detach()[: len(tokenizer)]
        norm = 0.5 * originals.norm(dim=1).mean().item()
        np.testing.assert_allclose(np.linalg.norm(added[composed], axis=1), norm, rtol=1e-3)
        assert np.abs(added[~composed]).max() < 1e-6
    biases = [r.model.get_output_embeddings().bias.detach() for r in (plain, result)]
    torch.testing.assert_close(*biases)


def test_rules_beyond_the_paper_hold_where_they_can(tiny_tokenizers, word_vectors):
    tokenizer, goal = tiny_tokenizers["byte_bpe"], tiny_tokenizers["unigram"]
    source = make_source("roberta", tokenizer)
    counted = ofa.WordVectors(
        word_vectors.words, word_vectors.languages, word_vectors.vectors, np.arange(len(word_vectors), 0, -1)
    )
    expected = {
        (True, True): ("sqrt_frequency", "used_by_source", None),
        (True, False): ("sqrt_frequency", "all", "source_languages is not given"),
        (False, True): ("uniform", "all", "The word vectors have no frequencies"),
    }
    for (with_counts, with_languages), (weighting, overlap, note) in expected.items():
        vectors = counted if with_counts else ofa.WordVectors(counted.words, counted.languages, counted.vectors)
        languages = ["eng"] if with_languages else None
        report = adapt(source, tokenizer, goal, vectors, source_languages=languages).report
        assert (report.settings["word_weighting"], report.settings["overlap"]) == (weighting, overlap)
        assert (report.matches["rejected"] > 0) == (overlap == "used_by_source")
        assert report.matches["role"] == report.tokens["special"]
        notes = [warning for warning in report.warnings if "better rows" in warning]
        assert len(notes) == (note is not None) and all(note in found for found in notes)
    with pytest.raises(ValueError, match=r"has no overlap='used_by_source' and no language_offset=0\.4; leave one"):
        adapt(source, tokenizer, goal, counted, overlap="used_by_source", language_offset=0.4, authors_compatible=True)


# --------------------------------------------------------------------------------------------------------- the report


def test_report_counts_explains_and_travels(tiny_tokenizers, word_vectors, tmp_path):
    tokenizer, goal = tiny_tokenizers["byte_bpe"], tiny_tokenizers["unigram"]
    result = adapt(make_source("roberta", tokenizer), tokenizer, goal, word_vectors, embedding_size=12,
                   target_languages=["deu", "rus"])  # fmt: skip
    report = result.report
    assert sum(report.tokens.values()) == len(goal)
    for kind, count in report.tokens.items():
        assert sum(counts[kind] for counts in report.tokens_by_script.values()) == count
    assert {"Latn", "Cyrl", "Hani"} <= report.tokens_by_script.keys()
    assert report.tokens_by_script["Hani"]["composed"] == 0  # no Chinese word has a vector
    assert 0 < report.reconstruction_error["input"] < 1
    assert report.source["parameters"] > report.target["parameters"] > 0
    assert {"load", "mapping", "factorization", "rows", "model"} <= report.seconds.keys()
    assert report.settings["target_languages"] == ["deu", "rus"]

    index = int(np.flatnonzero(result.mapping.kinds == TokenKind.COMPOSED)[0])
    explanation = report.explain(goal.convert_ids_to_tokens(index))
    assert (
        explanation.id == index
        and explanation.words
        and {language for language, _ in explanation.words} <= {"deu", "rus"}
    )
    assert abs(sum(weight for _, _, weight, _ in explanation.neighbors) - 1) < 1e-5
    with pytest.raises(KeyError, match="no token 'nothing of the sort'"):
        report.explain("nothing of the sort")

    result.save_pretrained(tmp_path / "out")
    loaded = OfaReport.load(tmp_path / "out")
    assert loaded.to_dict() == report.to_dict()
    with pytest.raises(ValueError, match="build the initialisation again"):
        loaded.explain(index)
    assert "copied" in str(report) and f"{len(goal):,}" in str(report)


def test_report_warns_where_most_rows_are_draws(tiny_tokenizers):
    words = [f"$word{i}$" for i in range(50)]
    vectors = ofa.WordVectors(words, np.array(["eng"] * 50), np.ones((50, 3), dtype=np.float32))
    tokenizer, goal = tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"]
    warnings = adapt(make_source("xlm-roberta", tokenizer), tokenizer, goal, vectors).report.warnings
    assert warnings[0].startswith("281 of 420 target tokens are neither in the source's vocabulary nor part of a word")
    assert any(warning.startswith("Script Zyyy: ") for warning in warnings)


# ------------------------------------------------------------------------------------------- bad input, nothing overwritten


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"embedding_size": 0},
            "embedding_size must be an integer between 1 and the source's hidden size, 32, but is 0",
        ),
        ({"embedding_size": -4}, "between 1 and the source's hidden size, 32, but is -4"),
        ({"embedding_size": 33}, "between 1 and the source's hidden size, 32, but is 33"),
        ({"embedding_size": 8.0}, "must be an integer"),
        ({"num_neighbors": 0}, "num_neighbors is 0, but must be at least 1"),
        ({"temperature": 0.0}, "temperature is 0.0, but must be a positive number"),
        ({"temperature": -1.0}, "temperature is -1.0, but must be a positive number"),
        ({"temperature": float("nan")}, "temperature is nan"),
        (
            {"fallback": "xavier"},
            "fallback is 'xavier', but must be one of 'normal', 'multivariate_normal', 'mean', 'zeros'",
        ),
        ({"source_languages": ["xyz"]}, "xyz"),
        ({"target_languages": ["eng", "ger"]}, "ger.*deu"),
        ({"max_words": 0}, "max_words is 0"),
    ],
)
def test_arguments_out_of_range_are_refused_before_any_work(
    options, message, tiny_tokenizers, word_vectors, monkeypatch
):
    monkeypatch.setattr(
        "ofa_transformers.initialization.inputs.take_source",
        lambda *a, **k: pytest.fail("the source was loaded first"),
    )
    source = make_source("xlm-roberta", tiny_tokenizers["unigram"])
    with pytest.raises(ValueError, match=message):
        adapt(source, tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"], word_vectors, **options)


def test_more_neighbours_than_covered_tokens_means_all_of_them(tiny_tokenizers, word_vectors, caplog):
    import logging

    logging.getLogger("transformers").propagate = True
    logging.getLogger("ofa_transformers").propagate = True
    source = make_source("xlm-roberta", tiny_tokenizers["unigram"])
    with caplog.at_level("WARNING"):
        result = adapt(
            source, tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"], word_vectors, num_neighbors=10_000
        )
    composed = np.flatnonzero(result.mapping.kinds == TokenKind.COMPOSED)
    assert 10 < np.diff(result.mapping.weights.indptr)[composed[0]] < 260


def test_an_architecture_that_does_not_factorize_names_those_that_do(tiny_tokenizers, word_vectors):
    source = BloomForCausalLM(BloomConfig(vocab_size=260, hidden_size=32, n_layer=1, n_head=4))
    with pytest.raises(ValueError, match=r"BloomForCausalLM can't be factorized.*XLMRoberta.*T5.*embedding_size=None"):
        adapt(source, tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"], word_vectors, embedding_size=8)


def test_a_tokenizer_that_does_not_belong_to_the_source(tiny_tokenizers, word_vectors):
    source = make_source("roberta", tiny_tokenizers["byte_bpe"], rows=len(tiny_tokenizers["byte_bpe"]) + 5000)
    with pytest.raises(ValueError, match=r"too many to be padding.*source_tokenizer"):
        adapt(source, tiny_tokenizers["byte_bpe"], tiny_tokenizers["unigram"], word_vectors)
    source = make_source("roberta", tiny_tokenizers["byte_bpe"], rows=100)
    with pytest.raises(ValueError, match=r"have 100 rows, but source_tokenizer has .* ordinary ones"):
        adapt(source, tiny_tokenizers["byte_bpe"], tiny_tokenizers["unigram"], word_vectors)


def test_a_source_without_token_embeddings(tiny_tokenizers, word_vectors):
    source = ViTModel(
        ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48, image_size=32)
    )
    with pytest.raises(ValueError, match="the token embeddings of ViTModel were not found"):
        adapt(source, tiny_tokenizers["unigram"], tiny_tokenizers["byte_bpe"], word_vectors)


def test_a_source_of_two_vocabularies(tiny_tokenizers, word_vectors):
    tokenizer = tiny_tokenizers["unigram"]
    layers = {
        f"{part}_{name}": 2 for part in ("encoder", "decoder") for name in ("layers", "attention_heads", "ffn_dim")
    }
    config = MarianConfig(
        vocab_size=len(tokenizer), decoder_vocab_size=len(tokenizer) + 7, share_encoder_decoder_embeddings=False,
        d_model=16, pad_token_id=1, decoder_start_token_id=1, **layers,
    )  # fmt: skip
    with pytest.raises(ValueError, match=rf"source: MarianMTModel reads {len(tokenizer)} .* two vocabularies"):
        adapt(MarianMTModel(config), tokenizer, tiny_tokenizers["byte_bpe"], word_vectors)


def test_a_source_folder_without_tokenizer_files(tiny_tokenizers, word_vectors, tmp_path):
    """AutoTokenizer makes an empty tokenizer of it, without a word."""
    make_source("xlm-roberta", tiny_tokenizers["unigram"]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"holds no tokenizer\. Pass a loaded tokenizer as source_tokenizer"):
        ofa.OfaInitializer.from_pretrained(
            tmp_path, target_tokenizer=tiny_tokenizers["byte_bpe"], word_vectors=word_vectors
        )


def test_a_model_without_a_name_needs_its_tokenizer(tiny_tokenizers, word_vectors):
    with pytest.raises(ValueError, match="pass its tokenizer as source_tokenizer"):
        adapt(make_source("roberta", tiny_tokenizers["byte_bpe"]), None, tiny_tokenizers["unigram"], word_vectors)


@pytest.mark.parametrize("kept", [0, 100, 20_000])
def test_a_truncated_checkpoint(kept, tiny_tokenizers, word_vectors, tmp_path):
    make_source("roberta", tiny_tokenizers["byte_bpe"]).save_pretrained(tmp_path)
    tiny_tokenizers["byte_bpe"].save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ValueError, match="could not be read; the checkpoint is damaged, cut short"):
        ofa.OfaInitializer.from_pretrained(
            tmp_path, target_tokenizer=tiny_tokenizers["unigram"], word_vectors=word_vectors
        )


def test_a_checkpoint_without_its_embeddings(tiny_tokenizers, word_vectors, tmp_path):
    from safetensors.torch import load_file, save_file

    make_source("roberta", tiny_tokenizers["byte_bpe"]).save_pretrained(tmp_path)
    tiny_tokenizers["byte_bpe"].save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["roberta.embeddings.word_embeddings.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=r"has no .*roberta\.embeddings\.word_embeddings\.weight: the checkpoint is incomplete"
    ):
        ofa.OfaInitializer.from_pretrained(
            tmp_path, target_tokenizer=tiny_tokenizers["unigram"], word_vectors=word_vectors
        )


def test_sources_that_are_not_there(tiny_tokenizers, word_vectors, tmp_path):
    options = {"target_tokenizer": tiny_tokenizers["unigram"], "word_vectors": word_vectors}
    with pytest.raises(OSError, match="nowhere"):
        ofa.OfaInitializer.from_pretrained(str(tmp_path / "nowhere"), **options)
    source, tokenizer = make_source("roberta", tiny_tokenizers["byte_bpe"]), tiny_tokenizers["byte_bpe"]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        adapt(source, tokenizer, tiny_tokenizers["unigram"], tmp_path / "nowhere.vec")
    with pytest.raises(ValueError, match="target_tokenizer: no tokenizer could be loaded"):
        adapt(source, tokenizer, str(tmp_path / "nowhere"), word_vectors)


def test_an_output_folder_with_content_is_refused_unless_told(tiny_tokenizers, word_vectors, tmp_path):
    result = adapt(make_source("bert-base", tiny_tokenizers["wordpiece"]), tiny_tokenizers["wordpiece"],
                   tiny_tokenizers["unigram"], word_vectors)  # fmt: skip
    out = tmp_path / "out"
    out.mkdir()
    result.save_pretrained(out)  # an empty folder is fine
    (out / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"out exists and is not empty; .*overwrite=True"):
        result.save_pretrained(out)
    assert (out / "notes.txt").read_text() == "mine"
    result.save_pretrained(out, overwrite=True)
    assert not (out / "notes.txt").exists() and (out / "model.safetensors").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="name a folder"):
        result.save_pretrained(tmp_path / "file", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "out"]


def test_a_full_disk_leaves_the_old_folder_whole(tiny_tokenizers, word_vectors, tmp_path):
    result = adapt(make_source("roberta", tiny_tokenizers["byte_bpe"]), tiny_tokenizers["byte_bpe"],
                   tiny_tokenizers["unigram"], word_vectors, embedding_size=12)  # fmt: skip
    out = tmp_path / "out"
    result.save_pretrained(out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # the kernel refuses to write on, as on a full disk
    try:
        with pytest.raises(Exception, match=r"(?i)too large|No space|I/O"):
            result.save_pretrained(out, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]  # no temporary folder is left behind
    assert type(AutoModelForMaskedLM.from_pretrained(out)) is ofa.OfaForMaskedLM


def test_the_chat_template_of_the_source_is_offered_to_a_target_without_one(tiny_tokenizers, word_vectors, tmp_path):
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    tokenizer, goal = (copy.deepcopy(tiny_tokenizers[name]) for name in ("byte_bpe", "unigram"))
    source = make_source("gpt2", tokenizer)

    def notes() -> list[str]:
        report = adapt(copy.deepcopy(source), tokenizer, goal, word_vectors).report
        return [note for note in report.warnings if "chat_template" in note]

    assert notes() == []
    tokenizer.chat_template = template
    (note,) = notes()
    assert "adapted.tokenizer.chat_template = source_tokenizer.chat_template" in note
    # What the note says works, and is saved.
    result = adapt(copy.deepcopy(source), tokenizer, goal, word_vectors)
    result.tokenizer.chat_template = tokenizer.chat_template
    result.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == template
    goal.chat_template = "{{ messages }}"
    assert notes() == []
