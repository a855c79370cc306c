"""Methods compared on one's own text."""

import csv
import gzip
import json
import re

import pytest
from adapted_models import make_source
from conftest import TEXT
from transformers import AutoModel
from typer.testing import CliRunner

from ofa_transformers import OfaInitializer, WordVectors
from ofa_transformers.cli import app
from ofa_transformers.cli.compare import named_arm, settings_by_method
from ofa_transformers.initialization import initializer as initializer_module
from ofa_transformers.initialization import inputs as inputs_module
from ofa_transformers.text.parallel import ParallelText
from ofa_transformers.workflows import Board, Comparison, compare, costs
from ofa_transformers.workflows.costs import comparison_seconds


LINES = {
    "deu": [f"{line} {number}" for number in range(3) for line in TEXT[:10]],
    "swh": [f"{line} {number}" for number in range(3) for line in TEXT[10:20]],
}
PAIRS = [
    ParallelText(name, lines, [f"{line} x" for line in LINES["deu"][: len(lines)]], "made up")
    for name, lines in LINES.items()
]


@pytest.fixture
def inputs(tmp_path, tiny_tokenizers, word_vectors):
    make_source("xlm-roberta", tiny_tokenizers["unigram"]).save_pretrained(tmp_path / "source")
    tiny_tokenizers["unigram"].save_pretrained(tmp_path / "source")
    tiny_tokenizers["wordpiece"].save_pretrained(tmp_path / "target")
    word_vectors.save(tmp_path / "vectors")
    assert len(WordVectors.load(tmp_path / "vectors"))
    return {
        "source": str(tmp_path / "source"),
        "target_tokenizer": str(tmp_path / "target"),
        "word_vectors": str(tmp_path / "vectors"),
    }


def comparison(inputs, **options) -> Comparison:
    given = {"methods": ["ofa", "random"], "max_texts": 4, "max_pairs": 6, "parallel": PAIRS, **options}
    return Comparison(**inputs, text=LINES, **given)


def test_a_damaged_cell_is_named(inputs, tmp_path):
    chosen = comparison(inputs, methods=["mean"], parallel=())
    compare(chosen, tmp_path / "board")
    cell = tmp_path / "board" / "cells" / "mean-0.json"
    cell.write_text(cell.read_text().replace('"layer"', '"layerx"'))
    with pytest.raises(ValueError, match="cells holds cells that are none; remove them"):
        compare(chosen, tmp_path / "board")


def test_without_translations_and_with_a_damaged_tokenizer(inputs, tmp_path):
    assert comparison_seconds(comparison(inputs, parallel=())) > 0
    (tmp_path / "target" / "tokenizer.json").write_text('{"model": 5}')
    with pytest.raises(ValueError, match=r"target_tokenizer: no tokenizer could be loaded from .*target"):
        comparison_seconds(comparison(inputs))


def test_what_a_method_trains_on_is_in_the_prediction(inputs, monkeypatch):
    monkeypatch.setattr(costs._Trial, "seconds", lambda *_: (2.0, 0.01))
    monkeypatch.setattr(costs, "update_seconds", lambda _: 1.0)
    few, many = ({"fitted": {"steps": steps, "batch_size": 10}} for steps in (1, 2))
    chosen = [comparison(inputs, methods=["fitted"], method_settings=settings) for settings in (few, many)]
    held = [line for lines in chosen[0].held_lines.values() for line in lines]
    tokens = chosen[0].tokenizer(held, add_special_tokens=False)["input_ids"]
    mean = sum(map(len, tokens)) / len(held)
    one, two = map(comparison_seconds, chosen)
    assert two - one == pytest.approx(10 * mean * 0.01 * (1 + costs._FORWARD))
    trained = comparison(inputs, methods=["fitted"], method_settings=few, steps=[0, 5])
    twice = comparison(inputs, methods=["fitted"], method_settings=few, steps=[0, 10])
    assert comparison_seconds(twice) - comparison_seconds(trained) == pytest.approx(15.0)


def test_a_sentence_encoder_and_a_decoder_have_a_prediction(inputs, tmp_path, tiny_tokenizers):
    make_source("gpt2", tiny_tokenizers["byte_bpe"]).save_pretrained(tmp_path / "decoder")
    tiny_tokenizers["byte_bpe"].save_pretrained(tmp_path / "decoder")
    decoder = {**inputs, "source": str(tmp_path / "decoder"), "target_tokenizer": str(tmp_path / "decoder")}
    assert comparison_seconds(comparison(decoder, steps=[0, 2])) > 0
    AutoModel.from_pretrained(tmp_path / "source").save_pretrained(tmp_path / "source")
    assert comparison_seconds(comparison(inputs)) > 0


