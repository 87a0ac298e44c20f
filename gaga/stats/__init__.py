"""Statistics of molecules and of their noised states: arrays in, frozen result dataclasses out."""

from gaga.stats.information import mutual_information as mutual_information
from gaga.stats.ks import ks_statistic as ks_statistic
