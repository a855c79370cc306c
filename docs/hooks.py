"""Hooks of the site's build (mkdocs.yml): pages that lie elsewhere in the repository, links, and formulas."""

import html
import os
import posixpath
import re
from functools import cache
from pathlib import Path
from typing import Any

import click
import typer
from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from ofa_transformers.cli import app


ROOT = Path(__file__).resolve().parent.parent
# Where the repository can be browsed, for links to files that are no pages; without it they are named only.
BROWSE = os.environ.get("OFA_BROWSE_URL", "").rstrip("/")

# Pages of the site -> files of the repository outside docs/.
PAGES = {"contributing.md": ROOT / "CONTRIBUTING.md"} | {
    f"examples/{path.parent.name}.md": path for path in sorted(ROOT.glob("examples/*/README.md"))
}
COMMAND_LINE = "command-line.md"
_LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\(([^)\s:]+)\)")
_NAME = re.compile(r"\[<code>(~?[\w.]+)</code>\]")
# What pymdownx.arithmatex makes of $...$ and $$...$$.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Adds the pages that lie outside docs/, and the one of the command line."""
    for name, path in PAGES.items():
        files.append(File.generated(config, name, content=path.read_text(encoding="utf-8")))
    files.append(File.generated(config, COMMAND_LINE, content=_command_line()))
    return files


def _command_line() -> str:
    """The help texts of `ofa` and its subcommands."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=click.Context(command, info_name="ofa"), name="ofa")
    text = re.sub(r"^# `ofa`$", "# Command line", text, flags=re.MULTILINE)
    text = re.sub(r"^\* `(-h, )?--help`.*\n", "", text, flags=re.MULTILINE)
    text = text.replace("**Usage**:\n\n", "").replace("```console\n$ ", "```text\n")
    # Cut short there, and in full below.
    text = re.sub(r"^\*\*Commands\*\*:\n\n(\* .*\n)+\n", "", text, flags=re.MULTILINE)
    # Examples are code.
    return re.sub(r"^Example: (.*)$", r"Example: `\1`", text, flags=re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Relative links lead to the site's pages; files that are none are named, or browsed where there is an address.

    Raises:
        PluginError: a link leads nowhere.
    """
    uri = page.file.src_uri
    origin = PAGES.get(uri, ROOT / "docs" / uri)
    pages = {path: name for name, path in PAGES.items()}

    def link(match: re.Match) -> str:
        text, (target, mark, anchor) = match[1], match[2].partition("#")
        if not target:
            return match[0]
        path = (origin.parent / target).resolve()
        if not path.exists() and path != ROOT / "docs" / COMMAND_LINE:
            raise PluginError(f"{origin.relative_to(ROOT)} links to {target}, which is not there.")
        if path.is_relative_to(ROOT / "docs"):
            name = path.relative_to(ROOT / "docs").as_posix()
        elif path in pages:
            name = pages[path]
        else:
            name = path.relative_to(ROOT).as_posix()
            if BROWSE:
                return f"[{text}]({BROWSE}/{name})"
            return text if text.strip("`") == name else f"{text} (`{name}`)"
        return f"[{text}]({posixpath.relpath(name, posixpath.dirname(uri) or '.')}{mark}{anchor})"

    # Code stays as it is.
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if i % 2 else _LINK.sub(link, part) for i, part in enumerate(parts))


def on_page_content(content: str, **_: Any) -> str:
    """Formulas become MathML, which browsers draw without a script or fonts of ours."""

    def formula(match: re.Match) -> str:
        display = "block" if match[2] == "[" else "inline"
        return f'<{match[1]} class="math">{_mathml(html.unescape(match[3]).strip(), display)}</{match[1]}>'

    content = _NAME.sub(_reference, _FORMULA.sub(formula, content))
    return re.sub(r"<code>`([^`<]*)`</code>", r"<code>\1</code>", content)  # types in docstrings


def _reference(match: re.Match) -> str:
    """[`Name`] in docstrings, as Transformers writes it, links to what is documented under that name."""
    name = match[1].removeprefix("~")
    path = name if name.startswith("ofa_transformers.") else f"ofa_transformers.{name}"
    return f'<autoref optional identifier="{path}"><code>{name.removeprefix("transformers.")}</code></autoref>'


@cache
def _mathml(latex: str, display: str) -> str:
    return convert(latex, display=display)
