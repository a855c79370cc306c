"""`report.html`: one file that shows what an initialisation did, without network."""

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..initialization.mapping.token_mapping import TokenKind
from ..models.factorization import truncation_errors
from ..text.languages import language_name
from ..utils.files import new_file
from ..utils.reading import in_one_line, reading
from .charts import histogram, outlines, truncation_curve
from .columns import PageColumns, page_columns
from .judgement import judge
from .measures import KINDS_COMPARED
from .report import REPORT_FILE, OfaReport


PAGE_FILE = "report.html"
KIND_NAMES = tuple(kind.name.lower() for kind in TokenKind)

# Settings that say nothing, since they have their default or are shown elsewhere.
_SHOWN_ELSEWHERE = {"embedding_size"}
_FALLBACKS = {
    "normal": "drawn with the mean and standard deviation of the source's columns",
    "mean": "the mean of the source's rows",
    "zeros": "zeros",
}
_COLUMNS = re.compile(r'<script type="text/plain" id="columns">([A-Za-z0-9+/=]*)</script>')


def write_page(report: OfaReport, path: str | os.PathLike) -> Path:
    """Writes the page of a report that was just made, the table of tokens included."""
    if report.mapping is None:
        raise ValueError("This report was loaded from a file and has no tokens; see `rewrite_page`.")
    with new_file(path) as file:
        file.write_text(render_page(report, page_columns(report.mapping, report.map)), encoding="utf-8")
    return Path(path)


def rewrite_page(folder: str | os.PathLike) -> Path:
    """Writes the page of a checkpoint again: its numbers from ofa_report.json, its tokens from the page that is there.

    Raises:
        FileNotFoundError: the folder has no ofa_report.json.
    """
    report, columns = load_page(folder)
    page = Path(folder) / PAGE_FILE
    with reading(f"{Path(folder) / REPORT_FILE} lacks what a report has, or has it otherwise; adapt the model again"):
        text = render_page(report, columns)
    with new_file(page) as file:
        file.write_text(text, encoding="utf-8")
    return page


def load_page(folder: str | os.PathLike) -> tuple[OfaReport, PageColumns | None]:
    """The report of a checkpoint, and the tokens that its page holds: None where there is no page.

    Raises:
        FileNotFoundError: the folder has no ofa_report.json.
        ValueError: a page that is damaged.
    """
    folder = Path(folder)
    if not (folder / REPORT_FILE).is_file():
        raise FileNotFoundError(
            f"{folder} holds no {REPORT_FILE}; name a folder that `ofa adapt` or OfaInitializer.save_pretrained wrote."
        )
    report, page = OfaReport.load(folder), folder / PAGE_FILE
    if not page.is_file():
        return report, None
    found = _COLUMNS.search(page.read_bytes().decode("utf-8", "replace"))
    if found is None:
        return report, None
    problem = f"{page} is damaged. Remove it: the report is then written without tokens"
    try:
        with reading(problem):
            return report, PageColumns.unpack(found[1])
    except (OSError, EOFError) as error:  # of gzip
        raise ValueError(f"{problem}. ({in_one_line(error)})") from error


def render_page(report: OfaReport, columns: PageColumns | None) -> str:
    """The page as text. All that comes from data is escaped."""
    facts = columns.facts if columns is not None else {}
    listed, most = facts.get("neighbors", (0, 0))
    charts = _charts(report)
    has_map = "map" in facts
    sections = [
        ("coverage", "Coverage", True),
        ("map", "Map", has_map),
        ("tokens", "Tokens", True),
        ("rows", "Rows", charts),
        ("inputs", "Inputs and settings", True),
    ]
    return _template("page.html").render(
        report=report,
        judgement=judge(report),
        source_name=short_name(report.source["name"]),
        target_name=short_name(report.target["name"]) or report.target["class"],
        sections=[(anchor, title) for anchor, title, present in sections if present],
        tiles=_tiles(report),
        inputs=input_facts(report),
        total=sum(report.tokens.values()),
        kinds=KIND_NAMES,
        fallback=_FALLBACKS.get(report.settings.get("fallback"), "drawn at random"),
        scripts=[_bar(code, counts) | {"script": code} for code, counts in report.tokens_by_script.items()],
        languages=[
            _bar(named(code), counts) for code, counts in report.tokens_by_language.items() if sum(counts.values())
        ],
        parameters=_parameters(report),
        charts=charts,
        has_map=has_map,
        map_caption=_map_caption(facts["map"]) if has_map else "",
        listed=listed,
        most=most,
        seconds=", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in report.seconds.items()),
        versions=", ".join(f"{name} {number}" for name, number in report.versions.items()),
        columns=Markup(columns.pack()) if columns is not None else None,  # base64
        css=Markup(_asset("page.css")),
        js=Markup(_asset("page.js")),
    )


