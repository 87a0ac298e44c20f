"""Molecules -> rates and distances with denominators and intervals, with the real data's own row."""

from gaga.evaluation.evaluation import Evaluation, evaluate
from gaga.evaluation.molecule_set import Records, SkippedRecords
from gaga.evaluation.protocols import PROTOCOLS
from gaga.evaluation.rates import Rate, Rates
from gaga.evaluation.reference import DataReference, ReferenceRow, reference_of, shipped_reference
from gaga.evaluation.verdicts import Verdicts

__all__ = [
    "PROTOCOLS",
    "DataReference",
    "Evaluation",
    "Rate",
    "Rates",
    "Records",
    "ReferenceRow",
    "SkippedRecords",
    "Verdicts",
    "evaluate",
    "reference_of",
    "shipped_reference",
]
