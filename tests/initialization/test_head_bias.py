"""The head's bias fitted to text."""

import copy

import numpy as np
import pytest
import torch
import transformers
from adapted_models import DECODER, SIZES, adapt, dense_rows, make_source
from conftest import TEXT
from tiny_models import LM_HEADS, make_config
from transformers import (
    AutoModelForMaskedLM,
    BartConfig,
    BartForConditionalGeneration,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    PhiConfig,
    PhiForCausalLM,
)

from ofa_transformers.initialization.calibration import calibrate_bias, calibrate_rows
from ofa_transformers.initialization.head_bias import read_target_text
from ofa_transformers.mapping import TokenKind


LINES = [f"{TEXT[i % len(TEXT)]} {i}" for i in range(60)]  # few enough for all to be used


def head_outputs(model, tokenizer, text, masked: bool) -> torch.Tensor:
    """What the head is given at positions drawn as `calibrate_bias` draws them, from whole logits' own input."""
    batches = [text.sample[start : start + 16] for start in range(0, len(text.sample), 16)]
    draws, found = torch.Generator().manual_seed(0), []
    for lines in batches:
        encoded = tokenizer(
            lines, truncation=True, max_length=62, padding=True, return_tensors="pt", return_special_tokens_mask=True
        )
        chosen = torch.rand(encoded["input_ids"].shape, generator=draws) < 0.15
        chosen &= (encoded["special_tokens_mask"] == 0) & (encoded["attention_mask"] == 1)
        ids = encoded["input_ids"].masked_fill(chosen, tokenizer.mask_token_id) if masked else encoded["input_ids"]
        hook = model.get_output_embeddings().register_forward_pre_hook(lambda _, given: found.append(given[0]))
        with torch.no_grad():
            model(input_ids=ids, attention_mask=encoded["attention_mask"])
        hook.remove()
        found[-1] = found[-1][chosen]
    return torch.cat(found)


def expected_bias(model, tokenizer, text, masked: bool = True) -> torch.Tensor:
    """log p - m·e - ½ e' S e, and twice less log mean probability, from the whole matrices."""
    outputs = head_outputs(model, tokenizer, text, masked).double()
    rows = dense_rows(model.get_output_embeddings()).double()
    covariance = torch.from_numpy(np.cov(outputs.T.numpy()))
    quadratic = torch.einsum("vd,de,ve->v", rows, covariance, rows)
    bias = text.log_probabilities.double() - rows @ outputs.mean(dim=0) - quadratic / 2
    for _ in range(2):
        predicted = (outputs[:256] @ rows.T + bias).softmax(dim=1).mean(dim=0)
        bias = bias + text.log_probabilities - predicted.log()
    return bias.float()


@pytest.fixture
def goal(tiny_tokenizers):
    return copy.deepcopy(tiny_tokenizers["unigram"])


def test_tokens_are_counted_and_lines_drawn(goal):
    text = read_target_text(goal, iter(["das Haus", "das das Haus", ""]))
    counts = np.ones(len(goal))
    np.add.at(counts, goal("das Haus", add_special_tokens=False)["input_ids"], 1)
    np.add.at(counts, goal("das das Haus", add_special_tokens=False)["input_ids"], 1)
    torch.testing.assert_close(text.log_probabilities, torch.from_numpy(np.log(counts / counts.sum())).float())
    assert sorted(text.sample) == ["das Haus", "das das Haus"]
    many = [f"Haus {i}" for i in range(6000)]  # more than a block, and than are kept
    sample = read_target_text(goal, many).sample
    assert len(set(sample)) == 512 and set(sample) < set(many) and sample == read_target_text(goal, iter(many)).sample
    numbers = [int(line.split()[1]) for line in sample]
    assert 2500 < np.mean(numbers) < 3500 and max(numbers) > 5500
    with pytest.raises(ValueError, match="target_text has no text"):
        read_target_text(goal, ["", ""])


