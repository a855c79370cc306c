"""What is trained on, chosen by, and tested on."""

import pytest

from ofa_transformers.text.labelled import splits
from ofa_transformers.text.labelled.examples import Examples, LabelledData
from ofa_transformers.text.labelled.splits import choose_splits


def examples(name: str, count: int = 20) -> Examples:
    return Examples([f"{name} {n}" for n in range(count)], ["x"] * count, name, list(range(1, count + 1)))


@pytest.fixture
def data():
    return LabelledData(
        "classification",
        "some",
        {
            "eng": {"train": examples("train"), "dev": examples("dev")},
            "deu": {"test": examples("test")},
            "fra": {"train": examples("other", 5), "test": examples("test")},
        },
    )


def test_all_languages_with_a_test_are_tested_on(data):
    chosen = choose_splits(data, "classification", "eng")
    assert (chosen.train.origin, chosen.dev.origin, list(chosen.tests)) == ("train", "dev", ["deu", "fra"])
    assert list(choose_splits(data, "classification", "eng", languages=["fra"]).tests) == ["fra"]


def test_languages_go_by_name_or_code():
    train, test = {"train": examples("train"), "test": examples("eng")}, {"test": examples("test")}
    data = LabelledData("classification", "some", {"eng_Latn": train, "zho_Hans": test, "zho_Hant": test, "zho": test})
    assert data.find("eng") == ["eng_Latn"] and data.find("zho_Hant") == ["zho_Hant"] and data.find("zho") == ["zho"]
    del data.examples["zho"]
    chosen = choose_splits(data, "classification", "eng", languages=["eng", "zho"])
    assert chosen.train.origin == "train" and list(chosen.tests) == ["eng_Latn", "zho_Hans", "zho_Hant"]
    with pytest.raises(ValueError, match="several languages 'zho': zho_Hans, zho_Hant; name one"):
        choose_splits(data, "classification", "zho")


def test_a_tenth_is_held_out_where_there_is_no_dev(data, monkeypatch):
    said = []
    monkeypatch.setattr(splits.logger, "warning", said.append)
    first, second = (choose_splits(data, "classification", "eng", dev_split="train") for _ in range(2))
    assert (len(first.train), len(first.dev)) == (18, 2) and first == second
    assert sorted(first.train.inputs + first.dev.inputs) == sorted(examples("train").inputs)
    assert "2 of the 20 training sentences of eng are held out" in said[0]
    with pytest.raises(ValueError, match="5 training sentences are too few"):
        choose_splits(data, "classification", "fra", test_split="dev", languages=["eng"], dev_split="valid")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "tagging"}, "read for classification, but this is tagging"),
        ({"train_language": "swa"}, "has no language 'swa', but eng, deu, fra"),
        ({"train_language": "deu"}, "has no 'train' split of 'deu', but test"),
        ({"languages": ["eng"]}, "has no 'test' split of 'eng', but train, dev"),
        ({"languages": []}, "has no language to test on"),
        ({"test_split": "dev"}, "test_split='dev' is also trained on or chosen by"),
        ({"dev_split": "valid", "test_split": "train"}, "test_split='train' is also trained on"),
    ],
)
def test_what_is_not_there_is_named(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        choose_splits(data, **{"kind": "classification", "train_language": "eng", **arguments})


def test_labels_that_were_not_trained_on_are_named(data):
    data.examples["fra"]["test"].labels[3] = "y"
    with pytest.raises(ValueError, match="test, line 4: the label 'y' is not one of the labels of train, which has x"):
        choose_splits(data, "classification", "eng").check_labels(["x"])
