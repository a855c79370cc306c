"""The short scripts of examples/ do what they say, on a tiny factorized checkpoint."""

import copy
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY, TEXT
from labelled_corpora import entity_sentences, topic_lines, write_columns
from tiny_models import EMBEDDING_SIZE, make_config
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    pipeline,
    set_seed,
)

import ofa_transformers as ofa


def run(script: str, capsys, **arguments) -> str:
    """Runs a script of examples/ in this process; what it prints."""
    words = [
        word for name, value in arguments.items() for word in ([f"--{name}"] + ([] if value is True else [value]))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *map(str, words)])
        capsys.readouterr()
        runpy.run_path(str(REPOSITORY / "examples" / script), run_name="__main__")
    return capsys.readouterr().out


def metric(output: str, name: str) -> float:
    return float(next(line.split("=")[1] for line in output.splitlines() if line.split("=")[0].strip() == name))


@pytest.fixture
def checkpoint(tiny_tokenizers, tmp_path) -> Path:
    """A factorized masked LM in half precision, as adapted checkpoints may be."""
    set_seed(0)
    tokenizer = copy.deepcopy(tiny_tokenizers["unigram"])
    tokenizer.model_max_length = 60
    config = make_config("xlm-roberta", vocab_size=len(tokenizer), initializer_range=0.2)
    ofa.OfaForMaskedLM(config).half().save_pretrained(tmp_path / "adapted")
    tokenizer.save_pretrained(tmp_path / "adapted")
    return tmp_path / "adapted"


def test_token_classification(checkpoint, tmp_path, capsys):
    train = write_columns(tmp_path / "train.conll", entity_sentences(120, seed=0))
    test = write_columns(tmp_path / "test.conll", entity_sentences(30, seed=1))
    output = run(
        "token_classification.py", capsys, model=checkpoint, train=train, test=test, output_dir=tmp_path / "tagger",
        epochs=8, learning_rate=5e-3,
    )  # fmt: skip
    assert metric(output, "eval_f1") > 0.8
    tagger = AutoModelForTokenClassification.from_pretrained(tmp_path / "tagger")
    assert type(tagger) is ofa.OfaForTokenClassification and "B-PER" in tagger.config.label2id
    assert "token-classification: " in run("pipelines.py", capsys, tagger=tmp_path / "tagger", text="they saw Anna")


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_text_classification(checkpoint, ending, tmp_path, capsys):
    numbers = {"Faith": 1, "Sin": 2, "Violence": 4}  # as numbers in the CSV files
    files = {}
    for part, count, seed in (("train", 150, 0), ("test", 60, 1)):
        rows = list(topic_lines(count, seed))
        files[part] = tmp_path / f"{part}{ending}"
        if ending == ".csv":
            lines = ["text,label", *(f'"{text}",{numbers[label]}' for text, label in rows)]
        else:
            lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        files[part].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    output = run(
        "text_classification.py", capsys, model=checkpoint, **files, output_dir=tmp_path / "classifier", epochs=12,
        learning_rate=5e-3,
    )  # fmt: skip
    assert metric(output, "eval_accuracy") > 0.8
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "classifier")
    assert type(model) is ofa.OfaForSequenceClassification
    assert set(model.config.label2id) == (set(map(str, numbers.values())) if ending == ".csv" else set(numbers))


def test_question_answering(checkpoint, tmp_path, capsys):
    paragraphs = []
    for number, sentence in enumerate(entity_sentences(80, seed=0)):
        context = " ".join(word for word, _ in sentence) + " day" * (60 if number % 8 == 0 else 0)  # several windows
        answer = next(word for word, tag in sentence if tag.startswith("B-"))
        answers = [{"text": answer, "answer_start": context.index(answer)}]
        paragraphs.append({"context": context, "qas": [{"question": "who", "answers": answers}]})
    paragraphs.append({"context": "nothing", "qas": [{"question": "who", "answers": [], "is_impossible": True}]})
    file = tmp_path / "squad.json"
    file.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    output = run(
        "question_answering.py", capsys, model=checkpoint, train=file, test=file, output_dir=tmp_path / "reader",
        epochs=12, learning_rate=5e-3, stride=16,
    )  # fmt: skip
    assert metric(output, "exact_match") > 0.6 and metric(output, "f1") > 0.6
    reader = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "reader")
    assert type(reader) is ofa.OfaForQuestionAnswering


@pytest.mark.parametrize("train_embeddings", [False, True])
def test_peft_lora(checkpoint, train_embeddings, tmp_path, capsys):
    pytest.importorskip("peft", reason="PEFT is not installed: pip install 'ofa-transformers[peft]'")
    text = tmp_path / "text.txt"
    text.write_text("\n".join(TEXT), encoding="utf-8")
    flags = {"train_embeddings": True} if train_embeddings else {}
    output = run(
        "peft_lora.py", capsys, model=checkpoint, text=text, output_dir=tmp_path / "lora", max_steps=10, **flags
    )
    assert "trainable params" in output
    base = AutoModelForMaskedLM.from_pretrained(checkpoint, dtype="float32")
    merged = AutoModelForMaskedLM.from_pretrained(tmp_path / "lora" / "merged")
    assert type(merged) is ofa.OfaForMaskedLM
    embeddings, projection = merged.get_input_embeddings(), merged.get_output_embeddings()
    # PEFT trains copies of modules that are saved in full, each its own.
    assert merged.config.tie_word_embeddings is not train_embeddings
    assert (projection.primitives.weight is embeddings.primitives.weight) is not train_embeddings
    before = base.get_input_embeddings()
    for factor, old in ((embeddings.weight, before.weight), (embeddings.primitives.weight, before.primitives.weight)):
        assert torch.equal(factor, old) is not train_embeddings
    layer = "encoder.layer.0.intermediate.dense.weight"
    assert not torch.equal(merged.base_model.get_parameter(layer), base.base_model.get_parameter(layer))


