"""Whole ways that need training and evaluation both: methods compared on one's own text."""

from .board import Board
from .comparison import Comparison, compare


__all__ = ["Board", "Comparison", "compare"]
