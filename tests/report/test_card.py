"""The model card: metadata that the Hub reads, code that runs, licences that are inherited."""

import json
import re
import shutil

import pytest
import torch
from adapted_models import make_source
from huggingface_hub import EvalResult, ModelCard
from report_inputs import HOSTILE, adapt_hostile, inputs

import ofa_transformers as ofa
from ofa_transformers.report.card import card_of_folder, is_hub_id, model_card, source_license


RESULTS = [
    EvalResult(
        task_type="fill-mask",
        dataset_type="text",
        dataset_name="held-out | text",
        metric_type="loss",
        metric_value=3.25,
    )
]


@pytest.fixture(scope="module")
def adapted():
    return adapt_hostile(embedding_size=12)


@pytest.fixture(scope="module")
def card(adapted, tmp_path_factory) -> ModelCard:
    folder = tmp_path_factory.mktemp("card") / "adapted"
    adapted.save_pretrained(folder, eval_results=RESULTS)
    return ModelCard.load(folder / "README.md")


def test_metadata(card):
    data = card.data.to_dict()
    assert data["library_name"] == "transformers" and data["pipeline_tag"] == "fill-mask"
    assert data["tags"][0] == "ofa"
    assert data["language"] == ["de", "en", "ru"]  # no token of a Thai word is known
    assert "base_model" not in data  # the source's name is no Hub id
    index = data["model-index"][0]["results"][0]
    assert index["metrics"][0]["value"] == 3.25 and index["dataset"]["name"] == "held-out | text"


def test_text_says_how_it_was_made(adapted, card):
    text = card.text
    for expected in (
        "| Seed | 114514 |",
        "| Embedding size | 12, factorized |",
        f"| {adapted.report.reconstruction_error['input']:.3f} of their norm |",
        "| German (deu) |",
        "| fill-mask | held-out \\| text | loss | 3.25 |",
        "factorized to an embedding size of 12",
        "names no licence",
        "@inproceedings{liu-etal-2024-ofa",
        "- Language tha: 2 of 2 words",
    ):
        assert expected in text, expected
    counts = adapted.report.tokens_by_language["deu"]
    uses = adapted.report.use_by_language
    cells = " | ".join(f"{100 * uses['deu'][kind]:.1f}" for kind in ("copied", "composed", "fallback", "unwritten"))
    assert f"| German (deu) | {sum(counts.values())} | {cells} |" in text
    assert uses["tha"]["unwritten"] == 1 and sum(uses["deu"].values()) == pytest.approx(1)


def test_data_in_a_card_is_no_html_and_stays_in_its_cell(card):
    outside_code = re.sub(r"```.*?```|`[^`\n]*`", "", card.text, flags=re.DOTALL)
    assert "<script" not in outside_code and "<img" not in outside_code
    table = card.text.split("## How it was made")[1].split("\n\n")[1]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in table.splitlines())
    assert "&lt;img src=x onerror=" in table


def test_the_code_of_the_card_runs(adapted, card, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    adapted.save_pretrained("path/or/hub-id")
    blocks = re.findall(r"```python\n(.*?)```", card.text, flags=re.DOTALL)
    assert len(blocks) == 3 and "trust_remote_code=True" in blocks[1] and "ofa_transformers" not in blocks[1]
    names: dict = {}
    for block in (blocks[0], blocks[2]):  # the second needs a Python without our package: see tests/hub
        exec(block, names)
    assert type(names["model"]) is ofa.OfaForMaskedLM
    assert type(names["dense"]).__name__ in card.text
    batch = names["tokenizer"]("das Haus", return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(
            names["dense"].eval()(**batch).logits, names["model"].eval()(**batch).logits, atol=1e-4, rtol=1e-4
        )


def test_at_full_size_there_is_one_way_to_load():
    report = adapt_hostile(embedding_size=None).report
    text = model_card(report, repo_id="someone/full").text
    assert text.startswith("\n# full") or text.lstrip().startswith("# full")
    assert text.count("```python") == 1 and "trust_remote_code" not in text and "someone/full" in text


def test_base_model_and_licence_come_from_the_source(tmp_path):
    source_tokenizer, target_tokenizer, vectors = inputs()
    folder = tmp_path / "source"
    make_source("roberta", source_tokenizer).save_pretrained(folder)
    source_tokenizer.save_pretrained(folder)
    metadata = "license: other\nlicense_name: my-licence\nlicense_link: LICENSE"
    (folder / "README.md").write_text(f"---\n{metadata}\n---\n# Source\n")
    result = ofa.OfaInitializer.from_pretrained(folder, target_tokenizer=target_tokenizer, word_vectors=vectors)
    data = model_card(result.report).data
    assert (data.license, data.license_name, data.license_link) == ("other", "my-licence", "LICENSE")
    assert str(tmp_path) not in str(model_card(result.report))  # nobody else's concern
    result.report.source["name"] = "FacebookAI/xlm-roberta-base"
    card = model_card(result.report)
    assert card.data.base_model == "FacebookAI/xlm-roberta-base"
    assert "[FacebookAI/xlm-roberta-base](https://huggingface.co/FacebookAI/xlm-roberta-base)" in card.text
    assert "Inherited from the source: my-licence." in card.text
    # Through JSON and back, as `ofa push` of an older folder would have it.
    assert json.loads(json.dumps(result.report.to_dict()))["source"]["license"]["license_name"] == "my-licence"


@pytest.mark.parametrize(
    "content", [None, "no metadata", "---\nlicense: [a, b\n---\n", "---\nlicense:\n- mit\n- bsd\n---\n"]
)
def test_a_card_that_says_nothing_is_no_error(content, tmp_path):
    if content is not None:
        (tmp_path / "README.md").write_text(content)
    assert source_license(tmp_path, str(tmp_path), {}) == {}


def test_a_licence_that_cannot_be_reached_is_no_error(tmp_path):
    assert source_license("someone/not-cached", "someone/not-cached", {"cache_dir": str(tmp_path)}) == {}
    assert source_license(object(), "RobertaForMaskedLM", {}) == {}
    assert source_license("x", HOSTILE[1], {}) == {}


@pytest.mark.parametrize(
    ("name", "class_name", "expected"),
    [
        ("FacebookAI/xlm-roberta-base", "", True),
        ("gpt2", "", True),
        ("RobertaForMaskedLM", "RobertaForMaskedLM", False),
        ("/somewhere/model", "", False),
        ("a/b/c", "", False),
        ("../model", "", False),
    ],
)
def test_names_on_the_hub(name, class_name, expected):
    assert is_hub_id(name, class_name) is expected


def test_a_folder_named_like_a_hub_id_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "someone" / "model").mkdir(parents=True)
    assert not is_hub_id("someone/model")
    shutil.rmtree(tmp_path / "someone")
    assert is_hub_id("someone/model")


def test_a_model_trained_on_with_a_plain_trainer_gets_a_card(adapted, tmp_path):
    folder = tmp_path / "my-continued"
    adapted.model.save_pretrained(folder)
    adapted.tokenizer.save_pretrained(folder)
    found = card_of_folder(folder)
    assert found.data.library_name == "transformers" and found.data.tags == ["ofa"]
    assert found.data.pipeline_tag == "fill-mask" and found.data.model_name == "my-continued"
    assert "embeddings factorized to a size of 12" in found.text
    assert 'AutoTokenizer.from_pretrained("path/or/hub-id", trust_remote_code=False)' in found.text
    adapted.report.save(folder / "ofa_report.json")
    assert "## How it was made" in card_of_folder(folder).text
