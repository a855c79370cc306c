"""Whole ways that need training and evaluation both: methods compared on one's own text, and the way from text to model."""

from .board import Board
from .cells import compare
from .comparison import Comparison
from .route import Route
from .route_results import Outcome
from .stages import adapt_and_train


__all__ = ["Board", "Comparison", "Outcome", "Route", "adapt_and_train", "compare"]
