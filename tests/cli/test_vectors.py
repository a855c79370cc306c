"""`ofa vectors`."""

import gzip
import json
import re
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from ofa_transformers import WordVectors
from ofa_transformers.cli import app


runner = CliRunner()
CONCEPTS, SEGMENTS = 60, 160


def run(*arguments):
    result = runner.invoke(app, ["vectors", *map(str, arguments)], env={"COLUMNS": "160"})
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Parallel text of a made-up world in three languages, a dictionary, and a list of ids kept apart."""
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    concepts = [rng.choice(CONCEPTS, size=6, replace=False) for _ in range(SEGMENTS)]
    for language in ("eng", "deu", "swh"):
        lines = [
            f"s{i}\t{' '.join(f'{language}w{c}' for c in rng.permutation(held))}" for i, held in enumerate(concepts)
        ]
        (folder / f"{language}_Latn.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    packed = folder / "swh_Latn.tsv"
    (folder / "swh_Latn.tsv.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    (folder / "test-ids.txt").write_text("".join(f"s{i}\n" for i in range(0, SEGMENTS, 8)))
    (folder / "deu-eng.txt").write_text("".join(f"deuw{c} engw{c}\n" for c in range(CONCEPTS)))
    (folder / "zul-eng.txt").write_text("".join(f"zulw{c} engw{c}\n" for c in range(CONCEPTS)))
    return folder


@pytest.fixture(scope="module")
def built(folder):
    arguments = ["--exclude", folder / "test-ids.txt", "--dim", 30, "--min-count", 1]
    output = run("build", folder / "*_Latn.tsv*", *arguments, "-o", folder / "vectors")
    assert re.match(r"\d+ words of 3 languages, 30 dimensions: ", output)
    return folder / "vectors"


def test_build_is_from_parallel(folder, built):
    expected = WordVectors.from_parallel(
        sorted(folder.glob("*_Latn.tsv*")), dim=30, min_count=1, exclude=folder / "test-ids.txt"
    )
    vectors = WordVectors.load(built)
    assert list(vectors.words) == list(expected.words)
    np.testing.assert_array_equal(vectors.vectors, expected.vectors)


def test_build_takes_named_languages(folder, tmp_path):
    named = tmp_path / "text.tsv"
    named.write_bytes((folder / "deu_Latn.tsv").read_bytes())
    run("build", f"nds={named}", folder / "eng_Latn.tsv", "--dim", 10, "--keep-case", "-o", tmp_path / "out")
    assert set(WordVectors.load(tmp_path / "out").language_counts()) == {"nds", "eng"}


def test_info(built, tmp_path):
    output = run("info", built, "--verify", "--json", tmp_path / "i.json")
    assert "30 dimensions, 3 languages" in output and "origin: parallel text" in output and "deu 60" in output
    facts = json.loads((tmp_path / "i.json").read_text())
    assert (
        facts["dimension"] == 30
        and facts["metadata"]["excluded_segments"] == 20
        and sum(facts["languages"].values()) == 180
    )


def test_evaluate(folder, built, tmp_path):
    arguments = ["evaluate", built, folder / "*_Latn.tsv*", "--segments", folder / "test-ids.txt"]
    arguments += ["--dictionary", folder / "deu-eng.txt", "--json", tmp_path / "e.json"]
    output = run(*arguments)
    assert "retrieval, per cent" in output and "lexicon induction, per cent" in output
    results = json.loads((tmp_path / "e.json").read_text())
    retrieval = {row["language"]: row for row in results["retrieval"]["rows"]}
    assert set(retrieval) == {"deu", "swh"}
    assert retrieval["swh"]["segments"] == 20 and retrieval["swh"]["to_top1"] > 0.5
    (lexicon,) = results["lexicon induction"]["rows"]
    assert (lexicon["source"], lexicon["target"], lexicon["judged"]) == ("deu", "eng", 60)
    assert lexicon["cosine_top1"] > 0.5
    assert f"{100 * lexicon['cosine_top1']:.1f}" in output
    markdown = run(*arguments[:-2], "--markdown")
    assert "| deu | 20 |" in markdown and "| --- | ---: |" in markdown


def test_dictionary_adds_words_and_keeps_some_apart(folder, built, tmp_path):
    run("dictionary", folder / "zul-eng.txt", "-v", built, "--held-out", 0.25, "-o", tmp_path / "more")
    counts = WordVectors.load(tmp_path / "more").language_counts()
    assert counts["zul"] == 45 and counts["eng"] == 60
    output = run("evaluate", tmp_path / "more", "-d", folder / "zul-eng.txt", "--rename", "zul=zul")
    assert re.search(r"zul +eng +60 +45 ", output)
    run("dictionary", folder / "zul-eng.txt", folder / "deu-eng.txt", "--dim", 8, "-o", tmp_path / "graph")
    assert WordVectors.load(tmp_path / "graph").dimension == 8


def test_align(folder, built, tmp_path):
    vectors = WordVectors.load(built)
    german = vectors.subset(vectors.select("deu"))
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((30, 30)))[0]
    turned = WordVectors(german.words, german.languages, german.vectors @ rotation, german.frequencies)
    turned.save(tmp_path / "german")
    arguments = ["align", tmp_path / "german", built, "-d", folder / "deu-eng.txt"]
    output = run(*arguments, "--held-out", 0.2, "-o", tmp_path / "aligned")
    assert "60 entries; 12 words held out, 60 eng candidates" in output
    assert "dictionary: top 1 / top 5 by cosine" in output
    aligned = WordVectors.load(tmp_path / "aligned")
    row = list(vectors.words).index(aligned.words[0])
    assert aligned.vectors[0] @ vectors.vectors[row] > 0.8


def test_convert(tmp_path):
    (tmp_path / "wiki.multi.de.vec").write_text("2 2\nhaus 1 0\nmaus 0 1\n")
    run("convert", tmp_path / "wiki.multi.de.vec", "--frequencies", "none", "-o", tmp_path / "out")
    vectors = WordVectors.load(tmp_path / "out")
    assert list(zip(vectors.languages, vectors.words)) == [("deu", "haus"), ("deu", "maus")]
    assert vectors.frequencies is None


def test_push_uploads_what_save_writes(built, monkeypatch):
    pushed = {}
    monkeypatch.setattr(
        WordVectors,
        "push_to_hub",
        lambda self, repo_id, **options: pushed.update(options, repo_id=repo_id, metadata=self.metadata) or "address",
    )
    assert run("push", built, "me/mine", "--license", "cc-by-4.0", "--private").strip() == "Pushed: address"
    assert pushed["repo_id"] == "me/mine" and pushed["private"] is True and pushed["revision"] is None
    assert pushed["metadata"]["license"] == "cc-by-4.0" and pushed["metadata"]["dim"] == 30


def test_a_missing_extra_is_named(folder, tmp_path, monkeypatch, error_of):
    monkeypatch.setitem(sys.modules, "icu4py", None)
    arguments = ["vectors", "build", folder / "eng_Latn.tsv", "--segmentation", "words", "-o", tmp_path / "out"]
    assert "ofa-transformers[segmentation]" in error_of(*arguments)


def test_the_example_of_build_is_valid(folder, tmp_path, monkeypatch):
    help_text = " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", "", run("build", "--help")).split())
    example = re.search(r"Example: (ofa vectors .*?) (?:Arguments|Options|\*)", help_text)[1]
    monkeypatch.chdir(folder)
    run(*example.split()[2:-2], "--dim", 5, "-o", tmp_path / "out")
