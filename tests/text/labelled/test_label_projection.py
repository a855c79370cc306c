"""Labels by id onto parallel text."""

import gzip

import pytest

from ofa_transformers.text.labelled import projection as label_projection
from ofa_transformers.text.labelled.projection import project_labels


VERSES = "id\tlabel\tsplit\nv1\tSin\ttrain\nv2\tFaith\tdev\nv3\tFaith\ttest\n"


@pytest.fixture
def parallel(tmp_path):
    """Three languages, one with a verse too few, and a second English text."""
    folder = tmp_path / "bible"
    folder.mkdir()
    for name in ("eng_Latn", "eng_Latn-KJV", "swh_Latn"):
        lines = "".join(f"v{number}\t{name} {number}\n" for number in range(1, 5))
        (folder / f"{name}.tsv.gz").write_bytes(gzip.compress(lines.encode()))
    (folder / "pot_Latn.tsv").write_text("v1\tpot 1\nv2\t \n")
    (folder / "split_test.tsv").write_text("verse_id\nv1\n")
    return folder


def test_labels_are_projected_by_id(tmp_path, parallel, monkeypatch):
    warnings = []
    monkeypatch.setattr(label_projection.logger, "warning", warnings.append)
    labels = tmp_path / "labels.tsv"
    labels.write_text(VERSES)
    data = project_labels(labels, parallel)
    assert data.kind == "classification" and data.languages == ["eng_Latn", "swh_Latn"]
    assert data.get("swh_Latn", "test").inputs == ["swh_Latn 3"] and data.get("swh_Latn", "test").labels == ["Faith"]
    assert data.get("swh_Latn", "dev").lines == [3]
    assert data.get("eng_Latn", "train").data.startswith("labels.tsv (sha256 ")
    assert warnings == ["Without labelled texts in each split, and left out: pot_Latn"]
    assert project_labels(labels, parallel, languages=["swh", "eng"]).languages == ["swh_Latn", "eng_Latn"]
    named = project_labels(labels, parallel, languages=["eng_Latn-KJV", "eng_Latn"])
    assert named.languages == ["eng_Latn-KJV", "eng_Latn"]
    mapped = project_labels(labels, {"English": parallel / "eng_Latn.tsv.gz"})
    assert mapped.languages == ["English"]


def test_projection_names_what_is_wrong(tmp_path, parallel):
    labels = tmp_path / "labels.tsv"
    for text, message in (
        (VERSES.replace("split", "part"), "the first line must name the columns.*split is missing"),
        (VERSES.replace("v2\tFaith", "v2"), "line 3: expected id, label, split, but found"),
        (VERSES.replace("dev", "heldout"), "line 3: 'heldout' is none of the splits train, dev"),
        (VERSES + "v1\tFaith\ttest\n", "line 5: 'v1' has a label already, in line 2"),
        ("id\tlabel\tsplit\n", "labels.tsv has no labels"),
        (VERSES.replace("v1", "x1"), "No text in .* has the ids of"),
    ):
        labels.write_text(text)
        with pytest.raises(ValueError, match=message):
            project_labels(labels, parallel)
    labels.write_text(VERSES)
    with pytest.raises(ValueError, match=r"pot_Latn\.tsv has no text for any of the dev, test segments"):
        project_labels(labels, parallel, languages=["pot_Latn"])
    with pytest.raises(ValueError, match="has no file of deu_Latn; it has eng_Latn, pot_Latn, swh_Latn"):
        project_labels(labels, parallel, languages=["deu_Latn"])
    with pytest.raises(FileNotFoundError, match="folder of parallel text"):
        project_labels(labels, tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.tsv are not there"):
        project_labels(tmp_path / "nowhere.tsv", parallel)


def test_projects_the_real_labels(shared):
    taxi = project_labels(
        shared / "data/taxi1500/labels.tsv", shared / "data/bible", languages=["eng_Latn", "swh_Latn"]
    )
    assert [len(taxi.get("eng_Latn", split)) for split in ("train", "dev", "test")] == [860, 106, 111]
    assert taxi.get("swh_Latn", "test").label_set() == taxi.get("eng_Latn", "train").label_set()
