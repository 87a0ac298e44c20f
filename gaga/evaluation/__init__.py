"""Molecules -> metrics with denominators and intervals, beside the real data's own row."""

from gaga.evaluation.evaluation import Evaluation, evaluate
from gaga.evaluation.judging import PROTOCOLS, Verdicts
from gaga.evaluation.rates import Rate, Rates
from gaga.evaluation.reference import ReferenceRow, load_row

__all__ = [
    "PROTOCOLS",
    "Evaluation",
    "Rate",
    "Rates",
    "ReferenceRow",
    "Verdicts",
    "evaluate",
    "load_row",
]
