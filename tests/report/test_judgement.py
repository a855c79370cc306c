"""The first screen of the report: what it says of an adaptation."""

import dataclasses

import pytest
from report_inputs import adapt_hostile

from ofa_transformers.report.judgement import judge


@pytest.fixture(scope="module")
def report():
    found = adapt_hostile(embedding_size=12).report
    good = {
        "tokens": {"copied": 600, "composed": 390, "fallback": 5, "special": 5},
        "word_vectors": {"languages": {"deu": 9000, "swh": 8000}, "unused": {}},
        "reconstruction_error": {"input": 0.2},
        "figures": {"similarity": {"median": 0.7}},
        "proof": {"tokens": 28, "difference": 1e-7},
        "warnings": [],
    }
    return dataclasses.replace(found, **good)


def test_what_fits(report):
    judgement = judge(report)
    assert judgement.verdict == "Ready to train." and not judgement.worries
    said = " ".join(judgement.fits)
    assert "99% of 1,000 tokens start from what the source knows: 600 copied, 390 composed" in said
    assert "German, Swahili" in said and "cosine 0.70" in said and "28 copied tokens" in said
    assert [step.command.split()[1] for step in judgement.steps] == ["pretrain", "evaluate"]


@pytest.mark.parametrize(
    ("changes", "worry"),
    [
        (
            {"word_vectors": {"languages": {"deu": 9000, "ewe": 812}}},
            "Short text: few words have vectors in Ewe (812)",
        ),
        (
            {"word_vectors": {"languages": {"deu": 9000}, "unused": {"deu": 900}}},
            "the tokenizer can't write some words of German (10%)",
        ),
        ({"figures": {"similarity": {"median": 0.1}}}, "nearer than a cosine of 0.10"),
        ({"reconstruction_error": {"input": 0.6}}, "loses 0.60 of the embeddings' norm. At 0.68, top-1 retrieval"),
        ({"tokens": {"copied": 500, "composed": 300, "fallback": 195, "special": 5}}, "20% of the tokens"),
        ({"warnings": ["1,200 words fall together"]}, "1,200 words fall together"),
    ],
)
def test_what_to_worry_about(report, changes, worry):
    judgement = judge(dataclasses.replace(report, **changes))
    assert judgement.verdict == "Ready to train, with one point to look at first."
    assert len(judgement.worries) == 1 and worry in judgement.worries[0]


def test_most_rows_drawn_is_no_start(report):
    tokens = {"copied": 100, "composed": 100, "fallback": 795, "special": 5}
    assert judge(dataclasses.replace(report, tokens=tokens)).verdict.startswith("No good start")


def test_what_to_do_next_is_what_the_model_can(report):
    decoder = dataclasses.replace(report, target={**report.target, "class": "LlamaForCausalLM"})
    assert "--causal" in judge(decoder).steps[0].command
    tagger = dataclasses.replace(report, target={**report.target, "class": "BertForTokenClassification"})
    assert [step.command.split()[1] for step in judge(tagger).steps] == ["evaluate"]
    encoder = dataclasses.replace(report, target={**report.target, "class": "OfaModel"})
    assert judge(encoder).steps[0].command.startswith("ofa pretrain adapted --parallel bible/ ")


def test_an_old_report_is_judged_by_what_it_has(report):
    old = dataclasses.replace(report, figures={}, proof={}, reconstruction_error=None, word_vectors={})
    assert judge(old).verdict == "Ready to train."