@pytest.mark.parametrize("embedding_size", [None, 12])
@pytest.mark.parametrize("architecture", ["roberta", "roberta-untied", "bert"])
def test_it_is_what_the_formula_says(architecture, embedding_size, tiny_tokenizers, word_vectors, goal):
    tokenizer = tiny_tokenizers["byte_bpe"]
    source = make_source(architecture, tokenizer)
    options = {"embedding_size": embedding_size, "target_text": iter(LINES)}
    result = adapt(source, tokenizer, goal, word_vectors, **options)
    assert result.report.settings["head_bias"] == "calibrated" and "head bias" in result.report.seconds
    text = read_target_text(goal, LINES)
    bias = result.model.get_output_embeddings().bias.detach().clone()
    assert (bias - text.log_probabilities).abs().max() > 0.01
    expected = expected_bias(result.model, goal, text)
    torch.testing.assert_close(bias, expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():  # and the model adds this one
        ids = torch.tensor([goal(TEXT[0])["input_ids"]])
        logits = result.model(ids).logits
        result.model.get_output_embeddings().bias.zero_()
        torch.testing.assert_close(logits - result.model(ids).logits, bias.expand_as(logits), rtol=1e-4, atol=1e-4)


def test_tokens_are_predicted_as_often_as_they_occur(tiny_tokenizers, word_vectors, goal):
    """Beside log probabilities alone, whose predictions the rows bend."""
    tokenizer = tiny_tokenizers["byte_bpe"]
    source = make_source("roberta", tokenizer)
    with torch.no_grad():
        source.get_input_embeddings().weight.mul_(20)  # as large as trained ones
    model = adapt(source, tokenizer, goal, word_vectors, target_text=LINES).model
    text = read_target_text(goal, LINES)
    outputs = head_outputs(model, goal, text, masked=True)
    projection = model.get_output_embeddings()

    def divergence() -> float:
        """KL(frequencies || mean prediction)."""
        with torch.no_grad():
            predicted = projection(outputs).softmax(dim=1).mean(dim=0)
        probabilities = text.log_probabilities.exp()
        return float((probabilities * (text.log_probabilities - predicted.log())).sum())

    calibrated = divergence()
    with torch.no_grad():
        projection.bias.copy_(text.log_probabilities)
    assert calibrated < 0.02 * divergence()


def test_same_bits_on_any_number_of_threads_and_nothing_else_changes(goal):
    torch.manual_seed(0)
    model = LM_HEADS["xlm-roberta"](make_config("xlm-roberta", vocab_size=len(goal), initializer_range=0.3)).train()
    text = read_target_text(goal, LINES)
    before = {name: value.clone() for name, value in model.state_dict().items() if not name.endswith("bias")}
    threads, found, state = torch.get_num_threads(), [], torch.get_rng_state()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert calibrate_bias(model, goal, text)
            assert torch.get_num_threads() == count
            found.append(model.get_output_embeddings().bias.detach().clone())
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found) and model.training
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value), name


