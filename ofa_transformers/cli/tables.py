"""Tables that fit the terminal: long names become letters with a legend, and what is still too wide goes below."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from rich.console import Console

# Columns of spaces between two columns of a table.
_GAP = 2


def print_table(
    console: Console,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: Sequence[int] = (0,),
    names: Sequence[str] = (),
    sections: Sequence[int] = (),
) -> None:
    """Prints a table of which no cell is cut off or broken, however narrow the console is.

    Args:
        headings: of the columns; they may break at spaces.
        rows: cells, as many as there are headings.
        left: the columns that are aligned on the left; numbers are on the right.
        names: of models or tokenizers, which stand in headings or cells. Where they are too long for one table, letters
            stand for them, and a legend above says which.
        sections: the rows that a line comes before.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    headings, rows = list(headings), [list(row) for row in rows]
    if names and _width(headings, rows) > console.width:
        letters = dict(zip(names, ascii_uppercase)) if len(names) <= len(ascii_uppercase) else {}
        for name, letter in letters.items():
            console.print(f"{letter}  {name}", markup=False, highlight=False, soft_wrap=True)
        headings = [_short(heading, letters) for heading in headings]
        rows = [[_short(cell, letters) for cell in row] for row in rows]
    widths = _widths(headings, rows)
    for columns in _parts(widths, console.width):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP, 0, 0))
        for column in columns:
            justify = "left" if column in left else "right"
            table.add_column(headings[column], justify=justify, min_width=widths[column])
        for number, row in enumerate(rows, 1):
            table.add_row(*(Text(row[column], no_wrap=True) for column in columns), end_section=number in sections)
        console.print(table, markup=False, highlight=False)


def _short(text: str, letters: dict[str, str]) -> str:
    """The text with a letter where it is a name, or begins with one and a comma."""
    for name, letter in letters.items():
        if text == name or text.startswith(f"{name}, "):
            return letter + text[len(name) :]
    return text


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The fewest characters that each column takes: its widest cell, or the longest word of its heading."""
    from rich.cells import cell_len

    return [
        max(
            [cell_len(word) for word in heading.split(" ")] + [cell_len(row[number]) for row in rows],
        )
        for number, heading in enumerate(headings)
    ]


def _width(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    return sum(width + _GAP for width in _widths(headings, rows))


def _parts(widths: Sequence[int], available: int) -> list[list[int]]:
    """Columns of the tables that it takes; the first one is in each."""
    parts: list[list[int]] = [[0]]
    for column in range(1, len(widths)):
        if sum(widths[other] + _GAP for other in [*parts[-1], column]) > available and len(parts[-1]) > 1:
            parts.append([0])
        parts[-1].append(column)
    return parts
