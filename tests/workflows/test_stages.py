"""`ofa run` and `adapt_and_train`: from text to a trained model, stage by stage."""

import io
import json

import pytest
import torch
from conftest import build_byte_bpe, build_unigram
from rich.console import Console
from sentence_encoders import make_sentence_encoder
from typer.testing import CliRunner


pytest.importorskip("datasets")

from adapted_models import make_source
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, BartConfig

import ofa_transformers as ofa
from ofa_transformers.cli import app
from ofa_transformers.cli.run import show
from ofa_transformers.models.sentence_modules import SentenceModules
from ofa_transformers.report import OfaReport
from ofa_transformers.utils.precision import multiplies_bfloat16
from ofa_transformers.workflows import Route
from ofa_transformers.workflows.route_settings import default_learning_rate, default_steps
from ofa_transformers.workflows.stages import _Run


WORDS = {
    "eng": [
        "house",
        "river",
        "mother",
        "bread",
        "water",
        "town",
        "sea",
        "old",
        "small",
        "big",
        "walk",
        "talk",
        "road",
        "tree",
        "bird",
        "fish",
    ],
    "deu": [
        "haus",
        "fluss",
        "mutter",
        "brot",
        "wasser",
        "stadt",
        "meer",
        "alt",
        "klein",
        "gross",
        "gehen",
        "reden",
        "weg",
        "baum",
        "vogel",
        "tisch",
    ],
    "swh": [
        "nyumba",
        "mto",
        "mama",
        "mkate",
        "maji",
        "mji",
        "bahari",
        "zamani",
        "ndogo",
        "kubwa",
        "tembea",
        "ongea",
        "njia",
        "mti",
        "ndege",
        "samaki",
    ],
}
STEPS = {"overrides": {"train": {"max_seq_length": 32, "per_device_train_batch_size": 4}, "vectors": {"dim": 8}}}
SMALL = {"steps": 4, "learning_rate": 1e-3, "vocab_size": 150, "cpu": True, **STEPS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("route")
    make_sentence_encoder(folder / "encoder", build_unigram(), "xlm-roberta-base")
    for family, tokenizer, name in (
        ("xlm-roberta", build_unigram(), "masked"),
        ("gpt2", build_byte_bpe(), "decoder"),
    ):
        make_source(family, tokenizer).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    BartConfig(architectures=["BartForConditionalGeneration"]).save_pretrained(folder / "translator")
    (folder / "text").mkdir()
    for language, words in WORDS.items():
        lines = [f"v{i}\t{' '.join(words[(i * 7 + n * n) % 16] for n in range(6))}" for i in range(120)]
        (folder / "text" / f"{language}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def done(folder):
    said = []
    outcome = ofa.adapt_and_train(folder / "encoder", [folder / "text"], folder / "out", say=said.append, **SMALL)
    return outcome, said


def test_a_sentence_encoder_goes_all_the_way(folder, done):
    outcome, said = done
    assert outcome.model == folder / "out" / "trained"
    AutoModel.from_pretrained(outcome.model)
    assert len(AutoTokenizer.from_pretrained(outcome.model)) <= 150
    assert SentenceModules.read(outcome.model) is not None
    assert outcome.models == [str(folder / "encoder"), str(folder / "out" / "adapted"), str(outcome.model)]
    assert {row[0] for row in outcome.table} == {"deu", "swh", "all"} and all(len(row) == 5 for row in outcome.table)
    card = (outcome.model / "README.md").read_text()
    assert "model-index" in card and (outcome.model / "report.html").is_file()
    assert (folder / "out" / "results.csv").read_text().count("\n") > 6
    held_out = (folder / "out" / "held_out.tsv").read_text().split()
    assert len(held_out) == 24 and any("train: 4 steps at 0.001" in line for line in said)
    # What is held out is in no stage.
    metadata = json.loads((folder / "out" / "vectors" / "metadata.json").read_text())
    assert "24" in json.dumps(metadata)


def test_stages_are_not_repeated_unless_something_before_them_changed(folder, done, monkeypatch):
    made = []
    for name in ("vectors", "tokenizer", "adapt", "before", "train", "after"):
        original = getattr(_Run, name)
        monkeypatch.setattr(
            _Run, name, lambda self, place, name=name, f=original: (made.append(name), f(self, place))[1]
        )
    again = ofa.adapt_and_train(folder / "encoder", [folder / "text"], folder / "out", **SMALL)
    assert made == [] and again.measurements == done[0].measurements
    ofa.adapt_and_train(folder / "encoder", [folder / "text"], folder / "out", **{**SMALL, "learning_rate": 2e-3})
    assert made == ["train", "after"]
    made.clear()
    (folder / "out" / "adapted.json").unlink()  # a stage that broke off
    ofa.adapt_and_train(folder / "encoder", [folder / "text"], folder / "out", **{**SMALL, "learning_rate": 2e-3})
    assert made == ["adapt"]


def test_a_masked_language_model_keeps_its_head_and_is_measured_in_bits(folder):
    training = {**STEPS["overrides"]["train"], "eval_steps": 2}  # and checkpoints as often
    options = {**SMALL, "overrides": {**STEPS["overrides"], "train": training}}
    outcome = ofa.adapt_and_train(folder / "masked", [folder / "text"], folder / "masked-out", **options)
    AutoModelForMaskedLM.from_pretrained(outcome.model)
    metrics = {row[1] for row in outcome.table}
    assert {"bits per character", "top-1 from English"} <= metrics or {
        "bits per character",
        "top-1 from eng",
    } <= metrics
    report = OfaReport.load(folder / "masked-out" / "adapted")
    assert report.settings["language_offset"] == 0.4
    checkpoint = max(outcome.model.glob("checkpoint-*"))
    settings = json.loads((checkpoint / "data_state.json").read_text())["settings"]
    assert (
        settings["parallel_share"] == 1
        and settings["mlm_probability"] == 0.2
        and settings["bf16"] is multiplies_bfloat16()
    )
    # And a sentence encoder of its lower layers, measured beside it.
    assert outcome.encoder == folder / "masked-out" / "encoder" and outcome.models[-1] == str(outcome.encoder)
    assert SentenceModules.read(outcome.encoder).has_projection
    assert AutoModel.from_pretrained(outcome.encoder).config.num_hidden_layers == 1
    retrieval = [row for row in outcome.table if row[1].startswith("top-1")]
    assert retrieval and all(row[-1] for row in retrieval)
    assert str(outcome.encoder) not in (outcome.model / "README.md").read_text()
    shown = io.StringIO()
    show(Console(file=shown, width=80), outcome)
    assert " source adapted trained encoder" in " ".join(shown.getvalue().split())
    assert all(len(line) <= 80 for line in shown.getvalue().split("Model, ")[0].splitlines())


def test_an_encoder_that_cannot_be_cut_ends_no_run(folder, tmp_path, monkeypatch):
    def refused(*arguments):
        raise ValueError("it can't be cut")

    monkeypatch.setattr("ofa_transformers.workflows.stages.sentence_encoder", refused)
    said = []
    outcome = ofa.adapt_and_train(folder / "masked", [folder / "text"], tmp_path / "out", say=said.append, **SMALL)
    assert outcome.encoder is None and len(outcome.models) == 3
    assert "Note: no sentence encoder is made: it can't be cut" in said


def test_training_computes_in_bfloat16_where_the_hardware_can_unless_told(folder, monkeypatch):
    def computes(**training):
        return Route(str(folder / "masked"), [folder / "text"], overrides={"train": training}).in_bfloat16

    for able in (True, False):
        monkeypatch.setattr("ofa_transformers.workflows.route.multiplies_bfloat16", lambda use_cpu, able=able: able)
        assert computes() is able
        for launched in ("no", "fp16", "bf16"):
            monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
            assert computes() is (launched == "bf16")
        monkeypatch.delenv("ACCELERATE_MIXED_PRECISION")
        assert computes(bf16=True) and not computes(bf16=False) and not computes(fp16=True)


def test_a_decoder_goes_all_the_way_with_rows_of_its_pieces(folder, tmp_path):
    said, options = [], {**SMALL, "vocab_size": 300}
    outcome = ofa.adapt_and_train(folder / "decoder", [folder / "text"], tmp_path / "out", say=said.append, **options)
    model = AutoModelForCausalLM.from_pretrained(outcome.model)
    adapted = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "adapted")
    body = "transformer.h.0.mlp.c_fc.weight"
    assert not torch.equal(model.state_dict()[body], adapted.state_dict()[body])
    report = OfaReport.load(tmp_path / "out" / "adapted")
    assert report.settings["method"] == "fvt" and any("rows by fvt" in line for line in said)
    checkpoint = max(outcome.model.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    state = json.loads((checkpoint / "data_state.json").read_text())["settings"]
    assert state["causal"] and state["joined_pairs"] and state["parallel_share"] == 0.5
    assert "bits per character" in {row[1] for row in outcome.table}
    overridden = Route(str(folder / "decoder"), [folder / "text"], overrides={"adapt": {"method": "ofa"}})
    assert overridden.is_causal and not overridden.contrasts


def test_size_and_kind_of_the_tokenizer_are_chosen_and_said(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("ofa_transformers.workflows.stages._FIRST_EXTENSION", 20)
    said = []
    route = Route(str(folder / "encoder"), [folder / "text"], cpu=True)
    run = _Run(route, tmp_path, said.append, None)
    run.tokenizer(tmp_path / "tokenizer")
    made = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert len(said) == 2 and said[0].startswith("tokenizer: extend: ") and said[1].startswith("tokenizer: adds ")
    assert len(made) > len(build_unigram())


def test_what_cannot_be_done_is_said_before_the_work(folder, tmp_path):
    plain = tmp_path / "deu.txt"
    plain.write_text("ein Haus\n" * 40)
    source = str(folder / "encoder")
    for texts, options, message in (
        ([plain], {}, "texts are no translations"),
        ([folder / "text"], {"overrides": {"fine": {}}}, "There is no stage 'fine'"),
        ([folder / "text"], {"overrides": {"train": {"rate": 1}}}, "train has no option 'rate'"),
        ([folder / "text"], {"overrides": {"train": {"eval_steps": 4, "save_steps": 6}}}, "no multiple of train.eval"),
        ([folder / "absent"], {}, "absent"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            Route(source, texts, **options)
    with pytest.raises(ValueError, match="translator is an encoder-decoder, which this can't train"):
        Route(str(folder / "translator"), [folder / "text"])


def test_defaults_follow_text_and_width(folder):
    assert default_steps({"deu": ["x"] * 64_000}) == 2000
    assert default_steps({"deu": ["x"] * 10}) == 40
    assert default_learning_rate(str(folder / "encoder"), True) == 5e-4
    assert default_learning_rate(str(folder / "masked"), False) == 2e-4


@pytest.mark.parametrize("name", ["encoder", "masked", "decoder"])
def test_the_dry_run_fits_eighty_columns_and_writes_nothing(folder, tmp_path, name):
    arguments = ["run", str(folder / name), str(folder / "text"), "-o", str(tmp_path / "out"), "--dry-run"]
    shown = CliRunner().invoke(app, [*arguments, "--set", "train.weight_decay=0.1"])
    assert shown.exit_code == 0, shown.output
    table = shown.stdout.split("All: ")[0]
    assert all(len(line.rstrip()) <= 80 for line in table.splitlines())
    for stage in ("vectors", "tokenizer", "adapted", "before", "trained", "after"):
        assert f"\n {stage}" in shown.stdout
    assert ("\n encoder" in shown.stdout) is (name == "masked")
    assert not (tmp_path / "out").exists()
