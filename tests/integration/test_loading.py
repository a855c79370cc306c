"""Ways to save and load: shards, dtypes, device maps, offloading. The factors stay tied and the outputs the same."""

import json
from pathlib import Path

import accelerate
import pytest
import torch
from tiny_models import (
    EMBEDDING_SIZE,
    LM_HEADS,
    VOCAB_SIZE,
    make_config,
    table_width,
    without_labels,
)
from tiny_models import (
    REPRESENTATIVES as FAMILIES,
)
from transformers import AutoModel, PreTrainedModel, set_seed
from transformers.initialization import no_init_weights

from ofa_transformers.models.modules_ofa import Factorized


# Stock DeBERTa-v2 reads weights of a module outside of its forward pass.
OFFLOADED = [family for family in FAMILIES if family != "deberta-v2"]
with_and_without_ties = pytest.mark.parametrize(
    ("family", "tied"), [(family, tied) for family in FAMILIES for tied in (True, False) if tied or "t5" not in family]
)


def make_model(family: str, tied: bool = True) -> PreTrainedModel:
    set_seed(0)
    return LM_HEADS[family](make_config(family, tie_word_embeddings=tied)).eval()


@torch.no_grad()
def logits(model: PreTrainedModel) -> torch.Tensor:
    ids = torch.randint(4, VOCAB_SIZE, (2, 9), generator=torch.Generator().manual_seed(1))
    return model(**without_labels(model, {"input_ids": ids})).logits


def assert_tied(model: PreTrainedModel) -> None:
    embeddings, projection = model.get_input_embeddings(), model.get_output_embeddings()
    assert projection.weight is embeddings.weight
    assert projection.primitives.weight is embeddings.primitives.weight


@with_and_without_ties
def test_sharded_saving(family: str, tied: bool, tmp_path: Path):
    model = make_model(family, tied)
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    weight_map = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(weight_map.values())) > 3
    # A tied tensor is in one shard only.
    tables = [module for module in model.modules() if isinstance(module, Factorized)]
    assert sum(name.endswith("primitives.weight") for name in weight_map) == (1 if tied else len(tables))
    loaded, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=0)
    if tied:
        assert_tied(loaded)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", FAMILIES)
def test_dtype_at_load(family: str, dtype: torch.dtype, tmp_path: Path):
    model = make_model(family)
    model.save_pretrained(tmp_path / "full")
    loaded = type(model).from_pretrained(tmp_path / "full", dtype=dtype)
    whole = tuple(loaded._keep_in_fp32_modules) if dtype == torch.float16 else ()  # T5's, as in the stock class
    assert {p.dtype for name, p in loaded.named_parameters() if not any(part in name for part in whole)} == {dtype}
    assert_tied(loaded)
    torch.testing.assert_close(logits(loaded).float(), logits(model), rtol=0.1, atol=0.1)
    # "auto" takes what the checkpoint says.
    loaded.save_pretrained(tmp_path / "half")
    assert type(model).from_pretrained(tmp_path / "half", dtype="auto").dtype == dtype
    assert type(model).from_pretrained(tmp_path / "half", dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize("device_map", ["cpu", "auto"])
@with_and_without_ties
def test_device_map(family: str, device_map: str, tied: bool, tmp_path: Path):
    model = make_model(family, tied)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, device_map=device_map)
    torch.testing.assert_close(logits(loaded), logits(model).to(loaded.device), rtol=1e-4, atol=1e-4)
    if tied:
        assert_tied(loaded)


@pytest.mark.parametrize("family", OFFLOADED)
def test_offloading_hooks(family: str, tmp_path: Path):
    """Weights that live elsewhere and come in for the forward of the module that owns them, and only then."""
    expected = logits(make_model(family, tied=False))
    offloaded = accelerate.cpu_offload(make_model(family, tied=False), execution_device=torch.device("cpu"))
    assert next(offloaded.parameters()).device.type == "meta"
    torch.testing.assert_close(logits(offloaded), expected)
    on_disk = accelerate.disk_offload(make_model(family, tied=False), tmp_path, execution_device=torch.device("cpu"))
    torch.testing.assert_close(logits(on_disk), expected)


