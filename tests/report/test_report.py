"""What the report counts and measures, and report.html: structure, escaping, reading back."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import build_unigram
from report_inputs import HOSTILE, adapt_hostile
from typer.testing import CliRunner

import ofa_transformers as ofa
from ofa_transformers.cli import app
from ofa_transformers.mapping import TokenKind
from ofa_transformers.report import (
    OfaReport,
    columns,
    count_languages,
    draw_figures,
    load_page,
    pictures,
    rewrite_page,
)
from ofa_transformers.report.charts import ticks
from ofa_transformers.report.columns import PageColumns, page_columns


@pytest.fixture(scope="module")
def adapted():
    return adapt_hostile(embedding_size=12)


@pytest.fixture(scope="module")
def folder(adapted, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "adapted"
    adapted.save_pretrained(path)
    return path


# ------------------------------------------------------------------------------------------------ numbers


def test_languages_are_counted_by_the_tokens_of_their_words(adapted):
    mapping, tokenizer = adapted.mapping, adapted.tokenizer
    counts, unused = count_languages(mapping)
    for code in ("eng", "deu"):
        found: set[int] = set()
        lost = 0
        for word, language in zip(mapping.word_vectors.words, mapping.word_vectors.languages):
            if language != code:
                continue
            text = word.replace("$", " ")
            forms = [text, " " + text, text[1:2].upper() + text[2:]] if word.startswith("$") else []
            ids = {i for form in forms for i in tokenizer(form, add_special_tokens=False)["input_ids"]}
            ids = {i for i in ids if not mapping.target.wordless[i]}
            lost += not ids
            found |= ids
        assert sum(counts[code].values()) == len(found)
        assert unused.get(code, 0) == lost
        assert counts[code]["composed"] == sum(mapping.kinds[i] == TokenKind.COMPOSED for i in found)
    assert list(counts) == sorted(counts, key=lambda code: (-sum(counts[code].values()), code))


def test_words_without_a_known_token_are_unused_and_worth_a_warning(adapted):
    assert adapted.report.word_vectors["unused"] == {"tha": 2}
    assert any("Language tha: 2 of 2 words" in warning for warning in adapted.report.warnings)


def test_histograms_count_every_row_once(adapted):
    figures, counts = adapted.report.figures, adapted.report.tokens
    norms = figures["norms"]
    for kind in ("copied", "composed", "fallback"):
        assert sum(norms[kind]) == counts[kind]
    assert sum(norms["source"]) == adapted.mapping.source_rows.sum()
    assert sum(figures["similarity"]["composed"]) == counts["composed"]
    rows = adapted.model.get_input_embeddings().to_dense().detach()
    composed = rows[torch.from_numpy(adapted.mapping.kinds == TokenKind.COMPOSED)]
    assert norms["means"]["composed"] == pytest.approx(composed.norm(dim=1).mean().item(), rel=1e-3)
    best = [
        max(n[3] for n in adapted.report.explain(int(i)).neighbors) for i in np.flatnonzero(adapted.mapping.kinds == 1)
    ]
    assert figures["similarity"]["median"] == pytest.approx(np.median(best), abs=1e-4)


def test_singular_values_give_the_reconstruction_error(adapted):
    values = np.array(adapted.report.figures["singular_values"]["input"])
    error = np.sqrt((values[12:] ** 2).sum() / (values**2).sum())
    assert adapted.report.reconstruction_error["input"] == pytest.approx(error, rel=1e-3)


def test_the_map_keeps_directions_apart_and_has_both_vocabularies(adapted):
    points = adapted.report.map
    assert np.abs(points.points).max() == pytest.approx(1)
    assert 0 < points.num_source < len(points.ids) and 0 < points.explained <= 1
    assert points.ids[points.num_source :].max() < adapted.mapping.shape[0]
    # Principal components of centred data: no mean, no correlation.
    np.testing.assert_allclose(points.points.mean(axis=0), 0, atol=1e-4)
    assert abs(np.corrcoef(points.points.T)[0, 1]) < 1e-3


def test_full_size_has_singular_values_too():
    report = adapt_hostile(embedding_size=None).report
    assert report.reconstruction_error is None
    assert len(report.figures["singular_values"]["input"]) == 32
    assert report.figures["singular_values_sample"] == report.source["tokens"]
    assert report.target["embedding_parameters"] == 32 * report.target["rows"]


def test_json_round_trip_has_lists_of_numbers_on_a_line(adapted, folder):
    loaded = OfaReport.load(folder)
    assert loaded.to_dict() == adapted.report.to_dict() and loaded.mapping is None and loaded.map is None
    assert (folder / "ofa_report.json").read_text().count("\n") < 400


# ------------------------------------------------------------------------------------------------ columns


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def test_columns_hold_what_explain_says(adapted):
    packed = PageColumns.unpack(page_columns(adapted.mapping, adapted.report.map).pack())
    arrays, facts = packed.arrays, packed.facts
    tokens, sources, words = (packed.texts(name) for name in ("token", "source", "word"))
    assert set(HOSTILE) <= set(tokens)
    first_source = _starts(arrays["source_count"])
    first_word = _starts(arrays["word_count"])
    source_ids = arrays["sources_low"] + 65_536 * arrays["sources_high"].astype(np.int64)
    word_ids = arrays["words_low"] + 65_536 * arrays["words_high"].astype(np.int64)
    for i, token in enumerate(tokens):
        told = adapted.report.explain(i, max_words=4)
        assert TokenKind(arrays["kind"][i]) is told.kind
        own = slice(first_source[i], first_source[i + 1])
        listed = [(int(j), w / 255) for j, w in zip(source_ids[own], arrays["weights"][own])]
        if told.neighbors:
            assert [j for j, _ in listed] == [j for _, j, _, _ in told.neighbors]
            np.testing.assert_allclose([w for _, w in listed], [w for _, _, w, _ in told.neighbors], atol=0.003)
            assert arrays["cosine"][i] / 127.5 - 1 == pytest.approx(told.neighbors[0][3], abs=0.005)
        elif told.match is not None:
            assert [sources[j] for j, _ in listed] and listed[0][1] == 1
        own = slice(first_word[i], first_word[i + 1])
        languages = [facts["languages"][n] for n in arrays["word_language"][word_ids[own]]]
        assert list(zip(languages, [words[j] for j in word_ids[own]])) == told.words
        assert arrays["word_total"][i] == told.num_words
        language = arrays["language"][i]
        assert (facts["languages"][language] if language != columns.NO_LANGUAGE else "") == adapted.mapping.languages[
            i
        ]
        assert tokens[i] == adapted.mapping.target.tokens[i] or not token


def test_large_vocabularies_list_fewer_sources_and_words(adapted, monkeypatch):
    whole = page_columns(adapted.mapping, None)
    composed = int((adapted.mapping.kinds == TokenKind.COMPOSED).sum())
    matched = int((np.diff(adapted.mapping.weights.indptr) == 1).sum())
    monkeypatch.setattr(columns, "_MOST_SOURCES", matched + 3 * composed)
    monkeypatch.setattr(columns, "_MOST_WORDS", 1)
    cut = page_columns(adapted.mapping, None)
    assert cut.facts["neighbors"] == [3, 10] and whole.facts["neighbors"] == [10, 10]
    assert cut.arrays["source_count"].max() == 3 and cut.arrays["word_count"].max() == 1
    # Of each token the first three of what the whole list has.
    starts = [_starts(c.arrays["source_count"]) for c in (whole, cut)]
    for i in np.flatnonzero(adapted.mapping.kinds == TokenKind.COMPOSED):
        long = whole.arrays["sources_low"][starts[0][i] : starts[0][i + 1]]
        np.testing.assert_array_equal(cut.arrays["sources_low"][starts[1][i] : starts[1][i + 1]], long[:3])


def test_byte_level_tokens_are_readable(tiny_tokenizers):
    from ofa_transformers.mapping import Vocabulary

    vocabulary = Vocabulary.from_tokenizer(tiny_tokenizers["byte_bpe"])
    texts = columns.readable_tokens(vocabulary)
    assert "Ġthe" in texts and any(re.search("[а-я]", text) for text in texts)
    assert len(texts) == len(vocabulary)


def test_the_same_seed_gives_the_same_columns(adapted):
    again = adapt_hostile(embedding_size=12)
    first, second = (page_columns(a.mapping, a.report.map).pack() for a in (adapted, again))
    assert first == second


# ------------------------------------------------------------------------------------------------ the page


def test_the_page_is_one_file_without_network_and_escapes_all_data(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert (
        not re.search(r"""(?:src|href)\s*=\s*["'](?!#|data:,)""", page)
        and "http://" not in page
        and "https://" not in page
    )
    assert "@import" not in page and "url(" not in page
    assert len(re.findall(r"<script\b", page)) == len(re.findall(r"</script>", page)) == 2
    for text in HOSTILE:
        assert text not in page or text.isalnum()
    assert "<img" not in page and "&lt;img src=x onerror=" in page  # from the vectors' metadata
    assert page.count("<h1>") == 1 and "default-src &#39;none&#39;" not in page and "default-src 'none'" in page
    for anchor in re.findall(r'href="#(\w+)"', page):
        assert f'id="{anchor}"' in page