def test_sentence_retriever(checkpoint, tmp_path, capsys):
    pytest.importorskip(
        "sentence_transformers", reason="not installed: pip install 'ofa-transformers[sentence-transformers]'"
    )
    lines = [text for text, _ in topic_lines(48, seed=0)]
    for part, chosen in (("train", lines), ("test", lines[:24])):
        # The translation into a language with other words for some.
        pairs = [f"{line}\t{line.replace('the', 'das').replace('day', 'Haus')}\n" for line in chosen]
        (tmp_path / f"{part}.tsv").write_text("".join(pairs), encoding="utf-8")
    output = run(
        "sentence_retriever.py", capsys, model=checkpoint, train=tmp_path / "train.tsv", test=tmp_path / "test.tsv",
        output_dir=tmp_path / "retriever", epochs=6, learning_rate=2e-3,
    )  # fmt: skip
    before, after = (float(word.rstrip("%")) for word in output.split() if word.endswith("%"))
    assert after > 60 and after >= before
    assert json.loads((tmp_path / "retriever" / "config.json").read_text())["embedding_size"] == EMBEDDING_SIZE


def test_pipelines(checkpoint, tiny_tokenizers, tmp_path, capsys):
    tokenizer = tiny_tokenizers["byte_bpe"]
    tokenizer.save_pretrained(tmp_path / "decoder")
    AutoModelForCausalLM.from_config(make_config("llama", vocab_size=len(tokenizer))).save_pretrained(
        tmp_path / "decoder"
    )
    models = {"encoder": checkpoint, "decoder": tmp_path / "decoder"}
    output = run("pipelines.py", capsys, **models)
    assert output.count("fill-mask: ") == 3 and "feature-extraction: " in output and "text-generation: All" in output
    assert run("pipelines.py", capsys, **models, trust_remote_code=True) == output


def test_onnx_export(checkpoint, tmp_path, capsys):
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed: pip install 'ofa-transformers[onnx]'")
    pytest.importorskip("onnxruntime", reason="not installed: pip install 'ofa-transformers[onnx]'")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))  # half the time
    output = run("onnx_export.py", capsys, model=checkpoint, output_dir=tmp_path / "onnx")
    differences = [float(line.split(" by ")[1].split()[0]) for line in output.splitlines() if " by " in line]
    assert len(differences) == 2 and max(differences) < 1e-3
    config = AutoModelForMaskedLM.from_pretrained(checkpoint).config
    for name, columns in (("factorized", EMBEDDING_SIZE), ("dense", config.hidden_size)):
        shapes = [sorted(i.dims) for i in onnx.load(tmp_path / "onnx" / f"{name}.onnx").graph.initializer]
        of_vocabulary = [shape for shape in shapes if config.vocab_size in shape and len(shape) == 2]
        # Never multiplied out, and tied: one matrix for input and output.
        assert of_vocabulary == [sorted([config.vocab_size, columns])]


@pytest.mark.parametrize("activations", [False, True])
def test_quantized(checkpoint, activations, tmp_path, capsys):
    pytest.importorskip("torchao", reason="torchao is not installed: pip install 'ofa-transformers[quantization]'")
    flags = {"activations": True} if activations else {}
    output = run("quantized.py", capsys, model=checkpoint, output_dir=tmp_path / "int8", **flags)
    assert float(output.split("differ by ")[1].split("%")[0]) < 5
    predictions = pipeline("fill-mask", model=str(tmp_path / "int8"), device="cpu")("the <mask> is old")
    assert len(predictions) == 5


def test_translation_to_a_language_that_was_added(tmp_path, capsys):
    from initialization.test_new_languages import NEW, make

    model, own, relative = make("nllb")
    adapted = ofa.OfaInitializer.from_pretrained(
        model, source_tokenizer=own, target_tokenizer=own, method="fvt", new_languages={NEW: relative}
    )
    adapted.save_pretrained(tmp_path / "nllb", report_page=False)
    for name, lines in (("eng", TEXT[:3] * 4), ("deu", TEXT[3:6] * 4)):
        rows = [f"{number}\t{line}\n" for number, line in enumerate(lines)]
        (tmp_path / f"{name}.tsv").write_text("".join(rows), encoding="utf-8")
    output = run(
        "translation.py", capsys, model=tmp_path / "nllb", source=f"eng_Latn={tmp_path / 'eng.tsv'}",
        target=f"{NEW}={tmp_path / 'deu.tsv'}", output_dir=tmp_path / "translator", max_steps=60, batch_size=3,
        learning_rate=1e-2, max_length=40, test_size=3,
    )  # fmt: skip
    assert metric(output, "test_loss") < metric(output, "before_loss") / 2
    assert f"{NEW}: " in output
    saved = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "translator")
    assert saved.generation_config.forced_bos_token_id == adapted.tokenizer.convert_tokens_to_ids(NEW)
