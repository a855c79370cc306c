"""factorize_model: the modules of any model swapped in place, saved as a pair, and what is in the way."""

import pytest
import torch
from tiny_models import make_model
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    FNetConfig,
    FNetForMaskedLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PegasusConfig,
    PegasusForConditionalGeneration,
    ViTConfig,
    ViTModel,
)

from ofa_transformers import FactorizedEmbedding, FactorizedLinear, factorize_model, load_factorized
from ofa_transformers.models.any_model import FACTORS


V, D, K = 90, 32, 8
SIZES = {"vocab_size": V, "hidden_size": D, "num_hidden_layers": 1, "num_attention_heads": 4, "pad_token_id": 0}
IDS = torch.arange(20).reshape(2, 10) + 3
MODELS = {
    "tied": lambda: FalconForCausalLM(FalconConfig(**SIZES, tie_word_embeddings=True)),
    "untied": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES, intermediate_size=48, tie_word_embeddings=False)),
    "encoder-decoder": lambda: PegasusForConditionalGeneration(
        PegasusConfig(
            vocab_size=V, d_model=D, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=32,
        )
    ),
    "two biases": lambda: FNetForMaskedLM(FNetConfig(**SIZES, intermediate_size=48, max_position_embeddings=32)),
}  # fmt: skip


def make(kind):
    torch.manual_seed(0)
    return MODELS[kind]().eval()


@torch.no_grad()
def logits(model):
    inputs = {"input_ids": IDS}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = IDS
    return model(**inputs).logits


@pytest.mark.parametrize("kind", MODELS)
def test_it_swaps_trains_resizes_saves_and_loads(kind, tmp_path):
    model = make(kind)
    table, dense_class = model.get_input_embeddings().weight.detach(), type(model)
    assert factorize_model(model, K) is model and isinstance(model, dense_class)
    embeddings, projection = model.get_input_embeddings(), model.get_output_embeddings()
    assert isinstance(embeddings, FactorizedEmbedding) and isinstance(projection, FactorizedLinear)
    assert (projection.weight is embeddings.weight) == (kind != "untied")
    assert (projection.primitives.weight is embeddings.primitives.weight) == (kind != "untied")
    # The best approximation of this rank, and primitives with orthonormal rows.
    left, values, right = torch.linalg.svd(table, full_matrices=False)
    torch.testing.assert_close(embeddings.to_dense(), left[:, :K] * values[:K] @ right[:K], atol=1e-5, rtol=1e-4)
    primitives = embeddings.primitives.weight
    torch.testing.assert_close(primitives.T @ primitives, torch.eye(K), atol=1e-5, rtol=0)

    labels = {"labels": IDS}
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-3)
    before = model(input_ids=IDS, **labels).loss
    before.backward()
    optimizer.step()
    assert model.eval()(input_ids=IDS, **labels).loss < before

    model.resize_token_embeddings(V + 3, mean_resizing=False)
    assert model.get_output_embeddings() is projection and projection.out_features == V + 3
    assert projection.weight.shape == model.get_input_embeddings().weight.shape == (V + 3, K)

    expected = logits(model)
    dense = model.to_dense()
    assert type(dense) is dense_class and type(model.get_input_embeddings()) is FactorizedEmbedding
    torch.testing.assert_close(logits(dense), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits(model), expected)

    model.save_pretrained(tmp_path / "pair")
    loaded = load_factorized(tmp_path / "pair")
    torch.testing.assert_close(logits(loaded), expected)
    assert loaded.get_input_embeddings().weight.shape == (V + 3, K)
    stock, info = dense_class.from_pretrained(tmp_path / "pair", output_loading_info=True)
    assert type(stock) is dense_class and not info["missing_keys"] and not info["unexpected_keys"]
    torch.testing.assert_close(logits(stock), expected, atol=1e-4, rtol=1e-4)

    # The factors alone, beside a base that is somewhere else.
    loaded.save_pretrained(tmp_path / "factors", base=tmp_path / "pair")
    assert [path.name for path in (tmp_path / "factors").iterdir()] == [FACTORS]
    torch.testing.assert_close(logits(load_factorized(tmp_path / "factors")), expected)


def test_half_precision_generation_and_a_body_without_a_head(tmp_path):
    model = factorize_model(make("untied").to(torch.bfloat16), K)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.generate(input_ids=IDS, max_new_tokens=2, do_sample=False).shape[1] == 12
    body = factorize_model(make("tied").transformer, K)
    body.save_pretrained(tmp_path)
    assert body.get_output_embeddings() is None
    found = load_factorized(tmp_path)(input_ids=IDS).last_hidden_state
    torch.testing.assert_close(found, body(input_ids=IDS).last_hidden_state)


def with_functional_head():
    """A head that multiplies with the table itself."""

    class Direct(GPTNeoXForCausalLM):
        def forward(self, input_ids, **kwargs):
            output = super().forward(input_ids, **kwargs)
            output.logits = self.gpt_neox(input_ids).last_hidden_state @ self.gpt_neox.embed_in.weight.T
            return output

    return Direct(make("untied").config)


def without_numbers():
    with torch.device("meta"):
        return MODELS["tied"]()


@pytest.mark.parametrize(
    ("model", "size", "error", "message"),
    [
        (lambda: make("tied"), 33, ValueError, "size must lie between 1 and the width of the embeddings, 32"),
        (lambda: make("tied"), 0, ValueError, "size must lie between 1"),
        (lambda: make("tied"), 8.0, TypeError, "size must be an integer"),
        (lambda: torch.nn.Linear(2, 2), 8, TypeError, "model must be a model of Transformers, but is of Linear"),
        (lambda: make_model("llama"), 8, ValueError, r"factorized already; .* model.to_dense\(\)"),
        (lambda: factorize_model(make("tied"), 8), 8, ValueError, "factorized already"),
        (without_numbers, 8, ValueError, "have no numbers that can be factorized here"),
        (with_functional_head, 8, ValueError, "Direct does more with its tables of tokens than to call them"),
        (lambda: ViTModel(ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4)), 8, ValueError, "model: "),
    ],
)  # fmt: skip
def test_what_is_in_the_way_is_said_and_nothing_changes(model, size, error, message):
    model = model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(error, match=message):
        factorize_model(model, size)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(tensor.is_meta or torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_factors_of_something_else_are_refused(tmp_path):
    model = factorize_model(make("tied"), K)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"call model.push_to_hub\(repo_id\)"):
        model.save_pretrained(tmp_path, push_to_hub=True)
    make("untied").save_pretrained(tmp_path / "other")
    model.save_pretrained(tmp_path / "mixed", base=tmp_path / "other")
    with pytest.raises(ValueError, match=r"has factors of shapes .* for the output embeddings"):
        load_factorized(tmp_path / "mixed")
    (tmp_path / FACTORS).write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is damaged, or something else; save or fetch it again"):
        load_factorized(tmp_path)
    with pytest.raises(OSError, match=r"factors\.safetensors"):
        load_factorized(tmp_path / "other")
    assert isinstance(AutoModelForCausalLM.from_pretrained(tmp_path), FalconForCausalLM)  # the dense half