def test_the_page_says_what_went_in_and_what_came_out(adapted, folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    report = adapted.report
    for expected in (
        f"{report.target['parameters']:,}",
        f"D′ = 12: {report.reconstruction_error['input']:.3f}",
        "German (deu)",
        "<dt>Seed</dt><dd>114514</dd>",
        "Language tha: 2 of 2 words",
        f"composed {report.tokens_by_script['Latn']['composed']:,} (",
    ):
        assert expected in page, expected


def test_rewriting_gives_the_same_page(folder):
    before = (folder / "report.html").read_bytes()
    rewrite_page(folder)
    assert (folder / "report.html").read_bytes() == before


def test_without_the_page_the_report_has_no_tokens(adapted, tmp_path):
    adapted.save_pretrained(tmp_path / "out", report_page=False)
    assert not (tmp_path / "out" / "report.html").exists()
    page = rewrite_page(tmp_path / "out").read_text(encoding="utf-8")
    assert "<script" not in page and "The tokens are not part of this report" in page
    assert load_page(tmp_path / "out")[1] is None


def test_damaged_pages_and_other_folders_are_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no ofa_report\.json"):
        rewrite_page(tmp_path)
    (tmp_path / "ofa_report.json").write_bytes((folder / "ofa_report.json").read_bytes())
    page = (folder / "report.html").read_text(encoding="utf-8")
    packed = re.search(r'id="columns">([^<]*)<', page)[1]
    (tmp_path / "report.html").write_text(page.replace(packed, packed[: len(packed) // 2 // 4 * 4]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"report\.html is damaged\. Remove it"):
        rewrite_page(tmp_path)


def test_reports_of_older_versions_still_draw(folder, tmp_path):
    import json

    old = json.loads((folder / "ofa_report.json").read_text())
    for name in ("figures", "tokens_by_language"):
        del old[name]
    for model in (old["source"], old["target"]):
        del model["embedding_parameters"]
    del old["word_vectors"]["unused"]
    (tmp_path / "ofa_report.json").write_text(json.dumps(old))
    assert "By script" in rewrite_page(tmp_path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 768, [0, 200, 400, 600])]
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == expected


# ------------------------------------------------------------------------------------------------ figures, command


def test_figures_for_papers(adapted, folder, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib (extra `plot`) is not installed")
    files = draw_figures(*load_page(folder), tmp_path / "figures")
    names = {"scripts", "languages", "parameters", "similarity", "norms", "reconstruction", "map"}
    assert {path.stem for path in files} == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files)
    # Without the page there is no map.
    monkeypatch.setattr(pictures, "_FIGURES", {"map": pictures._FIGURES["map"]})
    assert draw_figures(adapted.report, None, tmp_path / "none") == []
    with pytest.raises(ValueError, match="format is 'gif', but must be one of png, svg, pdf"):
        draw_figures(adapted.report, None, tmp_path, "gif")


def test_the_command_rewrites_the_page(folder, tmp_path):
    (tmp_path / "ofa_report.json").write_bytes((folder / "ofa_report.json").read_bytes())
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 0 and "report.html" in result.stdout and (tmp_path / "report.html").is_file()
    result = CliRunner().invoke(app, ["report", str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1 and "holds no ofa_report.json" in result.stderr


def test_a_vocabulary_without_composed_tokens_or_words(tiny_tokenizers):
    """The same tokenizer on both sides, and vectors of which no word is known: nothing to compose, nothing to plot."""
    from adapted_models import make_source

    tokenizer = build_unigram()
    vectors = ofa.WordVectors(["ሰላም"], np.array(["amh"]), np.ones((1, 3)))
    result = ofa.OfaInitializer.from_pretrained(
        make_source("xlm-roberta", tokenizer),
        source_tokenizer=tokenizer,
        target_tokenizer=tokenizer,
        word_vectors=vectors,
    )
    packed = page_columns(result.mapping, result.report.map)
    assert packed.arrays["word_count"].sum() == 0 and packed.facts["neighbors"][1] == 1
    assert result.report.word_vectors["unused"] == {"amh": 1}
