"""The site builds without warnings, fetches nothing, and its search works."""

import functools
import http.server
import importlib
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from chromium import EXECUTABLE, chromium
from conftest import REPOSITORY

import ofa_transformers


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [Path(sys.executable).parent / "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    built = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_page_is_in_the_navigation():
    def names(item) -> list[str]:
        if isinstance(item, str):
            return [item]
        return [name for child in (item.values() if isinstance(item, dict) else item) for name in names(child)]

    settings = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = {path.relative_to(REPOSITORY / "docs").as_posix() for path in (REPOSITORY / "docs").rglob("*.md")}
    assert pages <= set(names(settings["nav"]))


def test_pages_refer_to_nothing_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]+src=\"?([^\" >]+)", text)
        loaded += re.findall(r"<link[^>]+rel=\"?(?:stylesheet|preconnect|icon)[^>]+href=\"?([^\" >]+)", text)
        assert loaded and not [url for url in loaded if re.match(r"(?:https?:)?//", url)], page


def test_formulas_are_drawn_and_references_resolved(site):
    text = (site / "how-it-works.html").read_text(encoding="utf-8")
    assert text.count("<math") > 20 and "\\frac" not in text and "$" not in re.sub(r"<code>.*?</code>", "", text)
    reference = (site / "reference" / "initializer.html").read_text(encoding="utf-8")
    assert "[<code>" not in reference and "<code>`" not in reference
    assert 'href="vectors.html#ofa_transformers' in reference


def test_public_names_are_in_the_reference(site):
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html"))
    assert [name for name in ofa_transformers.__all__ if name not in text] == []
    for part in ("vectors", "tokenization", "training", "evaluation"):
        names = importlib.import_module(f"ofa_transformers.{part}").__all__
        undocumented = [name for name in names if not re.search(rf'id="ofa_transformers[\w.]*\.{name}"', text)]
        assert undocumented == [], f"of ofa_transformers.{part}; see docs/reference/{part}.md"


@pytest.mark.skipif(EXECUTABLE is None, reason="there is no Chromium on this machine")
def test_site_in_a_browser(site):
    handler = functools.partial(_Quiet, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    try:
        with chromium() as page:
            for dark, name in [(False, "index.html"), (True, "how-it-works.html"), (False, "reference/training.html")]:
                page.look(390, 800, dark=dark, phone=True)
                page.call("Page.navigate", url=address + name)
                page.wait(f"location.href.endsWith({json.dumps(name)}) && document.readyState === 'complete'")
                page.wait("!!document.querySelector('.md-content h1')")
                assert page.run("document.documentElement.scrollWidth") <= 390  # nothing sticks out on a phone
                wanted = "slate" if dark else "default"
                page.wait(f"document.body.getAttribute('data-md-color-scheme') === '{wanted}'")
            page.look(1200, 800)
            for place in (address + "reference/training.html", (site / "reference" / "training.html").as_uri()):
                page.call("Page.navigate", url=place)
                page.wait(f"location.href === {json.dumps(place)} && document.readyState === 'complete'")
                page.wait("!!document.querySelector('.md-content h1')")
                page.run("document.querySelector('#__search').click()")
                page.run(
                    "(field => { field.value = 'embedding_size'; field.dispatchEvent(new Event('keyup')); "
                    "field.dispatchEvent(new Event('input')) })(document.querySelector('.md-search__input'))"
                )
                page.wait("!!document.querySelector('.md-search-result__link')")
                assert "choosing-the-size" in page.run(
                    "[...document.querySelectorAll('.md-search-result__link')].map(link => link.href).join(' ')"
                )
            assert page.errors == []
            elsewhere = [url for url in page.requests if not url.startswith((address, "file:", "data:", "blob:"))]
            assert elsewhere == []
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@pytest.mark.skipif(EXECUTABLE is None, reason="Chromium is not installed")
@pytest.mark.parametrize(("width", "phone"), [(390, True), (1280, False)])
def test_no_page_and_no_table_is_wider_than_the_screen(site, width, phone):
    wider = "[...document.querySelectorAll('.md-typeset__scrollwrap')].some(e => e.scrollWidth > e.clientWidth + 1)"
    with chromium() as page:
        page.look(width, 844, phone=phone)
        for name in (
            "index",
            "which-settings",
            "compatibility",
            "choosing-the-size",
            "performance",
            "examples/replication/index",
        ):
            page.call("Page.navigate", url=(site / f"{name}.html").as_uri())
            page.wait("document.readyState === 'complete'")
            page.wait("document.querySelector('h1') !== null")
            assert page.run("document.documentElement.scrollWidth") <= width, name
            assert not page.run(wider), name
