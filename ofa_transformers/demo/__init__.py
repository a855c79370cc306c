"""`ofa demo`: a small English masked LM adapted to other languages, measured beside random initialisation."""

from .data import SEED_MODEL, ParallelText, load_parallel_text
from .results import DemoResult, DemoSettings
from .run import run_demo


__all__ = ["SEED_MODEL", "DemoResult", "DemoSettings", "ParallelText", "load_parallel_text", "run_demo"]
