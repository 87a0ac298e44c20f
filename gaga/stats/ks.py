"""Kolmogorov-Smirnov distance to N(0, 1): of one sample, of many at once, and of pooled histograms."""

from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64, Num
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import kstwo

from gaga.core.errors import InvalidInput

# Cells of equal probability under N(0, 1): a distance read off their edges is short by less than 1 / N_CELLS.
N_CELLS = 16384


def ks_statistic(values: Num[np.ndarray, "..."]) -> tuple[float, float]:
    """Two-sided KS distance of the flattened values to N(0, 1), and its exact p-value (Simard 2011).

    Raises:
        InvalidInput: there are no values, or some are not finite.
    """
    flat = _finite(values).reshape(1, -1)
    statistic = float(ks_distances(flat)[0])
    return statistic, float(np.clip(kstwo.sf(statistic, flat.shape[1]), 0.0, 1.0))


def ks_distances(values: Float[np.ndarray, "B n"]) -> Float64[np.ndarray, " B"]:
    """KS distance of each row to N(0, 1): the largest gap on either side of every sorted value."""
    n = values.shape[1]
    probabilities = ndtr(np.sort(values.astype(np.float64, copy=False), axis=1))
    above = np.arange(1, n + 1) / n - probabilities
    below = probabilities - np.arange(n) / n
    return np.asarray(np.maximum(above.max(axis=1), below.max(axis=1)))


@lru_cache(maxsize=4096)
def critical_distance(n: int, alpha: float) -> float:
    """The KS distance that a sample of n independent N(0, 1) values exceeds with probability alpha."""
    return float(kstwo.isf(alpha, n))


def cells_of(values: Float64[np.ndarray, "*rest"]) -> Int64[np.ndarray, "*rest"]:
    """The cell 0..N_CELLS - 1 of each value, where N_CELLS cells are equally probable under N(0, 1)."""
    return np.asarray(np.minimum((ndtr(values) * N_CELLS).astype(np.int64), N_CELLS - 1))


def distance_of_counts(counts: Num[np.ndarray, "*rest cells"]) -> Float64[np.ndarray, "*rest"]:
    """KS distance to N(0, 1) of the samples behind these cell counts, short by less than 1 / cells.

    Between two edges both distribution functions only rise, and the normal one rises by 1 / cells.
    """
    cells = counts.shape[-1]
    return np.asarray(np.abs(_distribution(counts) - np.arange(1, cells + 1) / cells).max(axis=-1))


def distance_between_counts(
    counts: Num[np.ndarray, "*rest cells"], others: Num[np.ndarray, "*#rest cells"]
) -> Float64[np.ndarray, "*rest"]:
    """KS distance of the samples behind these cell counts to each other, as far as the edges of the cells tell."""
    return np.asarray(np.abs(_distribution(counts) - _distribution(others)).max(axis=-1))


def _distribution(counts: NDArray[Any]) -> NDArray[np.float64]:
    """The distribution function at the upper edge of each cell."""
    cumulative = np.cumsum(counts, axis=-1, dtype=np.float64)
    return np.asarray(cumulative / cumulative[..., -1:])


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    flat = np.asarray(values, dtype=np.float64)
    if flat.size == 0 or not np.all(np.isfinite(flat)):
        raise InvalidInput("a KS distance needs finite values", received=f"{flat.size} values")
    return flat
