"""Differences between two cells of the same molecule keys, molecule by molecule."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from gaga.core.errors import InvalidInput
from measuring.cells import Row

_RESAMPLES, _LEVEL = 1000, 0.95
_AT_ONCE = 4_000_000  # numbers of a block of resamples
PAIRED = ("atom_stable", "molecule_stable", "valid_and_unique")
"""Rates whose differences are shown."""


@dataclass(frozen=True)
class Difference:
    """A rate less another, with its 95 % percentile-bootstrap interval over pairs of molecules."""

    value: float
    low: float
    high: float


def difference(row: Row, other: Row, rate: str) -> Difference:
    """The rate of a row less that of another whose molecules have the same keys.

    A size is drawn by seed and number alone, so that pairs are molecules of as many atoms, most of their noise the
    same. They are resampled as pairs (Efron 1979). An atom's rate is a ratio of sums, and so is its difference.

    Raises:
        InvalidInput: the molecules differ in seed, number or size.
    """
    mine, theirs = row["molecules"], other["molecules"]
    if row["key"]["seed"] != other["key"]["seed"] or mine["n_atoms"] != theirs["n_atoms"]:
        raise InvalidInput("cells can be paired where seed and sizes are the same", received=(row["id"], other["id"]))
    if rate == "atom_stable":
        gained = _numbers(mine["stable_atoms"]) - _numbers(theirs["stable_atoms"])
        trials = _numbers(mine["n_atoms"])
    else:
        name = "stable" if rate == "molecule_stable" else rate
        gained = _flags(mine[name]) - _flags(theirs[name])
        trials = np.ones(len(gained))
    ratios = _resampled(gained, trials)
    low, high = np.quantile(ratios, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Difference(float(gained.sum() / trials.sum()), float(low), float(high))


def _resampled(gained: Float64[np.ndarray, " M"], trials: Float64[np.ndarray, " M"]) -> Float64[np.ndarray, " R"]:
    """sum(gained) / sum(trials) of resamples of the molecules."""
    rng, n = np.random.default_rng(0), len(gained)
    both, ratios = np.stack([gained, trials], axis=1), []
    for first in range(0, _RESAMPLES, max(1, _AT_ONCE // n)):
        size = min(_RESAMPLES - first, max(1, _AT_ONCE // n))
        sums = rng.multinomial(n, np.full(n, 1 / n), size=size) @ both
        ratios.append(sums[:, 0] / sums[:, 1])
    return np.concatenate(ratios)


def _numbers(values: Sequence[int]) -> Float64[np.ndarray, " M"]:
    return np.array(values, dtype=np.float64)


def _flags(text: str) -> Float64[np.ndarray, " M"]:
    return _numbers([int(flag) for flag in text])