def test_settings_of_methods_reach_them_and_the_winner(inputs, tmp_path):
    chosen = comparison(inputs, methods=["mixture"], method_settings={"mixture": {"parts": {"random": 1.0}}})
    board = compare(chosen, tmp_path / "board")
    assert board.candidates["mixture"]["method_settings"] == {"parts": {"random": 1.0}}
    with pytest.raises(ValueError, match="holds a comparison with other method_settings"):
        compare(comparison(inputs, methods=["mixture"]), tmp_path / "board")
    with pytest.raises(ValueError, match="method='ofa' has no setting atoms"):
        comparison(inputs, method_settings={"ofa": {"atoms": 3}})
    with pytest.raises(ValueError, match="method_settings has fvt, which isn't among the methods"):
        comparison(inputs, method_settings={"fvt": {}})


def test_arms_are_candidates_of_any_settings(inputs, tmp_path):
    arms = {"flat": {"temperature": 5.0}, "small": {"embedding_size": 8, "primitives": "source"}}
    chosen = comparison(inputs, methods=["ofa"], arms=arms)
    board = compare(chosen, tmp_path / "board")
    assert list(board.cells) == ["ofa", "flat", "small"]
    bits = [board.score(name, "bits per character", 0).value for name in board.cells]
    assert len(set(bits)) == 3
    alone = compare(comparison(inputs, methods=[], arms=arms), tmp_path / "alone")
    assert [alone.score(name, "bits per character", 0).value for name in arms] == bits[1:]
    more = {"warm": {"temperature": 1.0}}
    joined = compare(comparison(inputs, methods=["ofa"], arms=more), tmp_path / "board")
    assert list(joined.cells) == ["ofa", "warm"]
    assert set(json.loads((tmp_path / "board" / "comparison.json").read_text())["arms"]) == {*arms, *more}
    with pytest.raises(ValueError, match="holds a comparison with other arms"):
        compare(comparison(inputs, methods=["ofa"], arms={"warm": {"temperature": 2.0}}), tmp_path / "board")
    adapted = OfaInitializer.from_pretrained(
        **inputs, target_text=[line for lines in chosen.training_lines.values() for line in lines], **arms["small"]
    )
    assert adapted.report.settings["primitives"] == "source"
    for arms, message in (
        ({"ofa": {}}, "'ofa' can't be a name"),
        ({"a/b": {}}, "can't be a name"),
        ({"a": {"target_tokenizer": "b"}}, "a sets target_tokenizer, which"),
        ({"a": {"method": "omp"}}, "method='omp' needs"),
        ({"a": {"temperature": 0}}, "temperature"),
    ):
        with pytest.raises(ValueError, match=message):
            comparison(inputs, methods=["ofa"], arms=arms)


@pytest.mark.parametrize("given", ["x", ":a=1", "x:a"])
def test_an_arm_has_a_name_and_settings(given):
    with pytest.raises(ValueError, match=r"must be (NAME:SETTING|NAME)=VALUE"):
        named_arm(given)
    assert named_arm("no offset:language_offset=0, method=ofa") == (
        "no offset",
        {"language_offset": 0, "method": "ofa"},
    )


@pytest.mark.parametrize("given", ["fitted=3", "start=fvt", "fitted.start"])
def test_a_setting_of_a_method_names_both(given):
    with pytest.raises(ValueError, match=r"must be (METHOD\.)?NAME=VALUE"):
        settings_by_method([given])
    found = settings_by_method(["fitted.start=fvt", "fitted.steps=3", "omp.atoms=8"])
    assert found == {"fitted": {"start": "fvt", "steps": 3}, "omp": {"atoms": 8}}


def test_cells_are_measured_before_and_after_training_and_kept(inputs, tmp_path, monkeypatch):
    chosen = comparison(inputs, steps=[0, 3], sizes=[None, 8])
    board = compare(chosen, tmp_path / "board")
    assert list(board.cells) == ["ofa", "ofa, 8", "random", "random, 8"]
    assert board.steps == [0, 3] and board.languages == ["deu", "swh"]
    assert board.measures == ["bits per character", "top-1", "top-1, centred"]
    for name in board.cells:
        before, after = (board.score(name, "bits per character", steps) for steps in (0, 3))
        assert before.low <= before.value <= before.high and before.value != after.value
        assert 0 <= board.score(name, "top-1", 0).value <= 1
    ranked = board.ranked("bits per character", 3)
    values = [board.score(name, "bits per character", 3).value for name in ranked]
    assert values == sorted(values) and board.best == ranked[0]
    rows = list(csv.DictReader((tmp_path / "board" / "board.csv").open(encoding="utf-8")))
    assert {row["metric"] for row in rows} == {"bits per character", "loss", "top-1", "top-1, centred"}
    page = (tmp_path / "board" / "board.html").read_text(encoding="utf-8")
    assert (
        page.count('class="interval"') == 4 * 2 * 3
        and page.count("<svg") == 3
        and "What to choose" in page
        and "http:" not in page
    )
    # What is there isn't computed again, what is missing alone is.
    (tmp_path / "board" / "cells" / "random-0.json").unlink()
    made = []
    monkeypatch.setattr(
        "ofa_transformers.workflows.cells.OfaInitializer.from_pretrained",
        lambda *args, method, _real=OfaInitializer.from_pretrained, **options: (
            made.append(method),
            _real(*args, method=method, **options),
        )[1],
    )
    again = compare(comparison(inputs, steps=[0, 3], sizes=[None, 8]), tmp_path / "board")
    assert made == ["random"]
    assert (
        again.cells["random"][0]["measured"] == board.cells["random"][0]["measured"]
    )  # the same seed, the same result
    with pytest.raises(ValueError, match="comparison with other max_texts; name another folder"):
        compare(comparison(inputs, steps=[0, 3], max_texts=5), tmp_path / "board")
    assert Board.load(tmp_path / "board").best == board.best


