"""The factorized modules and the model classes, family by family. Transformers' own tests are in transformers_suite."""

import copy
import json
import sys
from pathlib import Path

import fresh_process
import huggingface_hub
import pytest
import torch
from tiny_models import (
    DECODERS,
    EMBEDDING_SIZE,
    FAMILY_NAMES,
    HIDDEN_SIZE,
    SEQ2SEQ,
    VOCAB_SIZE,
    make_batch,
    make_config,
    make_model,
    table_width,
)
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
)

import ofa_transformers as ofa
from ofa_transformers.models.modeling_ofa import FAMILIES


# The configurations of T5's kin say that all is tied, whatever they are given.
with_and_without_ties = pytest.mark.parametrize(
    ("family", "tied"),
    [(family, tied) for family in FAMILY_NAMES for tied in (True, False) if tied or "t5" not in family],
)


def parameters(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters(remove_duplicate=False)}


@pytest.mark.parametrize("size", [0, -1, HIDDEN_SIZE + 1, "8", 1.5, True])
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_configurations_refuse_sizes_out_of_range(family, size):
    width = table_width(family)
    name = "hidden" if width == HIDDEN_SIZE else "embedding"
    with pytest.raises(
        ValueError, match=rf"must be an integer between 1 and the {name} size, {width}, but is {size!r}"
    ):
        make_config(family, embedding_size=size)


def test_configuration_refuses_a_hidden_size_that_heads_do_not_divide():
    with pytest.raises(ValueError, match=r"hidden_size \(32\) is not a multiple of num_attention_heads \(5\)"):
        make_config("xlm-roberta", num_attention_heads=5)


def test_configuration_reads_the_name_of_the_authors():
    assert ofa.OfaConfig(num_primitive=12).embedding_size == 12
    assert ofa.OfaConfig(embedding_size=12).num_primitive == 12
    assert "num_primitive" not in ofa.OfaConfig(num_primitive=12).to_dict()


# -------------------------------------------------------------------------------------------------------- the families


@with_and_without_ties
def test_families_factorize_tie_save_and_load(family, tied, tmp_path):
    model = make_model(family, tie_word_embeddings=tied)
    embeddings, projection = model.get_input_embeddings(), model.get_output_embeddings()
    assert isinstance(embeddings, ofa.FactorizedEmbedding) and isinstance(projection, ofa.FactorizedLinear)
    assert embeddings.weight.shape == projection.weight.shape == (VOCAB_SIZE, EMBEDDING_SIZE)
    assert (embeddings.weight is projection.weight) == tied
    assert (embeddings.primitives.weight is projection.primitives.weight) == tied
    assert not any(p.shape == (VOCAB_SIZE, table_width(family)) for p in model.parameters())
    tables = [module for module in model.modules() if isinstance(module, ofa.FactorizedEmbedding)]
    assert len(tables) == (3 if family in SEQ2SEQ else 1)
    for table in tables:
        assert (table.weight is embeddings.weight) == (tied or table is embeddings)
        assert (table.primitives.weight is embeddings.primitives.weight) == (tied or table is embeddings)

    model.save_pretrained(tmp_path / "model")
    auto = AutoModelForMaskedLM
    if family in DECODERS or family in SEQ2SEQ:
        auto = AutoModelForCausalLM if family in DECODERS else AutoModelForSeq2SeqLM
    loaded, info = auto.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert type(loaded) is type(model) and not any(info.values())
    assert (loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight) == tied
    for name, value in parameters(model).items():
        torch.testing.assert_close(loaded.get_parameter(name), value, rtol=0, atol=0)
    batch = make_batch()
    torch.testing.assert_close(loaded(**batch).logits, model(**batch).logits, rtol=0, atol=0)


