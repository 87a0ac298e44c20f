"""Molecules -> rates and distances with denominators and intervals, with the real data's own row."""

from typing import TYPE_CHECKING

from gaga.core.lazy import lazy

if TYPE_CHECKING:
    from gaga.evaluation.config import PROTOCOLS as PROTOCOLS
    from gaga.evaluation.evaluation import Evaluation as Evaluation
    from gaga.evaluation.evaluation import evaluate as evaluate
    from gaga.evaluation.molecule_set import Records as Records
    from gaga.evaluation.molecule_set import SkippedRecords as SkippedRecords
    from gaga.evaluation.rates import Rate as Rate
    from gaga.evaluation.rates import Rates as Rates
    from gaga.evaluation.reference import DataReference as DataReference
    from gaga.evaluation.reference import ReferenceRow as ReferenceRow
    from gaga.evaluation.reference import reference_of as reference_of
    from gaga.evaluation.reference import shipped_reference as shipped_reference
    from gaga.evaluation.verdicts import Verdicts as Verdicts

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "gaga.evaluation.config": "PROTOCOLS",
        "gaga.evaluation.evaluation": "Evaluation evaluate",
        "gaga.evaluation.molecule_set": "Records SkippedRecords",
        "gaga.evaluation.rates": "Rate Rates",
        "gaga.evaluation.reference": "DataReference ReferenceRow reference_of shipped_reference",
        "gaga.evaluation.verdicts": "Verdicts",
    },
)
