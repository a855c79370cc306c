"""`ofa adapt`, `ofa convert` and `ofa export`, on tiny models."""

import gzip
import inspect
import json

import conftest
import pytest
import torch
import yaml
from adapted_models import make_source, save_in_the_authors_layout
from safetensors.torch import load_file, save_file
from tiny_models import make_config
from transformers import AutoModelForMaskedLM, AutoTokenizer, XLMRobertaForMaskedLM

import ofa_transformers as ofa
from ofa_transformers.initialization.planning import plan_adaptation
from ofa_transformers.initialization.settings import InitializationSettings
from ofa_transformers.report import OfaReport
from ofa_transformers.tokenization import extend_tokenizer


def test_adapt_then_export(run, inputs, tmp_path, capsys):
    out = tmp_path / "out[red]"
    assert run("adapt", *inputs, "--size", 8, "--target-language", "deu", "-o", out) == 0
    printed = capsys.readouterr().out
    assert "OfaForMaskedLM" in printed and str(out) in printed
    report = json.loads((out / "ofa_report.json").read_text())
    assert report["settings"]["embedding_size"] == 8 and report["settings"]["target_languages"] == ["deu"]
    model = AutoModelForMaskedLM.from_pretrained(out).eval()

    assert run("export", out, "-o", tmp_path / "dense") == 0
    dense = AutoModelForMaskedLM.from_pretrained(tmp_path / "dense").eval()
    assert type(dense) is XLMRobertaForMaskedLM
    batch = AutoTokenizer.from_pretrained(tmp_path / "dense")("das Haus", return_tensors="pt")
    torch.testing.assert_close(dense(**batch).logits, model(**batch).logits, rtol=1e-4, atol=1e-5)
    # There is nothing to multiply out in a dense model.
    assert run("export", tmp_path / "dense", "-o", tmp_path / "again") == 1
    assert "has nothing to multiply out" in capsys.readouterr().err
    (out / "model.safetensors").write_bytes(b"torn")
    assert run("export", out, "-o", tmp_path / "again") == 1
    assert "could not be read; the checkpoint is damaged" in capsys.readouterr().err


def test_adapt_takes_what_goes_beyond_the_paper(run, inputs, tmp_path, capsys):
    text = tmp_path / "deu.txt.gz"
    text.write_bytes(gzip.compress(b"das Haus\ndie Stadt\n"))
    options = ["--word-weighting", "uniform", "--overlap", "all", "--language-offset", 0.3, "--target-text", text]
    assert run("adapt", *inputs, *options, "--source-language", "eng", "-o", tmp_path / "out") == 0
    settings = json.loads((tmp_path / "out" / "ofa_report.json").read_text())["settings"]
    assert settings["word_weighting"] == "uniform" and settings["overlap"] == "all"
    assert settings["language_offset"] == 0.3 and settings["head_bias"] == "calibrated"
    capsys.readouterr()

    text.write_bytes(b"no archive\x00")
    for options, message in (
        (["--target-text", text], "deu.txt.gz"),
        (["--target-text", tmp_path / "absent.txt"], "absent.txt is not a file"),
        (["--word-weighting", "log"], "word_weighting is 'log', but must be one of"),
        (["--word-weighting", "sqrt_frequency"], "needs word frequencies, but these word vectors have none"),
        (["--language-offset", "-0.1"], "language_offset is -0.1, but must be 0"),
        (["--language-offset", "0.1", "--authors-compatible"], "has no language_offset=0.1"),
    ):
        assert run("adapt", *inputs, *options, "-o", tmp_path / "new") == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", ["roberta", "roberta-untied", "gpt2"])
