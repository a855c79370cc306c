"""What importing the package imports and registers, each in a fresh process."""

import subprocess
import sys

import fresh_process
import pytest
from tiny_models import make_config

import ofa_transformers as ofa
from ofa_transformers.models.modeling_ofa import FAMILIES


def run(code: str, *arguments: str) -> None:
    result = fresh_process.run(code, *arguments)
    assert result.returncode == 0, result.stderr[-3000:]


def run_alone(code: str, *arguments: str) -> str:
    """In a process that has imported nothing at all."""
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_public_names_are_those_of_the_modules():
    models = {cls.__name__ for family in FAMILIES for cls in family.classes.values()}
    configurations = {family.config_class.__name__ for family in FAMILIES}
    others = {"FactorizedEmbedding", "FactorizedLinear", "OfaInitializer", "TokenMapping", "WordVectors"}
    others |= {"adapt_and_train", "factorize", "factorize_model", "load_factorized"}
    assert set(ofa.__all__) == models | configurations | others


def test_importing_the_package_imports_neither_torch_nor_transformers():
    run_alone("import sys, ofa_transformers; assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)")


@pytest.mark.parametrize("arguments", [["--help"], ["adapt", "--help"], ["tokenizer", "train", "--help"]])
def test_help_imports_neither_torch_nor_transformers(arguments):
    code = """
import sys
from ofa_transformers.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code
assert not {"torch", "transformers", "numpy"} & set(sys.modules), sorted(sys.modules)
"""
    assert "Usage:" in run_alone(code, *arguments)


# Ways for the Auto classes to come into the process; each names a module that imports them on its way.
_ORDERS = {
    "package first": "import ofa_transformers, transformers",
    "Auto classes first": "from transformers import AutoModelForMaskedLM; import ofa_transformers",
    "by a stock model": "import ofa_transformers; from transformers import BertModel",
}


@pytest.mark.parametrize("order", _ORDERS)
def test_checkpoints_load_whatever_is_imported_first(order, tmp_path):
    for family in ("xlm-roberta", "llama"):
        config = make_config(family)
        name = "OfaForMaskedLM" if family == "xlm-roberta" else "OfaLlamaForCausalLM"
        getattr(ofa, name)(config).save_pretrained(tmp_path / family)
    for file in tmp_path.glob("*/*.py"):  # the package wins over the code in a checkpoint
        file.write_text("raise RuntimeError('code of the checkpoint ran')")
    code = f"""
import sys
{_ORDERS[order]}
assert "ofa_transformers.models.modeling_ofa" not in sys.modules
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM
remote = {{"trust_remote_code": True}}
config = AutoConfig.from_pretrained(sys.argv[1] + "/xlm-roberta", **remote)
assert type(config).__name__ == "OfaConfig" and type(config) in AutoModel._model_mapping
assert type(AutoModelForMaskedLM.from_config(config)).__module__ == "ofa_transformers.models.modeling_ofa"
assert type(AutoModelForMaskedLM.from_pretrained(sys.argv[1] + "/xlm-roberta", **remote)).__name__ == "OfaForMaskedLM"
assert type(AutoModelForCausalLM.from_pretrained(sys.argv[1] + "/llama")).__name__ == "OfaLlamaForCausalLM"
"""
    run(code, str(tmp_path))


def test_mappings_of_the_auto_classes_list_and_pickle_what_is_registered():
    run(
        """
import copy, pickle
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, CONFIG_MAPPING, BertConfig

class OtherConfig(BertConfig):
    model_type = "other"

class OtherModel(transformers.BertModel):
    config_class = OtherConfig

AutoConfig.register("other", OtherConfig)  # before ours, and kept
AutoModel.register(OtherConfig, OtherModel)
import ofa_transformers

extra = CONFIG_MAPPING._extra_content
assert list(extra)[:3] == ["other", "ofa", "ofa-bert"] and list(extra)[-1] == "ofa-m2m-100"
assert "ofa" in CONFIG_MAPPING and CONFIG_MAPPING["ofa"] is ofa_transformers.OfaConfig
assert AutoConfig.for_model("ofa", embedding_size=4).embedding_size == 4
mapping = AutoModel._model_mapping
for copied in (mapping, pickle.loads(pickle.dumps(mapping)), copy.deepcopy(mapping)):
    assert copied[OtherConfig] is OtherModel and copied[ofa_transformers.OfaGPT2Config] is ofa_transformers.OfaGPT2Model
    assert list(copied._extra_content.items())[:2] == [
        (OtherConfig, OtherModel), (ofa_transformers.OfaConfig, ofa_transformers.OfaModel)
    ]
    assert len(copied) == len(copied._model_mapping.keys() & copied._config_mapping.keys()) + 25
masked = AutoModelForMaskedLM._model_mapping
assert ofa_transformers.OfaConfig in masked and ofa_transformers.OfaLlamaConfig not in masked
assert ofa_transformers.OfaForMaskedLM in masked.values() and ofa_transformers.OfaBertConfig in masked.keys()

class Own(ofa_transformers.OfaModel):
    pass

AutoModel.register(ofa_transformers.OfaConfig, Own, exist_ok=True)  # the last word is the user's
assert type(AutoModel.from_config(ofa_transformers.OfaConfig(
    vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, embedding_size=4
))) is Own
"""
    )


def test_a_first_look_up_from_several_threads_at_once():
    run(
        """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import ofa_transformers
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, CONFIG_MAPPING

start = Barrier(6)
def look_up(i):
    start.wait()
    if i % 3 == 0:
        return CONFIG_MAPPING["ofa"]
    if i % 3 == 1:
        return {c.__name__: m.__name__ for c, m in AutoModelForMaskedLM._model_mapping._extra_content.items()}["OfaConfig"]
    return AutoModel._model_mapping[ofa_transformers.OfaConfig]

with ThreadPoolExecutor(6) as pool:
    found = list(pool.map(look_up, range(6), timeout=120))
assert found == 2 * [ofa_transformers.OfaConfig, "OfaForMaskedLM", ofa_transformers.OfaModel]
"""
    )
