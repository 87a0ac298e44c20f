"""Molecules -> rates and distances with denominators and intervals, with the real data's own row."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_MODULES = {
    "config": ("PROTOCOLS",),
    "evaluation": ("Evaluation", "evaluate"),
    "molecule_set": ("Records", "SkippedRecords"),
    "rates": ("Rate", "Rates"),
    "reference": ("DataReference", "ReferenceRow", "reference_of", "shipped_reference"),
    "verdicts": ("Verdicts",),
}
_LAZY = {name: f"gaga.evaluation.{module}" for module, names in _MODULES.items() for name in names}
__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: a command's help needs neither rdkit nor scipy."""
    if name not in _LAZY:
        raise AttributeError(f"module 'gaga.evaluation' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