def named(code: str) -> str:
    """`Swahili (swh)`, or the code alone where it has no name."""
    name = language_name(code)
    return f"{name} ({code})" if name != code else code


def short_name(name: str) -> str:
    """A Hub id as it is, of a folder its own name."""
    return Path(name).name if Path(name).is_absolute() or name.count("/") > 1 else name


def parameter_counts(report: OfaReport) -> list[tuple[str, int, int]]:
    """("before" and "after", parameters of the embeddings, all parameters)."""
    return [
        (label, int(model.get("embedding_parameters", 0)), int(model["parameters"]))
        for label, model in (("before", report.source), ("after", report.target))
    ]


def millions(number: int) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 100_000 else f"{number:,}"


@lru_cache
def _template(name: str):
    loader = PackageLoader("ofa_transformers.report", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(name)


@lru_cache
def _asset(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _tiles(report: OfaReport) -> list[dict[str, str]]:
    total = sum(report.tokens.values())
    tiles = [{"value": f"{total:,}", "label": "target tokens", "kind": ""}]
    for kind in ("copied", "composed", "fallback"):
        tiles.append({"value": f"{report.tokens[kind] / max(total, 1):.1%}", "label": kind, "kind": kind})
    before, after = (all_of for _, _, all_of in parameter_counts(report))
    tiles.append({"value": millions(after), "label": f"parameters, of {millions(before)} before", "kind": ""})
    return tiles


def _bar(name: str, counts: Mapping[str, int]) -> dict[str, Any]:
    total = sum(counts.values())
    present = [(kind, counts[kind]) for kind in KIND_NAMES if counts.get(kind)]
    return {
        "name": name,
        "total": total,
        "shares": [(kind, f"{100 * count / total:.2f}") for kind, count in present],
        "label": ", ".join(f"{kind} {count:,} ({count / total:.1%})" for kind, count in present),
    }


def _parameters(report: OfaReport) -> list[dict[str, Any]]:
    counts = parameter_counts(report)
    largest = max(total for _, _, total in counts) or 1
    rows = []
    for label, embeddings, total in counts:
        parts = (("embeddings", embeddings), ("body", total - embeddings))
        rows.append(
            {
                "name": label,
                "value": millions(total),
                "shares": [(name, f"{100 * count / largest:.2f}") for name, count in parts if count],
                "label": ", ".join(f"{name} {millions(count)}" for name, count in parts),
            }
        )
    return rows


def input_facts(report: OfaReport) -> dict[str, list[tuple[str, str]]]:
    source, target, vectors, settings = report.source, report.target, report.word_vectors, report.settings
    size = target.get("embedding_size")
    errors = report.reconstruction_error or {}
    languages = list(vectors["languages"])
    return {
        "source": [
            ("Name", short_name(source["name"])),
            ("Class", source["class"]),
            ("Tokens", f"{source['tokens']:,}"),
            ("Hidden size", f"{source['hidden_size']:,}"),
            ("Parameters", f"{source['parameters']:,}"),
        ],
        "target": [
            ("Tokenizer", short_name(target["name"]) or "given as an object"),
            ("Class", target["class"]),
            ("Tokens", f"{target['tokens']:,}"),
            ("Embedding size", f"{size:,}, factorized" if size else "that of the source"),
            *((f"Error of the {part} embeddings", f"{error:.3f} of their norm") for part, error in errors.items()),
            ("Parameters", f"{target['parameters']:,}"),
        ],
        "vectors": [
            ("Words", f"{vectors['words']:,}"),
            ("Dimensions", f"{vectors['dimension']:,}"),
            (
                "Languages",
                f"{len(languages):,}: " + ", ".join(languages[:12]) + (", …" if len(languages) > 12 else ""),
            ),
            ("Unused words", f"{sum(vectors.get('unused', {}).values()):,}"),
            *((_spaced(name), _shown(value)) for name, value in vectors["metadata"].items()),
        ],
        "settings": [(_spaced(name), _shown(v)) for name, v in settings.items() if _is_shown(name, v)],
    }


def _is_shown(setting: str, value: Any) -> bool:
    """A model without a head's bias, rows of states or factors has no such setting; what else is None stands for all."""
    return setting not in _SHOWN_ELSEWHERE and not (
        value is None and setting in ("head_bias", "output_rows", "primitives")
    )


def _spaced(name: str) -> str:
    return str(name).replace("_", " ").capitalize()


def _shown(value: Any) -> str:
    if value is None:
        return "all"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    return str(value)


def _charts(report: OfaReport) -> list[dict[str, Any]]:
    figures, charts = report.figures, []
    similarity = figures.get("similarity", {})
    if sum(similarity.get("composed", ())):
        charts.append(
            {
                "svg": histogram(
                    similarity["edges"],
                    similarity["composed"],
                    "cosine of the nearest source token",
                    "Histogram of the similarity of composed tokens to their nearest source token",
                ),
                "legend": (),
                "caption": f"Composed tokens by the cosine of their nearest source token; median "
                f"{similarity['median']:.2f}. Low values mean that the source knows little like it.",
            }
        )
    norms = figures.get("norms", {})
    groups = {name: norms[name] for name in ("source", *(k.name.lower() for k in KINDS_COMPARED)) if norms.get(name)}
    if any(map(sum, groups.values())):
        means = ", ".join(f"{name} {mean:.3g}" for name, mean in norms["means"].items())
        charts.append(
            {
                "svg": outlines(norms["edges"], groups, "norm of the row", "Histogram of the norms of embeddings"),
                "legend": list(groups),
                "caption": f"Norms of the source's rows and of the new ones; means: {means}. Means of several rows are "
                "shorter than these; the last bar holds what lies beyond.",
            }
        )
    made_for_target = report.settings.get("primitives") == "target"
    of = "the new" if made_for_target else "the source's"
    for part, values in figures.get("singular_values", {}).items():
        errors = truncation_errors(np.array(values))
        chosen = report.target.get("embedding_size")
        sample = figures.get("singular_values_sample")
        at = ", ".join(f"{size}: {errors[size]:.2f}" for size in (50, 100, 200, 400) if size < len(errors) - 1)
        charts.append(
            {
                "svg": truncation_curve(
                    errors.tolist(), chosen, f"Error of the factorized {part} embeddings by embedding size"
                ),
                "legend": (),
                "caption": f"What a factorization loses of {of} {part} embeddings, relative to their norm"
                + (f" ({at})" if at else "")
                + (f"; from {sample:,} of the rows." if sample else ".")
                + (" Frequent tokens count more." if made_for_target else "")
                + ("" if chosen else " This model keeps the full size."),
            }
        )
    return charts


def _plane(facts: Mapping[str, Any]) -> str:
    if facts.get("method") == "t-SNE":
        return "laid out by t-SNE: what is near is alike, and distances between heaps say little"
    return (
        f"on their two principal components, which hold {facts['explained']:.0%} of the variance (with openTSNE "
        "installed, neighbourhoods show: pip install 'ofa-transformers[map]')"
    )


def _map_caption(facts: Mapping[str, Any]) -> str:
    return (
        f"A sample of source and new rows at unit length, less the mean of their language, {_plane(facts)}. Languages of "
        "few tokens have more than their share of points."
    )
