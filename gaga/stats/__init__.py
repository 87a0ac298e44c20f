"""Statistics of molecules and of their noised states: arrays in, frozen result dataclasses out."""

from typing import TYPE_CHECKING

from gaga.core.lazy import lazy

if TYPE_CHECKING:
    from gaga.stats.information import mutual_information as mutual_information
    from gaga.stats.ks import ks_statistic as ks_statistic

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "gaga.stats.information": "mutual_information",
        "gaga.stats.ks": "ks_statistic",
    },
)
