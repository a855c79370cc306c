"""report.html in a real browser: no errors, no network, search, keyboard, every width and colour scheme."""

import json
import os
import time

import chromium
import pytest
from report_inputs import HOSTILE, adapt_hostile

from ofa_transformers.workflows.board import Board


if chromium.EXECUTABLE is None or os.name != "posix":
    pytest.skip("Chromium is not installed (Debian: apt-get install chromium)", allow_module_level=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "adapted"
    adapted = adapt_hostile(embedding_size=12)
    adapted.save_pretrained(path)
    return adapted, path / "report.html"


@pytest.fixture(scope="module")
def page(saved):
    with chromium.chromium() as page:
        page.look(1200, 900)
        page.open(saved[1])
        yield page


def type_in(page, identifier, value, event):
    page.run(
        f"(() => {{ const e = document.getElementById('{identifier}'); e.value = {value!r}; "
        f"e.dispatchEvent(new Event('{event}', {{ bubbles: true }})); }})()"
    )


def found(page) -> int:
    return int(page.run("document.getElementById('found').value").split(" of ")[0].replace(",", ""))


def search(page, query, scope="token", kind="", order="id") -> int:
    for identifier, value in (("scope", scope), ("kind", kind), ("order", order)):
        type_in(page, identifier, value, "change")
    type_in(page, "query", query, "input")
    time.sleep(0.25)  # the search waits for the typing to pause
    return found(page)


def rows(page) -> list[str]:
    return page.run("[...document.querySelectorAll('#body button')].map(b => b.textContent)")


def test_search_finds_tokens_words_and_sources(page, saved):
    adapted = saved[0]
    tokens = [token for token in adapted.mapping.target.tokens if token]
    assert search(page, "") == len(tokens)
    assert search(page, "AN") == sum("an" in token.lower() for token in tokens) > 0
    assert all("an" in text.lower() for text in rows(page))
    with_word = [
        token
        for i, token in enumerate(adapted.mapping.target.tokens)
        if token and any("mutter" in word.lower() for _, word in adapted.report.explain(i, max_words=4).words)
    ]
    assert search(page, "mutter", scope="word") == len(with_word) > 0
    assert search(page, "", kind="2") == adapted.report.tokens["fallback"]
    assert search(page, "no such token") == 0 and rows(page) == []
    search(page, "", order="near")
    nearest = page.run("[...document.querySelectorAll('#body td:nth-child(4)')].map(c => parseFloat(c.textContent))")
    assert nearest == sorted(nearest) and len(nearest) > 5


def test_data_stays_text(page):
    for text in HOSTILE:
        search(page, text.splitlines()[0])  # a field of one line
        page.run("document.getElementById('scroll').scrollTop = 1e9")
        page.wait(f"[...document.querySelectorAll('#body button')].some((b) => b.textContent === {json.dumps(text)})")
    search(page, HOSTILE[0])
    page.run("document.querySelector('#body button').click()")
    assert page.run("document.querySelector('#details code').textContent") == HOSTILE[0]
    assert page.run("typeof hacked") == "undefined"
    assert page.run("document.querySelectorAll('img, b > script, iframe').length") == 0
    assert HOSTILE[1] in page.run("document.querySelector('h1').textContent")


def test_rows_come_and_go_with_scrolling_and_the_keyboard(page, saved):
    adapted = saved[0]
    total = search(page, "")
    assert len(rows(page)) < 40 < total
    page.run("document.getElementById('scroll').scrollTop = 1e9")
    page.wait(
        "document.querySelector('#body tr:nth-last-child(2)').getAttribute('aria-rowindex') == " + str(total + 1)
    )
    page.run("document.getElementById('scroll').scrollTop = 0")
    time.sleep(0.1)
    page.run("document.querySelector('#body button').focus()")
    for _ in range(30):
        page.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowDown", code="ArrowDown")
    assert page.run("document.activeElement.dataset.position") == "30"
    page.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", text="\r")
    token = page.run("document.querySelector('#details code').textContent")
    told = adapted.report.explain(token)
    assert f"id {told.id}" in page.run("document.getElementById('details').textContent")
    assert page.run("document.querySelectorAll('#details .weights tr').length") == max(
        len(told.neighbors), told.match is not None
    )


def test_the_map_answers_pointer_and_keyboard(page, saved):
    page.run("document.getElementById('map').scrollIntoView()")
    page.run("document.getElementById('map-canvas').focus()")
    page.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight")
    said = page.run("document.getElementById('map-said').textContent")
    assert " · " in said and page.run("document.getElementById('map-tip').hidden") is False
    for value in ("kind", "script", "language"):
        type_in(page, "map-colour", value, "change")
    assert page.run("document.getElementById('map-tip').hidden") is True
    drawn = page.run(
        "(() => { const c = document.getElementById('map-canvas'); const d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0;"
        " return n; })()"
    )
    assert drawn > 500


def test_translations_of_a_word_light_up(page, saved):
    picture = saved[0].report.map
    known = [n for n in range(picture.num_source, len(picture.ids)) if picture.translations[n, 0] != 65_535]
    assert known, "the data have translations"
    type_in(page, "map-word", saved[0].mapping.target.tokens[picture.ids[known[0]]].lstrip("▁"), "input")
    assert page.run("document.getElementById('map-found').value").endswith(("of other languages",))
    type_in(page, "map-word", "no such word", "input")
    assert page.run("document.getElementById('map-found').value") == "not among the points of the map"
    type_in(page, "map-word", "", "input")
    assert page.run("document.getElementById('map-found').value") == ""


def test_the_judgement_comes_first_and_settings_are_folded(page, saved):
    page.look(390, 844, phone=True)
    page.open(saved[1])
    place = "document.querySelector('{}').getBoundingClientRect().top + scrollY"
    assert page.run(place.format(".verdict")) < page.run(place.format("#judgement")) < 250
    assert page.run(place.format("#judgement")) < page.run(place.format(".tiles"))
    assert page.run("document.querySelector('#inputs details').open") is False
    assert page.run("document.querySelector('#inputs dl').checkVisibility()") is False
    assert page.run("[...document.querySelectorAll('.command code')].every(c => c.textContent.startsWith('ofa '))")
    page.look(1200, 900)
    page.open(saved[1])


@pytest.mark.parametrize(("width", "dark", "phone"), [(1200, True, False), (390, False, True), (320, True, True)])
def test_every_width_and_colour_scheme(page, saved, width, dark, phone):
    page.look(width, 800, dark=dark, phone=phone)
    page.open(saved[1])
    assert page.run("document.documentElement.scrollWidth") <= width
    contrast = page.run(_CONTRAST)
    assert contrast >= 4.5
    assert page.run("[...document.querySelectorAll('input, select')].every(e => e.labels.length === 1)")


@pytest.mark.parametrize(("width", "dark", "phone"), [(1200, True, False), (390, False, True)])
def test_a_comparison_fits_every_width(page, tmp_path, width, dark, phone):
    names, languages = [HOSTILE[0], "trained-mapping, 100", "ofa"], [f"l{number:02d}" for number in range(14)]
    found = {
        name: [{"seed": 0, "seconds": 1.0, "measured": {
            steps: [
                {"model": "m", "task": "t", "language": language, "metric": metric, "value": 2 - place / 9, "low": 1.5, "high": 2.1}
                for metric in ("bits per character", "top-1") for language in [*languages, "all"]
            ] for steps in ("0", "100")
        }}] for place, name in enumerate(names)
    }  # fmt: skip
    Board({"source": "a" * 90, "steps": [0, 100], "text": "ab12", "donor": None}, {}, found).save(tmp_path)
    page.look(width, 800, dark=dark, phone=phone)
    page.call("Page.navigate", url=(tmp_path / "board.html").as_uri())
    page.wait("document.readyState === 'complete' && document.querySelector('#choice') !== null")
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run("document.querySelectorAll('.interval u').length") == 3 * 2  # bits have points, shares bars
    assert page.run("document.querySelectorAll('.interval i').length") == 3 * 2
    assert page.run("document.querySelectorAll('svg .line').length") == 3 * 2  # a curve a method and measure
    assert page.run("[...document.querySelectorAll('#inputs dt')].map(e => e.textContent)")[:3] == [
        "source", "steps", "checksum of the text"
    ]  # fmt: skip
    assert page.run("document.querySelectorAll('img, script').length") == 0


def test_nothing_was_logged_or_fetched(page):
    assert page.errors == []
    assert {url.split(":")[0] for url in page.requests} <= {"file", "data"}


# The smallest contrast of texts with the page's backgrounds, as WCAG 2 defines it.
_CONTRAST = """(() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$/.test(colour) && colour !== "transparent") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  let least = 21;
  for (const e of document.querySelectorAll("p, dt, dd, th, td, figcaption, h1, h2, h3, a, li, label, output, summary")) {
    if (!e.offsetParent || !e.textContent.trim()) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    least = Math.min(least, (a + 0.05) / (b + 0.05));
  }
  return least;
})()"""