def test_what_is_held_out_is_neither_trained_on_nor_given_to_methods(inputs):
    chosen = comparison(inputs)
    held = {line for lines in chosen.held_lines.values() for line in lines}
    held |= {line for text in chosen.held_pairs for line in (*text.texts, *text.translations)}
    assert len(chosen.held_lines["deu"]) == 4 and len(chosen.held_pairs[0]) == 6
    trained = {line for lines in chosen.training_lines.values() for line in lines}
    assert trained and not trained & held
    assert chosen.training_pairs and not {line for pair in chosen.training_pairs for line in pair} & held


def test_text_is_read_once_and_sizes_share_a_mapping(inputs, tmp_path, monkeypatch):
    def counted(place, calls):
        real = getattr(*place)
        monkeypatch.setattr(*place, lambda *args, **options: (calls.append(1), real(*args, **options))[1])

    texts, mappings = [], []
    counted((inputs_module, "read_target_text"), texts)
    counted((initializer_module, "make_mapping"), mappings)
    options = {"methods": ["ofa", "random"], "sizes": [None, 8]}
    board = compare(comparison(inputs, **options), tmp_path / "board")
    assert len(board.cells) == 4 and len(texts) == 1 and len(mappings) == 2
    alone = compare(comparison(inputs, methods=["random"], sizes=[8]), tmp_path / "alone")
    assert alone.cells["random, 8"][0]["measured"] == board.cells["random, 8"][0]["measured"]


def test_all_methods_are_those_whose_needs_are_met(inputs):
    assert "omp" not in comparison(inputs, methods=None).candidates
    without = Comparison(**{**inputs, "word_vectors": None}, text=LINES)
    assert "ofa" not in without.candidates and {"fvt", "random"} <= set(without.candidates)


def cell(value, low, high):
    return [{"seed": 0, "seconds": 1.0, "measured": {"0": [
        {"model": "m", "task": "t", "language": language, "metric": "top-1", "value": value, "low": low, "high": high}
        for language in ("deu", "all")
    ]}}]  # fmt: skip


def test_a_decoder_is_trained_on_next_tokens(tmp_path, tiny_tokenizers, word_vectors, monkeypatch):
    make_source("gpt2", tiny_tokenizers["byte_bpe"]).save_pretrained(tmp_path / "source")
    tiny_tokenizers["byte_bpe"].save_pretrained(tmp_path / "source")
    monkeypatch.setattr("ofa_transformers.workflows.cells._RATE", 1e-2)  # enough for a model that knows nothing
    chosen = Comparison(
        str(tmp_path / "source"), str(tmp_path / "source"), LINES, methods=["random"], steps=[0, 20], max_texts=5
    )
    before, after = (
        compare(chosen, tmp_path / "board").score("random", "bits per character", steps).value for steps in (0, 20)
    )
    assert after < before - 0.3


def test_the_verdict_says_who_is_told_apart():
    cells = {"a": cell(0.5, 0.4, 0.6), "b": cell(0.45, 0.35, 0.55), "c": cell(0.1, 0.05, 0.15)}
    board = Board({}, cells, cells)
    verdict = board.verdict("top-1", 0)
    assert verdict.best == "a" and verdict.rivals == ("b",)
    assert str(verdict) == "top-1 before training: a leads, not told apart from b."
    cells.pop("b")
    assert "told apart from all others" in str(Board({}, cells, cells).verdict("top-1", 0))
    cells.pop("c")
    assert str(Board({}, cells, cells).verdict("top-1", 0)) == "top-1 before training: a alone, beside nothing."


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (1, "over the held-out texts. They say nothing of other texts, seeds or longer training."),
        (3, "over the held-out texts, and over up to 3 seeds by Student's t. They say nothing of other texts or longer training."),
    ],
)  # fmt: skip
def test_the_page_says_what_intervals_are(tmp_path, seeds, said):
    cells = {"a": cell(0.5, 0.4, 0.6) * seeds, "b": cell(0.1, 0.05, 0.15)}
    Board({}, cells, cells).save(tmp_path)
    assert said in (tmp_path / "board.html").read_text(encoding="utf-8")