def test_decoders(goal):
    text = read_target_text(goal, LINES)
    without = LM_HEADS["gpt2"](make_config("gpt2", vocab_size=len(goal)))
    assert not calibrate_bias(without, goal, text)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    torch.manual_seed(0)
    model = PhiForCausalLM(PhiConfig(vocab_size=len(goal), max_position_embeddings=62, **sizes)).eval()
    assert calibrate_bias(model, goal, text)
    expected = expected_bias(model, goal, text, masked=False)
    bias = model.get_output_embeddings().bias.detach().clone()
    torch.testing.assert_close(bias, expected, rtol=1e-4, atol=1e-4)
    goal.pad_token = None  # as many decoders' tokenizers have it
    assert calibrate_bias(model, goal, text)
    torch.testing.assert_close(model.get_output_embeddings().bias.detach(), bias, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def make_states_alike(decoder) -> None:
    """As those of trained decoders are."""
    norm = getattr(decoder.base_model, "ln_f", None)
    if norm is not None:
        norm.bias.add_(2)
    else:
        decoder.get_input_embeddings().weight.add_(torch.linspace(-1, 1, decoder.config.hidden_size))


@pytest.mark.parametrize("embedding_size", [None, 12])
@pytest.mark.parametrize("architecture", ["gpt2", "llama-untied"])
def test_new_rows_of_heads_without_bias_are_predicted_as_often_as_they_occur(
    architecture, embedding_size, tiny_tokenizers, word_vectors, goal
):
    tokenizer = tiny_tokenizers["byte_bpe"]
    source = make_source(architecture, tokenizer)
    with torch.no_grad():  # rows as large as trained ones
        source.get_output_embeddings().weight.mul_(10)
    make_states_alike(source)
    options = {"embedding_size": embedding_size, "primitives": "source"}
    before = adapt(source, tokenizer, goal, word_vectors, **options)
    result = adapt(source, tokenizer, goal, word_vectors, **options, target_text=LINES)
    assert before.report.settings["head_bias"] is None and result.report.settings["head_bias"] == "calibrated_rows"
    text, kinds = read_target_text(goal, LINES), result.mapping.kinds
    new = torch.from_numpy(np.isin(kinds, (TokenKind.COMPOSED, TokenKind.FALLBACK)))
    was, now = (dense_rows(one.model.get_output_embeddings()) for one in (before, result))
    assert torch.equal(was[~new], now[~new]) and not torch.equal(was[new], now[new])
    moves = (now - was)[new].double()  # all along one vector
    assert torch.linalg.matrix_rank(moves, rtol=1e-4) == 1
    inputs = [dense_rows(one.model.get_input_embeddings()) for one in (before, result)]
    assert torch.equal(*inputs) == (architecture == "llama-untied")

    def distance(model) -> float:
        """Of new tokens' mean predictions from their frequencies."""
        with torch.no_grad():
            outputs = head_outputs(model, goal, text, masked=False)
            predicted = model.get_output_embeddings()(outputs).softmax(dim=1).mean(dim=0)
        return float((text.log_probabilities - predicted.log())[new].abs().mean())

    assert distance(result.model) < 0.3 * distance(before.model)


def test_rows_that_are_not_calibrated(goal, caplog):
    text, new = read_target_text(goal, LINES), torch.ones(len(goal), dtype=torch.bool)
    new[:5] = False
    with_bias = LM_HEADS["xlm-roberta"](make_config("xlm-roberta", vocab_size=len(goal)))
    no_head = with_bias.base_model
    capped = Gemma2ForCausalLM(Gemma2Config(vocab_size=len(goal), final_logit_softcapping=0.01, **DECODER))
    decoder = LM_HEADS["gpt2"](make_config("gpt2", vocab_size=len(goal)))
    for model in (with_bias, no_head, capped):
        before = copy.deepcopy(model.state_dict())
        assert not calibrate_rows(model, goal, text, new)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not calibrate_rows(decoder, goal, text, new)  # states that have nothing in common
    make_states_alike(decoder)
    assert not calibrate_rows(decoder, goal, text, torch.zeros_like(new))
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            model = copy.deepcopy(decoder)
            torch.set_num_threads(count)
            assert calibrate_rows(model, goal, text, new)
            found.append(model.get_output_embeddings().weight.detach())
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)
    half = copy.deepcopy(decoder).to(torch.bfloat16)
    assert calibrate_rows(half, goal, text, new)
    torch.testing.assert_close(half.get_output_embeddings().weight.float(), found[0], rtol=0.02, atol=0.02)
    with torch.no_grad():
        decoder.get_input_embeddings().weight[0].fill_(float("nan"))
    assert not calibrate_rows(decoder, goal, text, new) and "not calibrated" in caplog.text


def test_rows_of_a_model_that_scales_its_logits(goal):
    text, new = read_target_text(goal, LINES), torch.ones(len(goal), dtype=torch.bool)
    torch.manual_seed(0)
    options = {"vocab_size": len(goal), "initializer_range": 0.3, **DECODER}
    model = GraniteForCausalLM(GraniteConfig(logits_scaling=4.0, tie_word_embeddings=False, **options)).eval()
    make_states_alike(model)
    outputs = head_outputs(model, goal, text, masked=False)

    def distance() -> float:
        with torch.no_grad():
            predicted = (model.get_output_embeddings()(outputs) / 4).softmax(dim=1).mean(dim=0)
        return float((text.log_probabilities.exp() * (text.log_probabilities - predicted.log())).sum())

    before = distance()
    assert calibrate_rows(model, goal, text, new)
    assert distance() < 0.5 * before


def test_half_precision(goal):
    text = read_target_text(goal, LINES)
    torch.manual_seed(0)
    model = LM_HEADS["xlm-roberta"](make_config("xlm-roberta", vocab_size=len(goal), initializer_range=0.1)).eval()
    half = copy.deepcopy(model).to(torch.bfloat16)
    assert calibrate_bias(model, goal, text) and calibrate_bias(half, goal, text)
    one, other = (m.get_output_embeddings().bias.detach() for m in (model, half))
    assert other.dtype == torch.bfloat16
    torch.testing.assert_close(other.float(), one, rtol=0, atol=0.1)


def test_outputs_that_are_no_numbers(goal, caplog):
    model = LM_HEADS["xlm-roberta"](make_config("xlm-roberta", vocab_size=len(goal)))
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(float("nan"))
        model.get_output_embeddings().bias.fill_(1.0)
    assert not calibrate_bias(model, goal, read_target_text(goal, LINES))
    assert torch.equal(model.get_output_embeddings().bias.detach(), torch.ones(len(goal)))
    assert "not calibrated" in caplog.text


