"""Statistics of molecules and of their noised states: arrays in, frozen result dataclasses out."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gaga.stats.information import mutual_information as mutual_information
    from gaga.stats.ks import ks_statistic as ks_statistic

__all__ = ["ks_statistic", "mutual_information"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: a command's help needs no scipy."""
    if name == "ks_statistic":
        from gaga.stats.ks import ks_statistic

        return ks_statistic
    if name == "mutual_information":
        from gaga.stats.information import mutual_information

        return mutual_information
    raise AttributeError(f"module 'gaga.stats' has no attribute {name!r}")