@pytest.mark.parametrize("size", [None, 8])
def test_dry_run_foresees_the_sizes_and_writes_nothing(run, inputs, tiny_tokenizers, tmp_path, capsys, kind, size):
    make_source(kind, tiny_tokenizers["byte_bpe"]).save_pretrained(tmp_path / "source")
    options = {"target_tokenizer": tmp_path / "tokenizer", "word_vectors": tmp_path / "vectors"}
    adapted = ofa.OfaInitializer.from_pretrained(tmp_path / "source", embedding_size=size, **options)
    options |= dict.fromkeys(
        ("source_languages", "target_languages", "max_words", "word_weighting", "overlap", "target_text")
    )
    options |= {"num_neighbors": 10, "temperature": 0.1, "fallback": "normal", "language_offset": 0.0}
    plan = plan_adaptation(tmp_path / "source", embedding_size=size, authors_compatible=False, **options)
    source, target = adapted.report.source, adapted.report.target
    assert plan.parameters == (source["parameters"], target["parameters"])
    assert plan.embedding_parameters == (source["embedding_parameters"], target["embedding_parameters"])
    assert (plan.source_class, plan.target_class) == (source["class"], target["class"])
    assert (plan.source_tokens, plan.target_tokens) == (source["tokens"], target["tokens"])
    assert plan.shared_tokens == adapted.report.tokens["copied"] + adapted.report.tokens["special"]
    assert plan.words == 3 and plan.languages == 2 and plan.seconds > 0 and plan.memory > plan.disk
    before = sorted(tmp_path.rglob("*"))
    assert run("adapt", *inputs, *(["--size", size] if size else []), "--dry-run", "-o", tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert f"-> {target['class']}" in shown and "Nothing was written" in shown
    assert sorted(tmp_path.rglob("*")) == before
    assert run("adapt", *inputs, "--size", 99, "--dry-run", "-o", tmp_path / "out") == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--num-neighbors", 2], {"num_neighbors": 2, "word_weighting": "uniform", "primitives": None}),
        (
            ["--size", 8, "--source-language", "eng", "--target-language", "eng", "--target-language", "deu",
             "--num-neighbors", 1, "--temperature", 0.5, "--fallback", "mean", "--max-words", 3, "--seed", 3],
            {"embedding_size": 8, "source_languages": ("eng",), "target_languages": ("deu", "eng"), "seed": 3,
             "language_offset": 0.2, "primitives": "target", "temperature": 0.5, "fallback": "mean", "max_words": 3},
        ),
        (
            ["--embedding-size", 4, "--authors-compatible", "--num-neighbors", 1],
            {"embedding_size": 4, "authors_compatible": True, "overlap": "all", "primitives": "source"},
        ),
    ],
)  # fmt: skip
def test_settings_go_through_dry_run_report_and_record(run, inputs, tmp_path, capsys, options, expected):
    assert run("adapt", *inputs, *options, "--dry-run", "-o", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    held = InitializationSettings.from_dict(
        yaml.safe_load(
            inspect.cleandoc(" " * 14 + printed.partition("settings")[2].partition("parameters")[0].strip())
        )
    )
    assert {name: getattr(held, name) for name in expected} == expected
    assert run("adapt", *inputs, *options, "-o", tmp_path / "out") == 0
    report = OfaReport.load(tmp_path / "out")
    assert InitializationSettings.from_report(report) == held
    assert InitializationSettings.from_dict(json.loads(json.dumps(held.to_dict()))) == held

    # The record has what was asked for, and leaves open what was left open.
    asked = InitializationSettings.from_dict(yaml.safe_load((tmp_path / "out" / "ofa_run.yaml").read_text()))
    given = {"target_tokenizer": tmp_path / "tokenizer", "word_vectors": tmp_path / "vectors"}
    weights = AutoModelForMaskedLM.from_pretrained(tmp_path / "out").state_dict()
    for settings in (asked, held):
        again = ofa.OfaInitializer.from_pretrained(tmp_path / "source", **given, **settings.arguments())
        assert InitializationSettings.from_report(again.report) == held
        for name, value in again.model.state_dict().items():
            assert torch.equal(value, weights[name]), name


def test_convert_writes_our_layout(run, tmp_path, capsys):
    model = ofa.OfaForMaskedLM(make_config("xlm-roberta"))
    save_in_the_authors_layout(model, tmp_path / "theirs")
    assert run("convert", tmp_path / "theirs", "-o", tmp_path / "ours") == 0
    assert "came without tokenizer" in capsys.readouterr().out
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path / "ours")
    torch.testing.assert_close(loaded.get_input_embeddings().weight, model.get_input_embeddings().weight)


