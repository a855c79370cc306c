"""The page of a comparison, in the style of the report."""

from typing import Any

from markupsafe import Markup

from .html import _asset, _template


def render_board(view: dict[str, Any]) -> str:
    """The page as text, from `Board.view`. All that comes from data is escaped."""
    return _template("board.html").render(**view, css=Markup(_asset("page.css")))
