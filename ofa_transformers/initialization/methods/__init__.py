"""Initialisations of a new vocabulary: one file a method, found by name.

Every method fills M (`TokenMapping`) from what it needs; `registry` tells which there are and what they need.
"""

from . import alignment, fitted, focus, mixture, ofa, omp, pieces, simple, trained_mapping, wechsel  # noqa: F401  (they register)
from .inputs import NEEDS, Donor, MethodInputs
from .registry import Method, find_method, methods, register_method


__all__ = ["NEEDS", "Donor", "Method", "MethodInputs", "find_method", "methods", "register_method"]
