"""Tables of the commands: whole cells at 80 columns, whatever the names."""

import io

from rich.cells import cell_len
from rich.console import Console

from ofa_transformers.cli.options import about
from ofa_transformers.cli.tables import print_table
from ofa_transformers.evaluation.tables import with_spread


LONG = ["xlm-roberta-base-adapted-to-six-languages-with-ofa-200", "glot500-base-continued-for-10000-steps"]
LANGUAGES = ["glv_Latn", "guj_Gujr", "heb_Hebr", "srp_Latn", "swh_Latn", "tgl_Latn"]


def printed(*arguments, width=80, **options):
    stream = io.StringIO()
    print_table(Console(file=stream, width=width), *arguments, **options)
    return stream.getvalue()


def test_long_names_become_letters_with_a_legend():
    headings = ["language", *(name + end for name in LONG for end in ("", ", centred"))]
    rows = [[language, *["53.6 ± 4.4"] * 4] for language in LANGUAGES]
    shown = printed(headings, rows, names=LONG)
    assert all(f"{letter}  {name}" in shown for letter, name in zip("AB", LONG))
    assert max(map(cell_len, shown.splitlines()[2:])) <= 80
    assert shown.count("53.6 ± 4.4") == 24
    assert "…" not in shown and "centred" in shown


def test_columns_that_have_no_room_stand_below_with_the_languages():
    headings = ["language", *(f"measure {number}" for number in range(9))]
    rows = [[language, *[f"{1234.5 + number:,.1f} ± 12.5" for number in range(9)]] for language in LANGUAGES]
    shown = printed(headings, rows)
    assert max(map(cell_len, shown.splitlines())) <= 80
    assert shown.count("glv_Latn") == 3
    for row in rows:
        assert all(cell in shown for cell in row)


def test_a_table_that_fits_keeps_its_names():
    shown = printed(["language", "a", "b"], [["deu", "1", "2"]], names=["a", "b"])
    assert shown.split() == ["language", "a", "b", "─" * 16, "deu", "1", "2"]


def test_a_value_shows_no_digit_that_its_interval_makes_meaningless():
    assert with_spread(2.8331, 0.1843, 3) == "2.83 ± 0.18"
    assert with_spread(6072.211, 1374.2, 3) == "6,100 ± 1,400"
    assert with_spread(53.64, 4.42, 1) == "53.6 ± 4.4"
    assert with_spread(99.96, 0.02, 1) == "100.0 ± 0.0"
    assert with_spread(1.5, 0.0, 3) == "1.500 ± 0.000"
    assert with_spread(1.5, None, 3) == "1.500"


def test_estimates_have_three_digits():
    assert [about(n) for n in (12, 9999, 34912, 1254321, 999_960, 2.5e9)] == [
        "12", "9,999", "34.9 k", "1.25 M", "1.00 M", "2.50 G",
    ]  # fmt: skip
