"""Molecules -> metrics with denominators and intervals, beside the real data's own row."""

from gaga.evaluation.data_reference import reference_of
from gaga.evaluation.evaluation import Evaluation, evaluate
from gaga.evaluation.judging import PROTOCOLS
from gaga.evaluation.molecule_set import Records, SkippedRecords
from gaga.evaluation.rates import Rate, Rates
from gaga.evaluation.reference import DataReference, ReferenceRow, load_row
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
    "load_row",
    "reference_of",
]
