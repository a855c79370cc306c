"""Exports to other runtimes give what PyTorch gives."""

import numpy as np
import pytest
import torch
from conftest import build_byte_bpe
from tiny_models import make_config, make_model
from transformers import AutoModelForCausalLM, AutoTokenizer

import ofa_transformers as ofa
from ofa_transformers.cli import app
from ofa_transformers.workflows.export.gguf import export_gguf
from ofa_transformers.workflows.export.onnx import export_onnx, load_whole


@pytest.fixture(scope="module")
def tokenizer():
    found = build_byte_bpe()
    found.add_tokens(["brandnew"])
    found.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    return found


# A masked LM is exported in tests/examples, a token classifier below. The others take the same way.
HEADS = {"OfaModel": ["last_hidden_state"], "OfaForQuestionAnswering": ["start_logits", "end_logits"]}


@pytest.mark.parametrize("name", HEADS)
def test_onnx_is_the_checkpoints_own_head(name, tokenizer, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="not installed: pip install 'ofa-transformers[onnx]'")
    pytest.importorskip("onnxscript", reason="not installed: pip install 'ofa-transformers[onnx]'")
    torch.manual_seed(0)
    options = {"add_pooling_layer": False} if name == "OfaModel" else {}
    config = make_config("xlm-roberta", vocab_size=len(tokenizer), max_position_embeddings=80, num_hidden_layers=1)
    model = getattr(ofa, name)(config, **options).eval()
    assert export_onnx(model, tokenizer, tmp_path / "model.onnx") < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [output.name for output in session.get_outputs()] == HEADS[name]


def test_random_weights_are_refused(tmp_path, tokenizer):
    config = make_config("xlm-roberta", vocab_size=len(tokenizer))
    ofa.OfaModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"no weights for classifier\..* drawn at random"):
        load_whole(ofa.OfaForTokenClassification, tmp_path)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3", "gpt2"])
@pytest.mark.parametrize("tied", [True, False])
def test_gguf_is_read_back_with_equal_logits(family, tied, tokenizer, tmp_path):
    gguf = pytest.importorskip("gguf", reason="not installed: pip install 'ofa-transformers[gguf]'")
    # Transformers' reader takes Qwen3's heads for 128 wide, and GPT-2 for 1,024 positions long.
    changes = {"qwen3": {"head_dim": 128}, "gpt2": {"n_positions": 1024}, "mistral": {"sliding_window": None}}
    changes = changes.get(family, {})
    model = make_model(family, vocab_size=len(tokenizer), tie_word_embeddings=tied, **changes)
    for parameter in model.parameters():  # norms are ones at first, which a wrong order wouldn't show
        torch.nn.init.normal_(parameter, std=0.3)
    export_gguf(model, tokenizer, tmp_path / "model.gguf")
    again = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32).eval()
    text = "das Haus am Fluss brandnew"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected, found = model(ids).logits, again(ids).logits
    torch.testing.assert_close(found, expected, atol=1e-4 * expected.abs().max().item(), rtol=1e-4)

    fields = {name: field.contents() for name, field in gguf.GGUFReader(tmp_path / "model.gguf").fields.items()}
    assert fields["tokenizer.ggml.tokens"] == [tokenizer.convert_ids_to_tokens(i) for i in range(len(tokenizer))]
    assert fields["tokenizer.ggml.pre"] == "gpt-2" and fields["tokenizer.chat_template"] == tokenizer.chat_template
    assert fields["tokenizer.ggml.eos_token_id"] == tokenizer.eos_token_id and fields["tokenizer.ggml.add_bos_token"]
    kinds = fields["tokenizer.ggml.token_type"]
    assert kinds[tokenizer.convert_tokens_to_ids("brandnew")] == 4 and kinds[tokenizer.eos_token_id] == 3
    read = AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    assert read(text, add_special_tokens=False)["input_ids"] == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_what_gguf_cannot_say_is_refused(tokenizer, tiny_tokenizers, tmp_path):
    pytest.importorskip("gguf", reason="not installed: pip install 'ofa-transformers[gguf]'")
    with pytest.raises(ValueError, match="can't be written as GGUF, which is for decoders"):
        export_gguf(make_model("bert"), tokenizer, tmp_path / "m.gguf")
    with pytest.raises(ValueError, match="tokenizer of the type Unigram can't be written"):
        export_gguf(make_model("llama"), tiny_tokenizers["unigram"], tmp_path / "m.gguf")
    with pytest.raises(ValueError, match=r"last 4,096 tokens only"):
        export_gguf(make_model("mistral", sliding_window=4096), tokenizer, tmp_path / "m.gguf")
    rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
    with pytest.raises(ValueError, match=r"scales its positions \(linear\)"):
        export_gguf(make_model("llama", rope_parameters=rope), tokenizer, tmp_path / "m.gguf")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_file_with_its_tokenizer(tokenizer, tmp_path):
    pytest.importorskip("onnxruntime", reason="not installed: pip install 'ofa-transformers[onnx]'")
    from typer.testing import CliRunner

    sizes = {"max_position_embeddings": 80, "num_hidden_layers": 1, "num_labels": 3}
    config = make_config("xlm-roberta", vocab_size=len(tokenizer), **sizes)
    ofa.OfaForTokenClassification(config).save_pretrained(tmp_path / "tagger")
    tokenizer.save_pretrained(tmp_path / "tagger")
    arguments = ["export", str(tmp_path / "tagger"), "-o", str(tmp_path / "onnx"), "--format", "onnx"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "OfaForTokenClassification in" in result.output
    names = {path.name for path in (tmp_path / "onnx").iterdir()}
    assert {"model.onnx", "config.json", "tokenizer.json"} <= names
    assert np.isclose(float(result.output.rpartition("within ")[2].split()[0]), 0, atol=1e-3)
