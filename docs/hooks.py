"""Hooks of the site's build (mkdocs.yml): pages that lie elsewhere in the repository, links, and formulas."""

import html
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
# Pages of the site -> files of the repository outside docs/; and pictures beside them.
PAGES = {"contributing.md": ROOT / "CONTRIBUTING.md"} | {
    path.relative_to(ROOT).with_name("index.md").as_posix(): path
    for path in sorted(ROOT.glob("examples/**/README.md"))
}
PICTURES = [path for page in PAGES.values() for path in page.parent.glob("*") if path.suffix in (".svg", ".png")]
_LINK = re.compile(r"(!?)\[([^\]\n]+)\]\(([^)\s:]+)\)")
_NAME = re.compile(r"\[<code>(~?[\w.]+)</code>\]")
_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
# More columns than this take a smaller print.
_MANY_COLUMNS = 7
# What pymdownx.arithmatex makes of $...$ and $$...$$.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Adds the pages that lie outside docs/."""
    for name, path in PAGES.items():
        files.append(File.generated(config, name, content=path.read_text(encoding="utf-8")))
    for path in PICTURES:
        files.append(File.generated(config, _name(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Completes the page of the command line, and makes relative links lead to the site's pages.

    Files of the repository that the site doesn't have are named instead.

    Raises:
        PluginError: a link leads nowhere.
    """
    uri = page.file.src_uri
    if uri == "command-line.md":
        return f"{markdown}\n{_command_line()}"
    origin = PAGES.get(uri, ROOT / "docs" / uri)
    names = {path: name for name, path in PAGES.items()} | {path: _name(path) for path in PICTURES}

    def link(match: re.Match) -> str:
        text, (target, mark, anchor) = match[2], match[3].partition("#")
        if not target:
            return match[0]
        path = (origin.parent / target).resolve()
        if not path.exists():
            raise PluginError(f"{_name(origin)} links to {target}, which is not there.")
        if path.is_relative_to(ROOT / "docs"):
            name = path.relative_to(ROOT / "docs").as_posix()
        elif path in names:
            name = names[path]
        else:
            is_its_name = _name(path).endswith(text.strip("`").rstrip("/"))
            return f"`{_name(path)}`" if is_its_name else f"{text} (`{_name(path)}`)"
        return f"{match[1]}[{text}]({posixpath.relpath(name, posixpath.dirname(uri) or '.')}{mark}{anchor})"

    # Code stays as it is.
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if i % 2 else _LINK.sub(link, part) for i, part in enumerate(parts))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _command_line() -> str:
    """The help texts of `ofa` and its subcommands."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=click.Context(command, info_name="ofa"), name="ofa")
    text = text[text.index("## `ofa ") :]
    text = re.sub(r"^\* `(-h, )?--help`.*\n", "", text, flags=re.MULTILINE)
    text = text.replace("**Usage**:\n\n", "").replace("```console\n$ ", "```text\n")
    # Lists of subcommands are cut short, and all of it follows below.
    text = re.sub(r"^\*\*Commands\*\*:\n\n(\* .*\n)+\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^Example: (.*)$", r"Example: `\1`", text, flags=re.MULTILINE)


def on_page_content(content: str, **_: Any) -> str:
    """Formulas become MathML, which browsers draw without a script or fonts of ours."""

    def formula(match: re.Match) -> str:
        display = "block" if match[2] == "[" else "inline"
        return f'<{match[1]} class="math">{_mathml(html.unescape(match[3]).strip(), display)}</{match[1]}>'

    content = _TABLE.sub(_labelled, _NAME.sub(_reference, _FORMULA.sub(formula, content)))
    return re.sub(r"<code>`([^`<]*)`</code>", r"<code>\1</code>", content)  # types in docstrings


def _labelled(match: re.Match) -> str:
    """A table whose cells know their heading, which a phone shows beside them, and that says how wide it is."""
    table = match[0]
    headings = [re.sub(r"<[^>]+>", "", text).strip() for text in re.findall(r"<th[^>]*>(.*?)</th>", table, re.DOTALL)]

    def row(found: re.Match) -> str:
        labels = iter(headings)
        return re.sub(r"<td", lambda _: f'<td data-label="{next(labels, "")}"', found[0])

    wide = ' data-wide=""' if len(headings) > _MANY_COLUMNS else ""
    return f"<table{wide}>" + re.sub(r"<tr>.*?</tr>", row, table.removeprefix("<table>"), flags=re.DOTALL)


def _reference(match: re.Match) -> str:
    """[`Name`] in docstrings, as Transformers writes it, links to what is documented under that name."""
    name = match[1].removeprefix("~")
    path = name if name.startswith("ofa_transformers.") else f"ofa_transformers.{name}"
    return f'<autoref optional identifier="{path}"><code>{name.removeprefix("transformers.")}</code></autoref>'


@cache
def _mathml(latex: str, display: str) -> str:
    return convert(latex, display=display)