def test_what_target_text_does_not_set_is_said(tiny_tokenizers, word_vectors, goal):
    tokenizer = tiny_tokenizers["byte_bpe"]
    parts = {
        f"{part}_{name}": 2 for part in ("encoder", "decoder") for name in ("layers", "attention_heads", "ffn_dim")
    }
    config = BartConfig(vocab_size=len(tokenizer), d_model=16, max_position_embeddings=66, **parts)
    source = BartForConditionalGeneration(config).eval()
    for nonzero in (False, True):
        source.final_logits_bias.fill_(float(nonzero))
        report = adapt(source, tokenizer, goal, word_vectors, target_text=LINES).report
        said = [note for note in report.warnings if "final_logits_bias" in note]
        assert report.settings["head_bias"] is None and len(said) == nonzero
    model = LM_HEADS["xlm-roberta"](make_config("xlm-roberta", vocab_size=len(tokenizer))).eval()
    with torch.no_grad():
        model.lm_head.dense.bias.fill_(float("inf"))
    report = adapt(model, tokenizer, goal, word_vectors, target_text=LINES).report
    assert report.settings["head_bias"] == "log_probability"
    assert any("is not calibrated" in note for note in report.warnings)


def test_that_no_text_was_given_is_said_of_heads(tiny_tokenizers, word_vectors, goal):
    tokenizer = tiny_tokenizers["wordpiece"]

    def said(source, target=goal, **options) -> bool:
        report = adapt(source, tokenizer, target, word_vectors, **options).report
        return any("pass text of the languages as target_text" in note for note in report.warnings)

    config = make_config("xlm-roberta", vocab_size=len(tokenizer))
    assert said(LM_HEADS["xlm-roberta"](config).eval())
    assert not said(LM_HEADS["xlm-roberta"](config).eval(), target_text=LINES)
    assert not said(LM_HEADS["xlm-roberta"](config).eval(), authors_compatible=True)
    assert not said(LM_HEADS["xlm-roberta"](config).eval(), target=tokenizer)  # nothing is new
    assert not said(transformers.XLMRobertaModel(config).eval())


def untied_masked_lm(kind: str, tokenizer):
    """A random model with a head of its own and a bias drawn."""
    torch.manual_seed(0)
    stock, extra = {
        "bert": ("Bert", {}),
        "albert": ("Albert", {"embedding_size": 32}),
        "electra": ("Electra", {"embedding_size": 32}),
        "deberta-v2": ("DebertaV2", {}),
        "luke": ("Luke", {"entity_vocab_size": 11, "entity_emb_size": 16}),
        "esm": ("Esm", {"mask_token_id": tokenizer.mask_token_id}),
    }[kind.removesuffix("-new-head")]
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")}
    config = getattr(transformers, f"{stock}Config")(
        **SIZES, **ids, **extra, vocab_size=len(tokenizer), tie_word_embeddings=False
    )
    if kind.endswith("-new-head"):
        config.legacy = False
    model = getattr(transformers, f"{stock}ForMaskedLM")(config).eval()
    for parameter in model.parameters():
        if parameter.shape == (len(tokenizer),):
            torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("embedding_size", [None, 12])
@pytest.mark.parametrize("kind", ["bert", "albert", "electra", "deberta-v2", "deberta-v2-new-head", "luke", "esm"])
@pytest.mark.parametrize("text", [None, LINES], ids=["mapped", "calibrated"])
def test_untied_heads_have_it_when_they_are_loaded(
    text, kind, embedding_size, tiny_tokenizers, word_vectors, goal, tmp_path
):
    """Stock checkpoints hold two biases of these heads, of which an untied model uses one."""
    if kind in ("luke", "esm") and embedding_size:
        pytest.skip("LUKE and ESM have no factorized classes")
    tokenizer = tiny_tokenizers["byte_bpe"]
    source = untied_masked_lm(kind, tokenizer)
    options = {"embedding_size": embedding_size, **({} if text is None else {"target_text": iter(text)})}
    result = adapt(source, tokenizer, goal, word_vectors, **options)
    encoded = goal(LINES[:3], padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        expected = result.model.eval()(**encoded).logits
    result.save_pretrained(tmp_path)
    for loaded in (type(result.model).from_pretrained(tmp_path), AutoModelForMaskedLM.from_pretrained(tmp_path)):
        with torch.no_grad():
            torch.testing.assert_close(loaded.eval()(**encoded).logits, expected, rtol=0, atol=0)
    if text is not None:
        assert result.report.settings["head_bias"] == "calibrated"
        frequent = read_target_text(goal, LINES).log_probabilities
        assert torch.corrcoef(torch.stack([expected[0].mean(dim=0), frequent]))[0, 1] > 0.5
