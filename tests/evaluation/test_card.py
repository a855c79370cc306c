"""Results in the card of a checkpoint."""

import pytest
from huggingface_hub import ModelCard

from ofa_transformers.evaluation import Measurement, write_card_results


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
