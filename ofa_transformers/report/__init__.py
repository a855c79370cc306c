"""What an initialisation did."""

from .report import REPORT_FILE, OfaReport, count_tokens


__all__ = ["REPORT_FILE", "OfaReport", "count_tokens"]
