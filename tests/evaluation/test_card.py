"""Results in the card of a checkpoint."""

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from ofa_transformers.evaluation import Measurement, write_card_results
from ofa_transformers.utils.hub import files_to_push


def measurement(language="deu", value=0.5):
    return Measurement("m", "retrieval (Tatoeba)", language, "top-1 from English", value, data="deu-eng.tsv")


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def test_results_join_the_card_and_replace_older_ones(checkpoint):
    text = "# Title\n\nWords — kept.\n"
    (checkpoint / "README.md").write_text(f"---\nlicense: mit\nmine: [1, 2]\n---\n\n{text}", encoding="utf-8")
    write_card_results(checkpoint, [measurement(), measurement("all", 0.4)])
    path = write_card_results(checkpoint, [measurement(value=0.75)])
    card = ModelCard.load(path)
    assert {result.dataset_name: result.metric_value for result in card.data.eval_results} == {
        "retrieval (Tatoeba), deu": 0.75,
        "retrieval (Tatoeba), mean of languages": 0.4,
    }
    assert card.data.license == "mit" and card.data.mine == [1, 2] and card.data.model_name == "my-model"
    assert card.text.strip() == text.strip()
    assert sorted(file.name for file in checkpoint.iterdir()) == ["README.md", "config.json"]


def test_a_checkpoint_without_card_gets_one(checkpoint):
    card = ModelCard.load(write_card_results(checkpoint, [measurement()]))
    assert len(card.data.eval_results) == 1 and card.data.library_name == "transformers"


def test_what_cannot_be_written_is_refused_and_stays(checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match="not a folder with a model"):
        write_card_results(tmp_path, [measurement()])
    content = "---\nmodel-index: 3\n---\ntext\n"
    (checkpoint / "README.md").write_text(content)
    with pytest.raises(ValueError, match=r"metadata of .*README\.md can't be read"):
        write_card_results(checkpoint, [measurement()])
    assert (checkpoint / "README.md").read_text() == content


def test_results_on_data_sets_of_the_hub_are_where_it_reads_them(checkpoint):
    def on_the_hub(value, language="deu", seed=None):
        data = "mteb/tatoeba-bitext-mining:deu-eng, split test, 1a2b"
        return Measurement("m", "retrieval (Tatoeba)", language, "top-1 from English", value, seed=seed, data=data)

    write_card_results(
        checkpoint, [on_the_hub(0.5, seed=1), on_the_hub(0.7, seed=2), measurement("fra"), measurement("all")]
    )
    write_card_results(checkpoint, [on_the_hub(0.8, "swh")])
    entries = parse_eval_result_entries(yaml.safe_load((checkpoint / ".eval_results" / "ofa.yaml").read_text()))
    assert [(entry.dataset_id, entry.task_id, entry.value) for entry in entries] == [
        ("mteb/tatoeba-bitext-mining", "retrieval (Tatoeba), deu, top-1 from English", 0.6),
        ("mteb/tatoeba-bitext-mining", "retrieval (Tatoeba), swh, top-1 from English", 0.8),
    ]
    assert checkpoint / ".eval_results" / "ofa.yaml" in files_to_push(checkpoint)