def test_embeddings_on_disk(tmp_path: Path):
    """The vocabulary is the largest part of a small model: load it with the embeddings left on disk."""
    model = make_model("xlm-roberta", tied=False)
    model.save_pretrained(tmp_path / "model")
    device_map = {"roberta.embeddings": "disk", "roberta.encoder": "cpu", "lm_head": "disk"}
    loaded = type(model).from_pretrained(
        tmp_path / "model", device_map=device_map, offload_folder=tmp_path / "offload"
    )
    assert loaded.get_input_embeddings().primitives.weight.device.type == "meta"
    torch.testing.assert_close(logits(loaded), logits(model))


@pytest.mark.parametrize("family", OFFLOADED)
def test_loss_without_logits_of_offloaded_weights(family: str):
    """The projection's weights are there during its forward only, which is where the loss is computed."""
    ids = torch.randint(4, VOCAB_SIZE, (2, 9), generator=torch.Generator().manual_seed(1))
    labels = ids.masked_fill(ids % 2 == 0, -100)
    expected = make_model(family, tied=False)(input_ids=ids, labels=labels).loss
    model = make_model(family, tied=False)
    model.config.sparse_prediction = True
    offloaded = accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    with torch.no_grad():
        torch.testing.assert_close(offloaded(input_ids=ids, labels=labels).loss, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_construction_where_weights_are_scattered_at_once(family: str, monkeypatch: pytest.MonkeyPatch):
    """As DeepSpeed's ZeRO-3 does after each constructor: nothing may depend on the shape of a weight."""

    def scatter(construct):
        def constructor(self, *args, **kwargs):
            construct(self, *args, **kwargs)
            self.weight.data = self.weight.data.new_empty(0)

        return constructor

    for module_class in (torch.nn.Embedding, torch.nn.Linear):
        monkeypatch.setattr(module_class, "__init__", scatter(module_class.__init__))
    with no_init_weights():
        model = LM_HEADS[family](make_config(family))
    embeddings, projection = model.get_input_embeddings(), model.get_output_embeddings()
    assert (embeddings.num_embeddings, projection.out_features) == (VOCAB_SIZE, VOCAB_SIZE)
    width = table_width(family)
    assert embeddings.primitives.weight.shape == projection.primitives.weight.shape == (width, EMBEDDING_SIZE)
    assert f"{EMBEDDING_SIZE}, {width}" in repr(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_construction_without_memory(family: str):
    with accelerate.init_empty_weights():
        model = LM_HEADS[family](make_config(family))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    # A map that splits the model keeps the two factors of a table together.
    sizes = accelerate.utils.compute_module_sizes(model)
    limits = {"cpu": sizes[""] // 2, "disk": 10 * sizes[""]}
    device_map = accelerate.infer_auto_device_map(
        model, max_memory=limits, no_split_module_classes=list(model._no_split_modules or [])
    )
    assert not any(name.endswith(".primitives") for name in device_map)


@pytest.mark.parametrize("family", FAMILIES)
def test_base_model_from_a_language_model(family: str, tmp_path: Path):
    model = make_model(family)
    model.save_pretrained(tmp_path)
    base = AutoModel.from_pretrained(tmp_path)
    embeddings = model.get_input_embeddings()
    assert torch.equal(base.get_input_embeddings().weight, embeddings.weight)
    assert torch.equal(base.get_input_embeddings().primitives.weight, embeddings.primitives.weight)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path):
    model = make_model("xlm-roberta")
    model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(Exception, match=r"(?i)incomplete|invalid|metadata|truncated"):
        type(model).from_pretrained(tmp_path)


def test_module_saved_whole(tmp_path: Path):
    model = make_model("xlm-roberta")
    torch.save(model, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert_tied(loaded)
    torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=0)