def test_errors_are_one_line_and_nothing_is_overwritten(run, inputs, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert run("adapt", *inputs, "-o", out) == 1
    error = capsys.readouterr().err
    assert "is not empty" in error and "Traceback" not in error
    assert [file.name for file in out.iterdir()] == ["notes.txt"]
    assert run("adapt", *inputs, "--size", 99, "-o", tmp_path / "new") == 1
    assert "between 1 and the source's hidden size, 32, but is 99" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert run("adapt", inputs[0], "-o", tmp_path / "new") == 2


def test_other_methods_by_name(run, error_of, inputs, tmp_path, capsys):
    source, _, tokenizer, *_ = inputs
    plain = [source, "-t", tokenizer]
    assert run("adapt", *plain, "--method", "fvt", "-o", tmp_path / "fvt") == 0
    settings = json.loads((tmp_path / "fvt" / "ofa_report.json").read_text())["settings"]
    assert settings["method"] == "fvt" and settings["fallback"] == "normal"
    assert run("adapt", "--config", tmp_path / "fvt" / "ofa_run.yaml", "-o", tmp_path / "again", source) == 0
    bible = tmp_path / "bible"
    bible.mkdir()
    (bible / "eng_Latn.tsv").write_text("a\tthe house\nb\tthe river\n")
    (bible / "deu_Latn.tsv").write_text("a\tdas Haus\nb\tder Fluss\n")
    aligned = [*plain, "--method", "alignment", "--parallel", bible, "--method-setting", "min_count=0.5"]
    capsys.readouterr()
    assert run("adapt", *aligned, "--dry-run", "-o", tmp_path / "aligned") == 0
    assert "min_count: 0.5" in capsys.readouterr().out
    assert run("adapt", *aligned, "-o", tmp_path / "aligned") == 0
    settings = json.loads((tmp_path / "aligned" / "ofa_report.json").read_text())["settings"]
    assert settings["method_settings"] == {"min_count": 0.5}
    capsys.readouterr()
    assert "method='ofa' needs word_vectors" in error_of("adapt", *plain, "-o", tmp_path / "no")
    assert "must be NAME=VALUE" in error_of("adapt", *plain, "--method-setting", "atoms", "-o", tmp_path / "no")
    assert "method is 'magic', but must be one of" in error_of(
        "adapt", *plain, "--method", "magic", "-o", tmp_path / "no"
    )
    assert run("methods") == 0
    assert "alignment" in capsys.readouterr().out


def test_trim_keeps_the_rows_that_some_text_needs(run, inputs, tmp_path, capsys):
    """The outputs are the source's; with -t it is that tokenizer which is trimmed, an extended one for example."""
    source = inputs[0]
    text = tmp_path / "deu_Latn.txt"
    text.write_text("\n".join(conftest.TEXT[3:6]), encoding="utf-8")
    assert run("adapt", source, "--trim", text, "--dry-run", "-o", tmp_path / "out") == 0
    assert run("adapt", source, "--trim", text, "-o", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    old, new = (AutoTokenizer.from_pretrained(folder) for folder in (source, tmp_path / "out"))
    before, after = (AutoModelForMaskedLM.from_pretrained(f).eval() for f in (source, tmp_path / "out"))
    sizes = [sum(p.numel() * 4 for p in model.parameters()) / 1e6 for model in (before, after)]
    assert f"{len(old):,} -> {len(new):,} tokens" in printed and len(new) < len(old)
    assert f"parameters, {sizes[0]:.1f} -> {sizes[1]:.1f} MB" in printed
    kept = old.convert_tokens_to_ids(new.convert_ids_to_tokens(range(len(new))))
    for line in conftest.TEXT[3:6]:
        ours, theirs = (model(**t(line, return_tensors="pt")) for model, t in ((after, new), (before, old)))
        torch.testing.assert_close(ours.logits, theirs.logits[..., kept], rtol=0, atol=1e-6)

    larger = extend_tokenizer(old, {"swh": conftest.TEXT[6:8] * 2}, 20)
    larger.save_pretrained(tmp_path / "larger")
    text.write_text("\n".join(conftest.TEXT[6:8]), encoding="utf-8")
    assert run("adapt", source, "-t", tmp_path / "larger", "--trim", text, "-o", tmp_path / "both") == 0
    both = AutoTokenizer.from_pretrained(tmp_path / "both")
    assert both.tokenize(conftest.TEXT[6]) == larger.tokenize(conftest.TEXT[6])
    report = OfaReport.load(tmp_path / "both")
    assert report.tokens["composed"] > 0 and report.target["tokens"] == len(both) < len(larger)
    assert report.source["bytes"] > report.target["bytes"] > 0


def test_add_language_gives_a_translation_model_its_token(run, error_of, tmp_path):
    from initialization.test_new_languages import NEW, make

    model, own, relative = make("nllb")
    model.save_pretrained(tmp_path / "nllb")
    own.save_pretrained(tmp_path / "nllb")
    option = f"{NEW}:like={relative}"
    assert run("adapt", tmp_path / "nllb", "--add-language", option, "-o", tmp_path / "out") == 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", src_lang=NEW)
    assert tokenizer.convert_tokens_to_ids(NEW) == len(own) and len(own) in tokenizer("house")["input_ids"]
    settings = OfaReport.load(tmp_path / "out").settings
    assert settings["new_languages"] == {NEW: relative} and settings["method"] == "fvt"
    assert (
        run("adapt", "--config", tmp_path / "out" / "ofa_run.yaml", tmp_path / "nllb", "-o", tmp_path / "again") == 0
    )
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("out", "again"))
    assert one == other
    assert "must be CODE:like=TOKEN, for example" in error_of(
        "adapt", tmp_path / "nllb", "--add-language", NEW, "-o", tmp_path / "no"
    )


def test_a_note_is_said_once_and_codes_may_be_listed(run, inputs, tmp_path, capsys):
    assert run("adapt", *inputs, "-o", tmp_path / "unnamed") == 0
    shown = capsys.readouterr()
    warnings = OfaReport.load(tmp_path / "unnamed").warnings
    assert warnings and all((shown.out + shown.err).count(warning) == 1 for warning in warnings)
    assert run("adapt", *inputs, "--source-language", "eng,deu", "-o", tmp_path / "named") == 0
    assert OfaReport.load(tmp_path / "named").settings["source_languages"] == ["deu", "eng"]


def damage_weight(folder, name, value):
    weights = load_file(folder / "model.safetensors")
    weights[name].view(-1)[5] = value
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_body_with_weights_that_are_no_numbers_is_named(run, error_of, inputs, tmp_path, capsys, value):
    assert run("adapt", *inputs, "--size", 8, "-o", tmp_path / "adapted") == 0
    (tmp_path / "deu.txt").write_text("das Haus\n" * 20)
    name = "roberta.encoder.layer.0.output.dense.weight"
    damage_weight(tmp_path / "source", name, value)
    damage_weight(tmp_path / "adapted", name, value)
    before = sorted(tmp_path.iterdir())
    text = tmp_path / "deu.txt"
    message = "{} of '{}' has NaN or infinite values"
    assert run("adapt", *inputs, "-o", tmp_path / "out") == 1
    assert message.format(name, tmp_path / "source") in capsys.readouterr().err.splitlines()[-1]
    for command, damaged in (
        (("export", tmp_path / "adapted", "-o", tmp_path / "out"), "adapted"),
        (("convert", tmp_path / "adapted", "-o", tmp_path / "out"), "adapted"),
        (("pretrain", tmp_path / "adapted", text, "-n", 1, "--streaming", "--cpu", "-o", tmp_path / "out"), "adapted"),
        (("evaluate", "perplexity", tmp_path / "adapted", "--text", text, "--cpu", "-o", tmp_path / "out"), "adapted"),
    ):
        assert message.format(name, tmp_path / damaged) in error_of(*command)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("file", "content"),
    [("tokenizer.json", None), ("tokenizer.json", "{"), ("tokenizer.json", "[1]"), ("tokenizer_config.json", "[")],
)
def test_export_refuses_a_damaged_tokenizer(run, error_of, inputs, tmp_path, capsys, file, content):
    assert run("adapt", *inputs, "--size", 8, "-o", tmp_path / "adapted") == 0
    capsys.readouterr()
    path = tmp_path / "adapted" / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    for command in ("export", "convert"):
        message = error_of(command, tmp_path / "adapted", "-o", tmp_path / "out")
        assert str(tmp_path / "adapted") in message and "tokenizer" in message
    assert not (tmp_path / "out").exists()
