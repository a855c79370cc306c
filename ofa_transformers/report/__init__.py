"""What an initialisation did: numbers, a page to look at, a model card."""

from .card import card_of_folder, model_card, source_license
from .html import PAGE_FILE, load_page, rewrite_page, write_page
from .measures import measure_rows
from .pictures import draw_figures
from .report import REPORT_FILE, OfaReport, count_languages, count_tokens, find_warnings, uses_of_languages


__all__ = [
    "PAGE_FILE",
    "REPORT_FILE",
    "OfaReport",
    "card_of_folder",
    "count_languages",
    "count_tokens",
    "draw_figures",
    "find_warnings",
    "load_page",
    "measure_rows",
    "model_card",
    "rewrite_page",
    "source_license",
    "uses_of_languages",
    "write_page",
]