@with_and_without_ties
def test_to_dense_is_the_stock_model_with_the_same_outputs(family, tied, tmp_path):
    model = make_model(family, tie_word_embeddings=tied)
    dense = model.to_dense()
    assert type(dense).__module__.startswith("transformers.models.")
    assert dense.get_input_embeddings().weight.shape == (VOCAB_SIZE, table_width(family))
    assert (dense.get_input_embeddings().weight is dense.get_output_embeddings().weight) == tied
    batch = make_batch()
    torch.testing.assert_close(dense(**batch).logits, model(**batch).logits, rtol=1e-4, atol=2e-5)
    ours = {p.data_ptr() for p in model.parameters()}
    assert not any(p.data_ptr() in ours for p in dense.parameters())
    dense.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == family
    assert not list(tmp_path.glob("*.py"))


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_head_of_the_family_loads_from_the_language_model(family, tmp_path):
    model = make_model(family)
    model.save_pretrained(tmp_path)
    row = next(row for row in FAMILIES if isinstance(model.config, row.config_class))
    for head in dict.fromkeys(row.classes.values()):
        loaded, info = head.from_pretrained(tmp_path, output_loading_info=True)
        embeddings = loaded.get_input_embeddings()
        assert isinstance(embeddings, ofa.FactorizedEmbedding)
        torch.testing.assert_close(embeddings.weight, model.get_input_embeddings().weight, rtol=0, atol=0)
        torch.testing.assert_close(
            embeddings.primitives.weight, model.get_input_embeddings().primitives.weight, rtol=0, atol=0
        )
        assert not [key for key in info["missing_keys"] if "embed" in key or "primitives" in key]
        base = getattr(loaded, loaded.base_model_prefix, None)
        if base is not None:
            assert type(base).__name__.startswith("Ofa") and type(base).__name__.endswith("Model")


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_without_a_size_the_model_is_the_stock_model(family):
    model = make_model(family, embedding_size=None)
    assert not isinstance(model.get_input_embeddings(), ofa.FactorizedEmbedding)
    dense = model.to_dense()
    batch = make_batch()
    torch.testing.assert_close(dense(**batch).loss, model(**batch).loss)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_from_scratch_the_product_has_the_stock_standard_deviation(family):
    field = "init_std" if hasattr(make_config(family), "init_std") else "initializer_range"
    model = make_model(family, vocab_size=4000, **({} if "t5" in family else {field: 0.05}))
    dense = model.get_input_embeddings().to_dense()
    fields = {name: value for name, value in model.config.to_dict().items() if name != "model_type"}
    stock = model.dense_class(model.dense_class.config_class(**fields)).get_input_embeddings().weight.detach()
    assert stock.std().item() == pytest.approx(1.0 if "t5" in family else 0.05, rel=0.15)
    assert 0.6 < dense.std() / stock.std() < 1.4  # a random P of 8 x 32 leaves this much room
    padding_idx = model.get_input_embeddings().padding_idx
    if padding_idx is not None:
        assert dense[padding_idx].abs().max() == 0


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_what_a_checkpoint_lacks_is_drawn_as_from_scratch(family):
    """T5's parts have no weights of their own, and their children's standard deviations are set by them."""
    model = make_model(family)
    loaded = type(model).from_pretrained(None, config=copy.deepcopy(model.config), state_dict={})
    drawn = parameters(loaded)
    for name, weight in parameters(model).items():
        if weight.numel() > 200 and weight.std() > 0 and "primitives" not in name:  # enough to tell deviations
            assert drawn[name].std().item() == pytest.approx(weight.std().item(), rel=0.35), name


