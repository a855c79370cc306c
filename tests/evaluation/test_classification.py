"""Classification of texts, fine-tuned on one language."""

import pytest
from labelled_corpora import save_subject, topic_lines, write_topics

from ofa_transformers.evaluation.classification import evaluate_classification
from ofa_transformers.text.labelled.files import read_labelled_files


SETTINGS = {"epochs": 10, "batch_size": 8, "learning_rate": 5e-3, "device": "cpu"}


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return save_subject(tmp_path_factory.mktemp("subject"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """English, another language whose fillers are unknown, and one whose labels are wrong."""
    folder = tmp_path_factory.mktemp("topics")
    write_topics(folder / "eng.train.tsv", topic_lines(90, 0))
    write_topics(folder / "eng.dev.tsv", topic_lines(30, 1))
    write_topics(folder / "eng.test.tsv", topic_lines(60, 2))
    write_topics(folder / "deu.test.tsv", topic_lines(60, 3, prefix="x"))
    shuffled = topic_lines(60, 4)
    labels = [label for _, label in shuffled[1:] + shuffled[:1]]
    write_topics(folder / "swa.test.tsv", [(text, label) for (text, _), label in zip(shuffled, labels)])
    return read_labelled_files([folder], "classification")


def test_learns_on_one_language_and_is_tested_on_all(subject, data):
    found = evaluate_classification([subject], data, train_language="eng", seeds=[1], **SETTINGS)
    values = {(item.language, item.metric): item.value for item in found}
    assert len(found) == 6 and {item.seed for item in found} == {1} and {item.size for item in found} == {60}
    assert values["eng", "macro-F1"] > 0.9 and values["eng", "accuracy"] > 0.9  # chance is a third
    assert values["deu", "macro-F1"] > 0.7
    assert values["swa", "macro-F1"] < 0.1  # every label is the one before
    for item in found:
        assert item.low <= item.value <= item.high
        assert item.task.startswith("classification (topics")
        assert item.data.startswith(f"{item.language}.test.tsv (sha256 ")
        assert "; fine-tuned on eng.train.tsv (sha256 " in item.data


def test_the_same_seed_gives_the_same_numbers_and_each_model_its_own(subject, data, tmp_path):
    other = save_subject(tmp_path / "other", seed=1)
    settings = {**SETTINGS, "epochs": 1, "learning_rate": 1e-3, "languages": ["eng"]}
    first = evaluate_classification([subject, other], data, train_language="eng", seeds=[1, 2], **settings)
    again = evaluate_classification([other], data, train_language="eng", seeds=[2], **settings)
    runs = {
        (item.model, item.seed): [i.value for i in first if (i.model, i.seed) == (item.model, item.seed)]
        for item in first
    }
    assert len({tuple(values) for values in runs.values()}) > 2
    assert [item.value for item in again] == runs[other, 2]


def test_errors_come_before_training(subject, data, tmp_path):
    def evaluate(models=(subject,), train_language="eng", **options):
        evaluate_classification(models, data, train_language=train_language, **{**SETTINGS, **options})

    with pytest.raises(
        ValueError, match=r"deu\.test\.tsv, line 3: the label 'Sin' is not one of .*eng\.train\.tsv, which has Faith"
    ):
        lines = [line for line in topic_lines(30, 0) if line[1] == "Faith"]
        write_topics(tmp_path / "eng.train.tsv", lines)
        write_topics(tmp_path / "eng.dev.tsv", lines)
        write_topics(tmp_path / "deu.test.tsv", topic_lines(30, 0))
        evaluate_classification([subject], read_labelled_files([tmp_path], "classification"), train_language="eng")
    with pytest.raises(ValueError, match="has no language 'fra'"):
        evaluate(train_language="fra")
    with pytest.raises(ValueError, match=r"models=\(\) must be a list"):
        evaluate(models=())
    with pytest.raises(ValueError, match="must be a list"):
        evaluate(models=subject)
    with pytest.raises(OSError, match="nowhere"):
        evaluate(models=[subject, str(tmp_path / "nowhere")])
    with pytest.raises(ValueError, match="seeds is empty"):
        evaluate(seeds=[])
    for name in ("epochs", "learning_rate", "batch_size", "max_length"):
        with pytest.raises(ValueError, match=f"{name}=0 must be positive"):
            evaluate(**{name: 0})
    with pytest.raises(ValueError, match="device='tpu' must be 'cpu' or 'cuda'"):
        evaluate(device="tpu")
    with pytest.raises(TypeError, match="lr"):
        evaluate(lr=1)


def test_texts_are_judged_by_their_beginning(tmp_path, subject):
    """With three tokens, one is left between the special ones: the topic is told where it comes first."""
    front = [("believe went", "Faith"), ("sword went", "Violence")] * 20
    for split, lines in (("train", front), ("dev", front), ("test", front)):
        write_topics(tmp_path / f"eng.{split}.tsv", lines)
    write_topics(tmp_path / "deu.test.tsv", [(f"{text} {text}", label) for text, label in front])
    write_topics(tmp_path / "fra.test.tsv", [(f"the {text}", label) for text, label in front])
    data = read_labelled_files([tmp_path], "classification")
    found = evaluate_classification([subject], data, train_language="eng", max_length=3, **SETTINGS)
    values = {item.language: item.value for item in found if item.metric == "accuracy"}
    assert values == {"deu": 1.0, "eng": 1.0, "fra": 0.5}