def test_seeds_that_differ_widen_the_interval():
    cells = {"a": cell(0.5, 0.4, 0.7) + cell(0.6, 0.5, 0.8) + cell(0.7, 0.6, 0.9), "b": cell(0.9, 0.85, 0.95) * 3}
    board = Board({}, cells, cells)
    score, alike = board.score("a", "top-1", 0), board.score("b", "top-1", 0)
    half = 2.776445 * (0.02 / 4) ** 0.5 / 3**0.5  # Student's t of four degrees of freedom, two of either's
    assert score.value == pytest.approx(0.6)
    assert score.low == pytest.approx(0.6 - (0.1**2 + half**2) ** 0.5, abs=1e-6)
    assert score.high == pytest.approx(0.6 + (0.2**2 + half**2) ** 0.5, abs=1e-6)
    assert alike.high == pytest.approx(0.9 + (0.05**2 + half**2) ** 0.5, abs=1e-6)
    alone = Board({}, cells, {name: some[1:2] for name, some in cells.items()})
    assert alone.score("a", "top-1", 0).high == pytest.approx(0.8)


def test_the_page_is_headed_by_all_who_lead(tmp_path):
    def heading(cells) -> str:
        Board({}, cells, cells).save(tmp_path)
        page = (tmp_path / "board.html").read_text(encoding="utf-8")
        return re.sub("<.*?>", "", re.search("<h1>(.*)</h1>", page)[1]).strip()

    cells = {"a": cell(0.5, 0.4, 0.6), "b": cell(0.1, 0.05, 0.15)}
    assert heading(cells) == "a leads"
    for name, centred in (("a", 0.6), ("b", 0.7)):
        measured = cells[name][0]["measured"]["0"]
        measured += [{**one, "metric": "top-1, centred", "value": centred} for one in measured]
    assert heading(cells) == "a leads in top-1, b in top-1, centred"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["omp"]}, "method='omp' needs donor"),
        ({"methods": ["magic"]}, "method is 'magic'"),
        ({"steps": []}, "steps must name one or more"),
        ({"sizes": [8, 8]}, "sizes must name one or more, each once"),
        ({"max_pairs": 1}, "max_pairs from 2"),
    ],
)
def test_what_is_wrong_is_named_before_any_work(inputs, options, message):
    with pytest.raises(ValueError, match=message):
        comparison(inputs, **options)


def test_the_command_predicts_compares_and_its_winner_is_taken(inputs, tmp_path):
    for name, lines in LINES.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "bible").mkdir()
    for name, lines in {**LINES, "eng": [f"{line} x" for line in LINES["deu"]]}.items():
        content = "\n".join(f"v{number}\t{line}" for number, line in enumerate(lines))
        (tmp_path / "bible" / f"{name}_Latn.tsv.gz").write_bytes(gzip.compress(content.encode()))
    arguments = ["compare", inputs["source"], "-t", inputs["target_tokenizer"], "-v", inputs["word_vectors"]]
    arguments += [part for name in LINES for part in ("--text", str(tmp_path / f"{name}.txt"))]
    arguments += ["--parallel", str(tmp_path / "bible"), "-o", str(tmp_path / "board")]
    arguments += ["--methods", "fvt,mean", "--max-texts", "4", "--max-pairs", "6"]
    for more in ([], ["--source-language", "deu,eng"]):  # English is what the translations are of
        planned = CliRunner().invoke(app, [*arguments, *more, "--dry-run"])
        assert planned.exit_code == 0, planned.output
    assert planned.exit_code == 0 and "2 cells (fvt, mean), about" in planned.output
    assert not (tmp_path / "board").exists()
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    table = [line for line in result.output.splitlines() if re.match(r" *(fvt|mean) .*±", line)]
    assert len(table) >= 2 and max(map(len, table)) <= 80
    best = json.loads((tmp_path / "board" / "board.json").read_text())["best"]
    adapted = OfaInitializer.from_comparison(tmp_path / "board")
    assert adapted.report.settings["method"] == best
    other = OfaInitializer.from_comparison(tmp_path / "board", "mean", embedding_size=8)
    assert other.report.settings["method"] == "mean" and other.report.target["embedding_size"] == 8
    with pytest.raises(ValueError, match="candidate is 'worst', but must be 'best' or one of fvt, mean"):
        OfaInitializer.from_comparison(tmp_path / "board", "worst")