@with_and_without_ties
@pytest.mark.parametrize("mean_resizing", [True, False])
def test_resizing_keeps_the_factors(family, tied, mean_resizing, tmp_path):
    if family in SEQ2SEQ and not tied:
        pytest.skip("stock classes make one of an encoder's and a decoder's tables when they resize")
    model = make_model(family, tie_word_embeddings=tied)
    batch = make_batch()
    before = model(**batch).logits
    old_dense = model.get_input_embeddings().to_dense()
    model.resize_token_embeddings(VOCAB_SIZE + 3, pad_to_multiple_of=16, mean_resizing=mean_resizing)
    size = VOCAB_SIZE + 8
    embeddings, projection = model.get_input_embeddings(), model.get_output_embeddings()
    assert model.config.vocab_size == embeddings.num_embeddings == projection.out_features == size
    assert isinstance(projection, ofa.FactorizedLinear) and projection.in_features == table_width(family)
    assert (embeddings.weight is projection.weight) == tied
    torch.testing.assert_close(model(**batch).logits[..., :VOCAB_SIZE], before)
    if hasattr(model, "final_logits_bias"):
        assert model.final_logits_bias.shape == (1, size)
    new = embeddings.to_dense()[VOCAB_SIZE:]
    if mean_resizing:
        torch.testing.assert_close(new, old_dense.mean(0).expand_as(new), rtol=0, atol=1e-3)
    else:
        stock = model.to_dense()
        stock.resize_token_embeddings(2 * size, mean_resizing=False)
        assert 0.5 < new.std() / stock.get_input_embeddings().weight[size:].std() < 2
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(**batch).logits, model(**batch).logits)

    model.resize_token_embeddings(VOCAB_SIZE)
    torch.testing.assert_close(model(**batch).logits, before)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_deepcopy_pickle_and_half_precision(family, tmp_path):
    model = make_model(family)
    batch = make_batch()
    expected = model(**batch).logits
    torch.testing.assert_close(copy.deepcopy(model)(**batch).logits, expected, rtol=0, atol=0)
    torch.save(model, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    torch.testing.assert_close(loaded(**batch).logits, expected, rtol=0, atol=0)
    assert loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight
    model.save_pretrained(tmp_path / "model", max_shard_size="10KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1
    half = type(model).from_pretrained(tmp_path / "model", dtype=torch.bfloat16, device_map="cpu")
    assert half.get_input_embeddings().weight.dtype == half(**batch).logits.dtype == torch.bfloat16


@pytest.mark.parametrize("family", DECODERS + SEQ2SEQ)
def test_they_generate_as_their_dense_form(family):
    model = make_model(family)
    prompt = make_batch()["input_ids"][:1, :4]
    options = {"max_new_tokens": 6, "do_sample": False}
    assert model.generate(prompt, **options).tolist() == model.to_dense().generate(prompt, **options).tolist()


# ------------------------------------------------------------------------------------------------------------ remote code


_WITHOUT_US = """
import sys, torch
sys.modules["ofa_transformers"] = None  # any import of the package fails
from transformers import {auto}
model = {auto}.from_pretrained(sys.argv[1], trust_remote_code=True).eval()
batch = torch.load(sys.argv[2])
torch.testing.assert_close(model(**batch).logits, torch.load(sys.argv[3]))
model.save_pretrained(sys.argv[1] + "-again")
again = {auto}.from_pretrained(sys.argv[1] + "-again", trust_remote_code=True).eval()
torch.testing.assert_close(again(**batch).logits, model(**batch).logits, rtol=0, atol=0)
from transformers import AutoModelForSequenceClassification
head = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], trust_remote_code=True)
assert type(head).__module__.startswith("transformers_modules."), type(head).__module__
"""


@pytest.mark.parametrize("family", ["xlm-roberta", "llama"])
def test_checkpoints_load_as_remote_code_where_the_package_is_not_installed(family, tmp_path):
    model = make_model(family)
    model.save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert {"AutoConfig", "AutoModel", "AutoModelForTokenClassification"} <= config["auto_map"].keys()
    batch = make_batch()
    del batch["labels"]
    torch.save(batch, tmp_path / "batch.pt")
    torch.save(model(**batch).logits.detach(), tmp_path / "logits.pt")
    code = _WITHOUT_US.format(auto="AutoModelForMaskedLM" if family == "xlm-roberta" else "AutoModelForCausalLM")
    result = fresh_process.run(
        code,
        *(tmp_path / name for name in ("model", "batch.pt", "logits.pt")),
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    # What that process saved is an ordinary checkpoint of ours again.
    assert type(type(model).from_pretrained(tmp_path / "model-again")) is type(model)


@pytest.mark.parametrize("how", ["push_to_hub", "save_pretrained"])
def test_pushing_takes_the_code_along(how, tmp_path, monkeypatch):
    """The calls that reach huggingface_hub; its conversation with a server is not ours to test."""
    uploads = {}

    def create_repo(self, repo_id, **kwargs):
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

    def create_commit(self, repo_id, operations, **kwargs):
        uploads[repo_id] = {operation.path_in_repo for operation in operations}

    def no_card(*args, **kwargs):
        return huggingface_hub.ModelCard("---\ntags: []\n---\n")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", create_commit)
    monkeypatch.setattr("transformers.utils.hub.create_and_tag_model_card", no_card)
    monkeypatch.setattr("transformers.modeling_utils.create_and_tag_model_card", no_card)
    model = make_model("xlm-roberta")
    if how == "push_to_hub":
        model.push_to_hub("someone/adapted")
    else:
        model.save_pretrained(tmp_path / "adapted", push_to_hub=True, repo_id="someone/adapted")
    code = {path.name for path in (Path(ofa.__file__).parent / "models").glob("*_ofa.py")}
    expected = {"config.json", "model.safetensors", *code}
    assert expected <= uploads["someone/adapted"]


def test_the_installed_package_wins_over_the_code_in_a_checkpoint(tmp_path):
    make_model("xlm-roberta").save_pretrained(tmp_path)
    for file in tmp_path.glob("*.py"):
        file.write_text("raise RuntimeError('code of the checkpoint ran')")
    assert type(AutoModelForMaskedLM.from_pretrained(tmp_path)) is ofa.OfaForMaskedLM
    assert type(AutoConfig.from_pretrained(tmp_path)) is ofa.OfaConfig
    assert type(AutoModel.from_pretrained(tmp_path)) is ofa.OfaModel


def test_the_travelling_modules_import_only_torch_transformers_and_each_other():
    import ast

    folder = Path(ofa.__file__).parent / "models"
    files = sorted(path.name for path in folder.glob("*_ofa.py"))
    assert len(files) == 7
    for name in files:
        for node in ast.walk(ast.parse((folder / name).read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0 or (node.level == 1 and f"{node.module}.py" in files)
                modules = [node.module] if node.level == 0 else []
            for module in modules:
                assert module.split(".")[0] in {"torch", "transformers", *sys.stdlib_module_names}, module


def test_public_names():
    for name in ofa.__all__:
        assert getattr(ofa, name) is not None
        assert name in dir(ofa)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = ofa.Nothing
