"""Bootstrap over molecules: intervals for means and shares."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Float, Float64
from numpy.typing import NDArray


@dataclass(frozen=True)
class Interval:
    """An estimate with its percentile-bootstrap interval at the stated level."""

    estimate: float
    low: float
    high: float
    level: float = 0.95


def bootstrap_weights(
    n_molecules: int, n_resamples: int, rng: np.random.Generator
) -> Float64[np.ndarray, "n_resamples n_molecules"]:
    """How often each molecule is drawn in each resample (Efron 1979), divided by n_molecules."""
    return _draw_counts(n_molecules, n_resamples, rng) / n_molecules


def _draw_counts(n_molecules: int, n_resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    shares = np.full(n_molecules, 1.0 / n_molecules)
    return rng.multinomial(n_molecules, shares, size=n_resamples).astype(np.float64)


def bootstrap_mean(
    values: Float[np.ndarray, "M *rest"],
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> tuple[Float64[np.ndarray, "*rest"], Float64[np.ndarray, "*rest"], Float64[np.ndarray, "*rest"]]:
    """Mean over molecules of values [M, ...] with its interval: (mean, low, high), each [...]."""
    values = np.asarray(values, dtype=np.float64)
    flat = values.reshape(len(values), -1)
    means = np.empty((n_resamples, flat.shape[1]))
    chunk = max(1, 4_000_000 // max(1, len(flat)))
    for start in range(0, n_resamples, chunk):
        stop = min(start + chunk, n_resamples)
        # Divided last: if every molecule has the same value, its bounds are that value exactly.
        means[start:stop] = _draw_counts(len(flat), stop - start, rng) @ flat / len(flat)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    shape = values.shape[1:]
    return flat.mean(axis=0).reshape(shape), low.reshape(shape), high.reshape(shape)


def interval_of(
    values: Float64[np.ndarray, " M"],
    statistic: Callable[[NDArray[np.float64]], Any],
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """A statistic of M molecules with its percentile-bootstrap interval over them; NaN for no molecules."""
    if not len(values):
        return Interval(np.nan, np.nan, np.nan, level)
    resampled = [statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(n_resamples)]
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(values)), float(low), float(high), level)


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share (Wilson 1927), which has a width even if all or none succeed."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = successes / trials, z * z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    low = 0.0 if successes == 0 else float(centre - half)
    return low, 1.0 if successes == trials else float(centre + half)


def share_interval(
    successes: int, trials: int, *, rng: np.random.Generator, n_resamples: int = 1000, level: float = 0.95
) -> Interval:
    """Share of molecules that have a property: in a resample of them the number is binomial.

    If all molecules agree, resampling sees no spread, and the interval is Wilson's.
    """
    share = successes / trials
    if successes in (0, trials):
        return Interval(share, *wilson_interval(successes, trials, level), level)
    resampled = rng.binomial(trials, share, n_resamples) / trials
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(share, float(low), float(high), level)
