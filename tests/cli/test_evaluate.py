"""`ofa evaluate`."""

import json

import pytest
from adapted_models import make_source
from huggingface_hub import ModelCard
from labelled_corpora import entity_sentences, save_subject, topic_lines, write_columns, write_topics

from ofa_transformers.evaluation import read_json


@pytest.fixture
def folder(tiny_tokenizers, tmp_path):
    """Two models, sentence pairs, text with ids and held-out text."""
    for name in ("one", "two"):
        make_source("roberta", tiny_tokenizers["byte_bpe"]).save_pretrained(tmp_path / name)
        tiny_tokenizers["byte_bpe"].save_pretrained(tmp_path / name)
    pairs = ["Haus\thouse", "Stadt\ttown", "Fluss\triver"]
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "deu-eng.tsv").write_text("\n".join(pairs) + "\n")
    (tmp_path / "bible").mkdir()
    for language, side in (("deu_Latn", 0), ("eng_Latn", 1)):
        lines = [f"b.{number}\t{pair.split(chr(9))[side]}\n" for number, pair in enumerate(pairs)]
        (tmp_path / "bible" / f"{language}.tsv").write_text("".join(lines))
    (tmp_path / "ids").write_text("b.1\nb.2\n")
    return tmp_path


def test_models_side_by_side_in_files_and_cards(folder, run, capsys):
    models = [folder / "one", folder / "two"]
    options = ["--pairs", folder / "pairs", "-o", folder / "results", "--card", "--cpu", "--head-languages", "xlm-r"]
    assert run("evaluate", "retrieval", *models, *options) == 0
    shown = capsys.readouterr().out
    assert (
        "| language | one | one, centred | two | two, centred |" in shown
        and "| head |" in shown
        and "deu-eng.tsv (sha256" in shown
    )
    found = read_json(folder / "results" / "results.json")
    assert {item.model for item in found} == set(map(str, models)) and {item.task for item in found} == {
        "retrieval (pairs)"
    }
    assert (folder / "results" / "results.md").read_text().strip() == shown.strip()
    assert len((folder / "results" / "results.csv").read_text().splitlines()) == len(found) + 1
    card = ModelCard.load(folder / "two" / "README.md")
    assert len(card.data.eval_results) == len(found) / 2


def test_held_out_verses_and_a_table_of_both_runs(folder, run, capsys):
    ids = ["--ids", folder / "ids", "--cpu", "--head-languages", "none"]
    arguments = [folder / "one", "--parallel", folder / "bible", *ids, "-o", folder / "a", "--layer", "1"]
    assert run("evaluate", "retrieval", *arguments) == 0
    arguments = [folder / "one", "--text", folder / "bible", *ids, "-o", folder / "b"]
    assert run("evaluate", "perplexity", *arguments) == 0
    capsys.readouterr()
    assert run("evaluate", "table", folder / "a", folder / "b" / "results.json", "--markdown") == 0
    shown = capsys.readouterr().out
    assert "retrieval (bible, layer 1): one" in shown and "perplexity (bible, words masked): one" in shown
    sizes = {item["size"] for item in json.loads((folder / "a" / "results.json").read_text())}
    assert sizes == {2} and "head" not in shown


def test_results_survive_a_later_model_that_fails(folder, run, capsys):
    (folder / "two" / "model.safetensors").write_bytes(b"torn")
    models = [folder / "one", folder / "two"]
    options = ["--pairs", folder / "pairs", "--cpu", "--markdown"]
    for number in ("", "-2"):
        assert run("evaluate", "retrieval", *models, *options, "-o", folder / "results") == 1
        assert f"results-unfinished{number} (`ofa evaluate table`" in capsys.readouterr().err
    assert not (folder / "results").exists()
    assert run("evaluate", "retrieval", *models, *options) == 1
    shown = capsys.readouterr().out  # without a folder
    assert run("evaluate", "retrieval", folder / "one", *options, "-o", folder / "whole") == 0
    assert capsys.readouterr().out == shown
    assert read_json(folder / "results-unfinished" / "results.json") == read_json(folder / "whole" / "results.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["retrieval", "one"], "one of --pairs, --parallel and --dataset"),
        (["retrieval", "one", "--pairs", "pairs", "--ids", "ids"], "--ids are of --parallel"),
        (["retrieval", "one", "--pairs", "missing"], "neither a file nor a folder"),
        (["retrieval", "one", "--pairs", "pairs", "--head-languages", "xyzzy"], "a head language is 'xyzzy'"),
        (["retrieval", "one", "--pairs", "pairs", "-o", "bible"], "exists and is not empty"),
        (["retrieval", "one", "--pairs", "pairs", "-o", "pairs"], "is also read"),
        (["retrieval", "pairs", "--pairs", "pairs", "--card"], "not a folder with a model"),
        (["retrieval", "one", "--pairs", "pairs", "--layer", "9"], "layer=9"),
        (["perplexity", "one"], "Name text with --text or --dataset"),
        (["classification", "one", "--labels", "ids"], "--labels and --parallel belong together"),
        (["tagging", "one", "--train-language", "swa"], "Name labelled sentences with --data"),
        (["table", "ids"], "not valid JSON"),
    ],
)
def test_bad_input_is_one_line(folder, error_of, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    assert message in error_of("evaluate", *arguments)


def test_fine_tuned_tasks(folder, run, capsys):
    pytest.importorskip("seqeval")
    for name in ("topics", "entities"):
        (folder / name).mkdir()
    subject = save_subject(folder / "subject")
    for name in ("eng.train", "eng.dev", "eng.test", "deu.test"):
        write_topics(folder / "topics" / f"{name}.tsv", topic_lines(12, len(name)))
        write_columns(folder / "entities" / f"{name}.conll", entity_sentences(8, len(name)))
    options = ["--epochs", "1", "--cpu", "--head-languages", "xlm-r"]
    for task, data, metric in (("classification", "topics", "macro-F1"), ("tagging", "entities", "F1")):
        arguments = [subject, "--data", folder / data, "--train-language", "eng", *options]
        assert run("evaluate", task, *arguments, "--seed", "1", "--seed", "2", "-o", folder / task) == 0
        found = [item for item in read_json(folder / task / "results.json") if item.metric == metric]
        assert {(item.language, item.seed) for item in found} == {
            (language, seed) for language in ("eng", "deu", "head", "all") for seed in (1, 2)
        }
        values = {(item.language, item.seed): item.value for item in found}
        assert values["all", 1] == values["deu", 1]  # not of the language that was fine-tuned on
    assert "standard deviation over the seeds 1, 2" in capsys.readouterr().out

    other = save_subject(folder / "other")
    (folder / "other" / "model.safetensors").write_bytes(b"torn")
    arguments = [subject, other, "--data", folder / "topics", *options]
    assert run("evaluate", "classification", *arguments, "--seed", "1", "-o", folder / "both") == 1
    kept = read_json(folder / "both-unfinished" / "results.json")
    whole = read_json(folder / "classification" / "results.json")
    assert kept == [item for item in whole if item.seed == 1]
