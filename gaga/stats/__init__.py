"""Statistics of molecules and of their noised states: arrays in, frozen result dataclasses out."""

from typing import TYPE_CHECKING

from gaga.core.lazy import imported_when_used

if TYPE_CHECKING:
    from gaga.stats.information import mutual_information as mutual_information
    from gaga.stats.ks import ks_statistic as ks_statistic

_LAZY = {"ks_statistic": "gaga.stats.ks", "mutual_information": "gaga.stats.information"}
__all__ = ["ks_statistic", "mutual_information"]
__getattr__, __dir__ = imported_when_used(__name__, _LAZY)
