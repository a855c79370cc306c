"""What an initialisation did."""

from .measures import measure_rows
from .report import REPORT_FILE, OfaReport, count_languages, count_tokens, find_warnings


__all__ = ["REPORT_FILE", "OfaReport", "count_languages", "count_tokens", "find_warnings", "measure_rows"]
