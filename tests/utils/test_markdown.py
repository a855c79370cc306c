"""What others wrote into names, metadata and results is text in cards and tables."""

import pytest

from ofa_transformers.evaluation import Measurement, to_markdown
from ofa_transformers.report.card import _cell
from ofa_transformers.utils.markdown import plain
from ofa_transformers.vectors.card import word_vectors_card


HOSTILE = (
    "a\n# b <img src=x onerror=alert(1)> [c](javascript:alert(1)) ![d][e] [f]: javascript:g | `h` & i\r- j\u2028k"
)


def assert_harmless(text: str) -> None:
    html = pytest.importorskip("markdown").markdown(text, extensions=["tables"])
    for part in ("<img", "<a ", "href", "<h1>b", "<code>h"):
        assert part not in html
    assert "onerror=alert(1)" in html  # as text


def test_text_of_others_is_no_markup():
    assert plain(HOSTILE).count("\n") == 0 and len(plain(HOSTILE).splitlines()) == 1
    assert plain("deu_Latn top-1 & x") == "deu_Latn top-1 &amp; x"
    assert_harmless(plain(HOSTILE))
    assert _cell(HOSTILE) == plain(HOSTILE) and _cell(0.123456) == "0.1235"


def test_cards_and_tables_hold_it_as_text():
    card = word_vectors_card({"deu": 1}, 2, {"origin": HOSTILE, HOSTILE: [HOSTILE], "license": HOSTILE})
    assert_harmless(card.split("\n---\n", 1)[1])
    table = to_markdown([Measurement(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 0.5, data=HOSTILE)])
    assert_harmless(table)
